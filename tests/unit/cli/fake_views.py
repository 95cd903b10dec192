"""A worker's web views with answers made up by the test, served from a thread, so that commands can ask them."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Answer = tuple[int, Any]


class FakeViews:
    """Answers each path with what was given for it, one answer after the other; the last one again and again."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[str] = []
        self.frozen = False
        """Whether it takes connections and never answers."""
        self._answers: dict[str, list[Answer]] = defaultdict(list)

    def answer(self, path: str, *answers: Answer) -> None:
        """Set the answers to a path, query included, as (status, JSON or text)."""
        self._answers[path] = list(answers)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.asked.append((request.method, request.raw_path))
        self.headers.append(dict(request.headers))
        self.bodies.append(await request.text())
        if self.frozen:
            await asyncio.sleep(60)
        unknown = (404, {"error": {"code": "not_found", "message": f"nothing at {request.raw_path}"}})
        answers = self._answers[request.raw_path] or [unknown]
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(body, str):
            return web.Response(text=body, status=status)
        return web.json_response(body, status=status, headers={"Retry-After": "0"} if status == 503 else {})


@contextmanager
def serve_views() -> Iterator[FakeViews]:
    """Serve views on a free port."""
    views, loop = FakeViews(), asyncio.new_event_loop()
    stop, ready = asyncio.Event(), threading.Event()

    async def serve() -> None:
        runner = web.ServerRunner(web.Server(views.handle), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        views.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait(10)
    try:
        yield views
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def detail(batch_id: str = "b1", **changes: Any) -> dict[str, Any]:
    """Return what the views say of a batch, as far as the commands read it."""
    return {
        "batch_id": batch_id,
        "run": 1,
        "state": "WAITING_CALLBACKS",
        "created_at": "2026-03-04T09:12:00.000Z",
        "current_iteration": 1,
        "completed_comparisons": 7,
        "expected_comparisons": 40,
        "reliability": None,
        "failure": None,
        "failure_details": {},
        "stop_reason": None,
        "correlation_id": "0",
        "joined_correlation_ids": [],
        "processing_metadata": {"digest": "that of other essays"},
        "degraded": [],
    } | changes


def listed(*batches: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a complete list of batches, as the views show it."""
    return {
        "batches": list(batches),
        "total": len(batches),
        "next": None,
        "complete": True,
        "workers_asked": 1,
        "workers_missing": [],
        "partitions_missing": [],
        "degraded": [],
    } | changes


def degraded(**changes: Any) -> dict[str, Any]:
    """Return something that is not as it should be, as the views tell it."""
    return {
        "kind": "kafka_away",
        "subject": "broker",
        "what": "Kafka does not answer.",
        "meaning": "Nothing is read.",
        "since": "2026-03-04T09:12:00.000Z",
    } | changes


def judge(verdicts: int, source: str = "model", name: str = "openai gpt-5") -> dict[str, Any]:
    """Return who gave verdicts of a batch, as the views tell it."""
    return {"source": source, "provider": None, "model": None, "verdicts": verdicts, "name": name}


def result(batch_id: str = "b1", **changes: Any) -> dict[str, Any]:
    """Return a ranking of two essays, as the views show it."""
    ranking = [
        {
            "rank": rank,
            "essay_id": essay_id,
            "theta": theta,
            "standard_error": 0.5,
            "ci95": [theta - 1, theta + 1],
            "comparisons": 4,
            "wins": wins,
        }
        for rank, essay_id, theta, wins in ((1, "good", 1.25, 4.0), (2, "bad", -1.25, 0.0))
    ]
    return {
        "batch_id": batch_id,
        "run": 1,
        "state": "COMPLETED",
        "final": True,
        "stop_reason": "reliability_reached",
        "reliability": {"eap": 0.91, "eap_formula": "...", "ssr": 0.9, "ssr_formula": "..."},
        "verdicts": 4,
        "judged_by": [judge(4)],
        "cautions": [],
        "comparisons": 4,
        "iterations": 1,
        "components": 1,
        "ranking": ranking,
        "failed_essays": [],
        "scores_by_iteration": [],
    } | changes


def explanation(batch_id: str = "b1", **changes: Any) -> dict[str, Any]:
    """Return why a batch stands where it stands, as the views tell it."""
    return {
        "batch_id": batch_id,
        "run": 1,
        "state": "WAITING_CALLBACKS",
        "waiting_for": "3 callbacks are awaited.",
        "since": "2026-03-04T09:12:00.000Z",
        "next_event": {"what": "A comparison fails.", "at": "2026-03-04T10:12:00.000Z"},
        "effects_to_do": [{"kind": "Submit", "what": "submit comparison 8"}],
        "postponed": None,
        "last_errors": [],
        "hints": ["`cancel` ends the batch without a ranking."],
        "degraded": [],
    } | changes

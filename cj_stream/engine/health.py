"""Whether a worker lives and whether it serves, as machines ask it.

``/healthz/live`` names the worker: who finds its name in the group already asks there whether it runs (`membership`).

Tests: ``tests/unit/views/test_pages.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from aiohttp import web

from cj_stream.engine.conditions import Conditions
from cj_stream.engine.hardening import Engine
from cj_stream.engine.times import iso_time
from cj_stream.engine.web_answers import Page, json_answer


def degraded(conditions: Conditions) -> list[dict[str, Any]]:
    """Return the conditions of a worker, the oldest first."""
    return [
        {
            "kind": condition.kind.value,
            "subject": condition.subject,
            "what": condition.what,
            "meaning": condition.meaning,
            "since": iso_time(condition.since),
        }
        for condition in conditions.current
    ]


class Health:
    """The health of one worker, which reads ``sources``; ``name`` is the worker's name in the group."""

    def __init__(self, engine: Engine[Any], sources: Collection[str], name: Callable[[], str]) -> None:
        self._engine = engine
        self._sources = sources
        self._name = name

    @property
    def pages(self) -> dict[str, Page]:
        """The pages that answer, by path."""
        return {"/healthz/live": self.live, "/healthz/ready": self.ready}

    async def live(self, _request: web.Request) -> web.Response:
        """Answer 200 when the event loop turns and nothing stands still, else 503 and what does."""
        why = self._engine.watchdog.why_stuck()
        if why:
            return json_answer({"status": "not live", "why": why, "worker_id": self._name()}, 503)
        return json_answer({"status": "live", "worker_id": self._name()})

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 when every partition of this worker is served, and all its input is read, else 503 and why not.

        Either way ``degraded`` lists what is not as it should be although the worker goes on.
        """
        why = self._why_not_ready()
        conditions = degraded(self._engine.conditions)
        if why:
            return json_answer({"status": "not ready", "why": why, "degraded": conditions}, 503, {"Retry-After": "1"})
        partitions = sorted(self._engine.opener.opened_at)
        return json_answer({"status": "ready", "partitions": partitions, "degraded": conditions})

    def _why_not_ready(self) -> str | None:
        engine = self._engine
        if engine.faust.draining:
            return "the worker finishes what is under way, to stop"
        if engine.fence.silence > engine.fence.limit:
            return f"the group has not answered for {engine.fence.silence:.0f} s: is Kafka away?"
        if engine.faust.rebalancing:
            return "the partitions are being distributed over the workers"
        unread = "; ".join(engine.eye.unread(self._sources))
        return self._closed() or unread or engine.watchdog.why_stuck()

    def _closed(self) -> str | None:
        opener = self._engine.opener
        if opener.ready:
            return None
        closed = sorted(opener.owned - opener.opened_at.keys())
        if not closed:
            return "no partition is assigned to this worker and recovered"
        return f"what was sent to partitions {closed} before this worker took them over is still being read"

"""Whether the worker lives, whether it serves, and its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from cj_stream.views.answers import SAFE_HEADERS, json_answer
from cj_stream.views.degraded import degraded

if TYPE_CHECKING:
    from cj_stream.worker import Worker


class HealthPages:
    """The pages that machines ask."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def live(self, _request: web.Request) -> web.Response:
        """Answer 200 when the event loop turns and nothing stands still, else 503 and what does."""
        why = self._worker.engine.watchdog.why_stuck()
        if why:
            return json_answer({"status": "not live", "why": why, "worker_id": self._worker.name}, 503)
        return json_answer({"status": "live", "worker_id": self._worker.name})

    async def ready(self, _request: web.Request) -> web.Response:
        """Answer 200 when every partition of this worker is served, and all its input is read, else 503 and why not.

        Either way ``degraded`` lists what is not as it should be although the worker goes on.
        """
        why = self._why_not_ready()
        conditions = degraded(self._worker.engine.conditions)
        if why:
            return json_answer({"status": "not ready", "why": why, "degraded": conditions}, 503, {"Retry-After": "1"})
        partitions = sorted(self._worker.engine.opener.opened_at)
        return json_answer({"status": "ready", "partitions": partitions, "degraded": conditions})

    async def metrics(self, _request: web.Request) -> web.Response:
        """Answer with the metrics in Prometheus' text format."""
        headers = {**SAFE_HEADERS, "Content-Type": CONTENT_TYPE_LATEST}
        return web.Response(body=self._worker.metrics.exposition(), headers=headers)

    def _why_not_ready(self) -> str | None:
        engine = self._worker.engine
        if self._worker.app.draining:
            return "the worker finishes what is under way, to stop"
        if engine.fence.silence > engine.fence.limit:
            return f"the group has not answered for {engine.fence.silence:.0f} s: is Kafka away?"
        if self._worker.app.rebalancing:
            return "the partitions are being distributed over the workers"
        return self._closed() or self._unread() or engine.watchdog.why_stuck()

    def _unread(self) -> str | None:
        settings = self._worker.settings
        sources = (
            settings.assessment_request_topic,
            settings.llm_provider_callback_topic,
            settings.batch_events_topic,
        )
        return "; ".join(self._worker.eye.unread(sources)) or None

    def _closed(self) -> str | None:
        opener = self._worker.engine.opener
        if opener.ready:
            return None
        closed = sorted(opener.owned - opener.opened_at.keys())
        if not closed:
            return "no partition is assigned to this worker and recovered"
        return f"what was sent to partitions {closed} before this worker took them over is still being read"

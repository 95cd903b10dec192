"""The provider's HTTP API in front of the judges: ``POST /comparison``, below ``/api/v1`` too, and ``GET /healthz``."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from simulated_provider.benches import Benches
from simulated_provider.desk import Desk, Job
from simulated_provider.faults import Fault

from cj_stream.contracts.comparison_api import (
    REQUEST_LIMIT,
    ComparisonRequest,
    read_comparison_request,
    refusal_answer,
)
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.texts import clip
from cj_stream.gateway.judges import Question

BUSY_SECONDS = 2
"""What a busy answer asks the caller to wait."""


def provider_app(benches: Benches, desk: Desk, allowed_topics: Collection[str]) -> web.Application:
    """Build the provider's web application. It closes the desk when it shuts down.

    Requests for callbacks on other than the allowed topics are refused: otherwise whoever reaches the gateway could
    write to any topic.
    """
    handlers = _Handlers(benches, desk, frozenset(allowed_topics))
    app = web.Application(client_max_size=REQUEST_LIMIT)
    for path in ("/comparison", "/api/v1/comparison"):
        app.router.add_post(path, handlers.comparison)
    for path in ("/judges/{name}", "/api/v1/judges/{name}"):
        app.router.add_get(path, handlers.judge)
    app.router.add_get("/healthz", handlers.health)

    async def _close(_: web.Application) -> None:
        await desk.close()

    app.on_shutdown.append(_close)
    return app


class _Handlers:
    def __init__(self, benches: Benches, desk: Desk, allowed_topics: frozenset[str]) -> None:
        self._benches = benches
        self._desk = desk
        self._allowed_topics = allowed_topics

    async def comparison(self, http: web.Request) -> web.Response:
        try:
            request = read_comparison_request(await http.read())
            question = self._question(request)
        except Refused as refused:
            status, answer = refusal_answer(refused)
            return web.json_response(answer, status=status)
        bench = self._benches.for_model(request.model)
        trouble = bench.faults.draw(question)
        if trouble.fault is Fault.REFUSE:
            return web.json_response(_error(request, "VALIDATION_ERROR", "Refused on purpose", {}), status=400)
        if trouble.fault is Fault.BUSY:
            return _busy(request, as_202=trouble.busy_with_202())
        job = Job(request, question, bench, trouble)
        self._desk.accept(job)
        return _queued(job)

    def _question(self, request: ComparisonRequest) -> Question:
        if request.callback_topic not in self._allowed_topics:
            detail = f"callback_topic: this gateway does not publish to {clip(request.callback_topic, 100)!r}."
            raise Refused("topic_not_allowed", detail, field="callback_topic")
        return Question(_essay_id(request, "essay_a_id"), _essay_id(request, "essay_b_id"), request)

    async def judge(self, http: web.Request) -> web.Response:
        terms = self._benches.for_model(http.match_info["name"]).judge.terms()
        return web.json_response(msgspec.to_builtins(terms))

    async def health(self, _: web.Request) -> web.Response:
        desk = self._desk
        counts = {"accepted": desk.accepted, "pending": desk.pending, "published": desk.published}
        return web.json_response({"status": "ok", **counts})


def _essay_id(request: ComparisonRequest, key: str) -> str:
    essay_id = request.metadata.get(key)
    if not isinstance(essay_id, str) or not essay_id:
        raise Refused("missing_field", f"metadata.{key}: name the essay, judges go by it.", field=f"metadata.{key}")
    return essay_id


def _queued(job: Job) -> web.Response:
    answer = {
        "queue_id": job.queue_id,
        "status": "queued",
        "message": f"The verdict will be published to {job.request.callback_topic}",
        "estimated_wait_minutes": None,
    }
    return web.json_response(answer, status=202)


def _busy(request: ComparisonRequest, *, as_202: bool) -> web.Response:
    if as_202:
        details = {"details": {"retry_after_seconds": BUSY_SECONDS}}
        return web.json_response(_error(request, "REQUEST_QUEUED", "The queue is full", details), status=202)
    answer = _error(request, "RATE_LIMIT", "Too many requests", {"retry_after": BUSY_SECONDS})
    return web.json_response(answer, status=429, headers={"Retry-After": str(BUSY_SECONDS)})


def _error(request: ComparisonRequest, code: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    return {
        "error": {
            "code": code,
            "message": message,
            "correlation_id": request.correlation_id and str(request.correlation_id),
            "service": "llm_provider_service",
            "timestamp": datetime.now(UTC).isoformat(),
            "details": details,
        }
    }

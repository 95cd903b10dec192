"""The provider's HTTP API of the gateway, and what its operators ask: below ``/api/v1`` too.

``POST /comparison``              a comparison is taken (202), or not: 400, 413, 429, 503
``DELETE /comparison/{id}``       nobody wants its answer any more
``DELETE /batch/{id}``            nor any of a run (``cj_batch_id``) or batch (``bos_batch_id``), now or later
``GET /scopes``                   what waits, and for what, by provider and model
``GET /judges/{name}``            what a judge costs, for an estimate beforehand
``PUT /limits``                   an operator sets the limits of a provider and model, with the token

Any gateway takes any request: what it is about goes to the log of its partition, whoever serves that.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import UUID, uuid4

import msgspec
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from cj_stream.contracts.comparison_api import (
    REQUEST_LIMIT,
    ComparisonRequest,
    read_comparison_request,
    refusal_answer,
)
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.forwarder import EventTooLargeError
from cj_stream.engine.texts import clip
from cj_stream.engine.web_answers import ApiError, Page, bad_request, json_answer
from cj_stream.gateway.job_callbacks import queue_id
from cj_stream.gateway.jobs import Accepted, BatchCancelled, JobCancelled, ScopeLimited

if TYPE_CHECKING:
    from cj_stream.gateway.gateway_service import Gateway

log = structlog.get_logger(__name__)

METADATA_LIMIT = 64 * 1024
"""Bytes of a request's metadata as JSON: it is echoed, and an answer has to fit into a record."""
SMALL_BODY = 4096
TRACE_LENGTH = 100
FULL_SECONDS, NOT_SERVING_SECONDS = 5, 2
"""What callers are asked to wait when the queue is full, and while this gateway does not serve."""
NOT_SERVING = "This gateway does not serve yet, or not any more."
BASES = ("", "/api/v1")


class _LimitsAsked(msgspec.Struct, forbid_unknown_fields=True):
    scope: str
    requests_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None
    tokens_per_minute: Annotated[float, msgspec.Meta(gt=0)] | None = None


class Api:
    """The pages of one gateway, by method and path."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._topics = frozenset(gateway.settings.callback_topics)
        self.gets: Mapping[str, Page] = {
            "/metrics": self._metrics,
            **_at_bases("/scopes", self._scopes),
            **_at_bases("/judges/{name:[^/]+}", self._judge),
        }
        self.posts: Mapping[str, Page] = _at_bases("/comparison", self._comparison)
        self.puts: Mapping[str, Page] = _at_bases("/limits", self._limits)
        self.deletes: Mapping[str, Page] = {
            **_at_bases("/comparison/{id:[^/]+}", self._cancel_job),
            **_at_bases("/batch/{id:[^/]+}", self._cancel_batch),
        }

    # --- Comparisons --------------------------------------------------------------------------------------------------

    async def _comparison(self, http: web.Request) -> web.Response:
        response = await self._taken(http)
        self._gateway.metrics.posts.labels(str(response.status)).inc()
        return response

    async def _taken(self, http: web.Request) -> web.Response:
        if not self._serves():
            return _later(503, "SERVICE_UNAVAILABLE", NOT_SERVING, NOT_SERVING_SECONDS)
        if self._gateway.queue.is_full():
            return _later(429, "RATE_LIMIT", "Too many comparisons wait", FULL_SECONDS)
        try:
            request = read_comparison_request(await _body(http, REQUEST_LIMIT))
            accepted = self._accepted(request, http.headers.get("traceparent"))
        except Refused as refused:
            status, answer = refusal_answer(refused)
            return json_answer(answer, status)
        try:
            await self._gateway.at_home(accepted.id, accepted)
        except EventTooLargeError as error:
            raise ApiError(413, "too_large", f"The comparison fits into no record: {error}.") from error
        self._gateway.queue.taken()
        return self._queued(accepted)

    def _accepted(self, request: ComparisonRequest, traceparent: str | None) -> Accepted:
        if request.callback_topic not in self._topics:
            detail = f"callback_topic: this gateway does not publish to {clip(request.callback_topic, 100)!r}."
            raise Refused("topic_not_allowed", detail, field="callback_topic")
        for name in ("essay_a_id", "essay_b_id"):
            if not isinstance(request.metadata.get(name), str) or not request.metadata[name]:
                detail = f"metadata.{name}: name the essay, judges go by it."
                raise Refused("missing_field", detail, field=f"metadata.{name}")
        if (size := len(json.dumps(request.metadata))) > METADATA_LIMIT:
            raise ApiError(413, "too_large", f"metadata has {size} bytes as JSON, at most {METADATA_LIMIT} are echoed.")
        # Who sends no id cannot match the answer, but is answered all the same.
        correlation_id = request.correlation_id or uuid4()
        trace = {"traceparent": clip(traceparent, TRACE_LENGTH)} if traceparent else {}
        metadata = {**trace, **request.metadata}
        request = msgspec.structs.replace(request, correlation_id=correlation_id, metadata=metadata)
        return Accepted(
            id=str(correlation_id),
            scope=self._gateway.judges.for_model(request.model).scope,
            seconds=self._settings.time_to_live_minutes * 60,
            request=request,
        )

    def _queued(self, accepted: Accepted) -> web.Response:
        line = self._gateway.lines.of(accepted.scope)
        minutes = line.minutes_for(self._gateway.queue.of_all())
        answer = {
            "queue_id": queue_id(accepted.id),
            "status": "queued",
            "message": f"The verdict will be published to {accepted.request.callback_topic}",
            "estimated_wait_minutes": minutes,
        }
        return json_answer(answer, 202)

    def _serves(self) -> bool:
        """Return whether requests are taken: while partitions move from one gateway to another they are, too."""
        faust = self._gateway.engine.faust
        return self._gateway.has_served and not faust.draining

    # --- Cancelling ---------------------------------------------------------------------------------------------------

    async def _cancel_job(self, _http: web.Request, id: str) -> web.Response:  # noqa: A002 -- as the path names it
        self._check_serving()
        try:
            job_id = str(UUID(id))
        except ValueError:
            raise bad_request("bad_id", "A comparison is named by its correlation id, a UUID.") from None
        await self._gateway.at_home(job_id, JobCancelled(id=job_id))
        return json_answer({"status": "cancelled", "correlation_id": job_id}, 202)

    async def _cancel_batch(self, _http: web.Request, id: str) -> web.Response:  # noqa: A002 -- as the path names it
        self._check_serving()
        seconds = self._settings.time_to_live_minutes * 60
        await self._gateway.everywhere(BatchCancelled(batch=id, seconds=seconds))
        log.info("a batch was cancelled", batch=clip(id, 100))
        return json_answer({"status": "cancelled", "batch": id}, 202)

    def _check_serving(self) -> None:
        if not self._serves():
            raise ApiError(
                503, "not_serving", "This gateway does not serve yet, or not any more.", {"Retry-After": "2"}
            )

    # --- Operators ----------------------------------------------------------------------------------------------------

    async def _limits(self, http: web.Request) -> web.Response:
        self._check_operator(http)
        self._check_serving()
        try:
            asked = msgspec.json.decode(await _body(http, SMALL_BODY), type=_LimitsAsked)
        except msgspec.MsgspecError as error:
            raise bad_request("bad_limits", f"Send scope, requests_per_minute, tokens_per_minute: {error}.") from None
        await self._gateway.everywhere(
            ScopeLimited(
                scope=asked.scope,
                requests_per_minute=asked.requests_per_minute,
                tokens_per_minute=asked.tokens_per_minute,
            )
        )
        log.info("limits were set", **msgspec.structs.asdict(asked))
        return json_answer({"status": "set", **msgspec.structs.asdict(asked)}, 202)

    def _check_operator(self, http: web.Request) -> None:
        token = self._settings.operator_token
        if token is None:
            name = self._settings.names.setting("operator_token")
            raise ApiError(403, "switched_off", f"Limits can be set only where {name} is set.")
        given = http.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token.get_secret_value()}".encode()):
            raise ApiError(401, "unauthorized", "Send the operator's token: Authorization: Bearer TOKEN.")

    async def _judge(self, _http: web.Request, name: str) -> web.Response:
        return json_answer(self._gateway.judges.for_model(name).terms())

    async def _scopes(self, _http: web.Request) -> web.Response:
        jobs, size = self._gateway.queue.size()
        scopes = [
            {
                "scope": line.scope,
                "waiting": line.waiting,
                "calling": line.calling,
                "breaker": line.breaker.value,
                "requests_per_minute": budget.limits.requests_per_minute,
                "tokens_per_minute": budget.limits.tokens_per_minute,
                "share": budget.share,
                "paused_seconds": budget.paused_seconds,
                "why": budget.why,
            }
            for line in self._gateway.lines
            for budget in [self._gateway.budget(line.scope)]
        ]
        return json_answer({"unanswered": jobs, "bytes": size, "scopes": scopes})

    async def _metrics(self, _http: web.Request) -> web.Response:
        body = generate_latest(self._gateway.metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _at_bases(path: str, page: Page) -> dict[str, Page]:
    return {f"{base}{path}": page for base in BASES}


async def _body(http: web.Request, limit: int) -> bytes:
    """Return the body of a request. Raises `ApiError` as soon as it is larger than ``limit``."""
    found = bytearray()
    async for chunk in http.content.iter_any():
        found += chunk
        if len(found) > limit:
            raise ApiError(413, "too_large", f"The request has more than {limit} bytes.", {"Connection": "close"})
    return bytes(found)


def _later(status: int, code: str, message: str, seconds: int) -> web.Response:
    error = {
        "code": code,
        "message": message,
        "correlation_id": None,
        "service": "llm_provider_service",
        "timestamp": datetime.now(UTC).isoformat(),
        "details": {"retry_after": seconds},
    }
    return json_answer({"error": error}, status, {"Retry-After": str(seconds)})

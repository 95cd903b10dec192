"""The LLM provider's HTTP API, ``POST {base}/comparison``: both sides of the request, and what an answer means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias
from uuid import UUID

from msgspec import Struct
from pydantic import Field

from cj_stream.contracts.callback_reader import kept_justification
from cj_stream.contracts.envelope import nests_deeper, read_object
from cj_stream.contracts.fields import (
    Integer,
    Label,
    Number,
    Unneeded,
    WireModel,
    WireUUID,
    readable_amount,
    readable_uuid,
)
from cj_stream.contracts.message_limits import CALLBACK_LIMIT
from cj_stream.contracts.receipts import read_receipt
from cj_stream.contracts.refusal import Refused, validated
from cj_stream.contracts.winners import JUDGE_GAVE_NO_WINNER, slot_or_error
from cj_stream.domain.records import Receipt, Slot
from cj_stream.engine.texts import clip

PROVIDERS = ("anthropic", "openai", "google", "openrouter", "mock")
REQUEST_LIMIT = 4 * 1024 * 1024
"""Bytes of a request body that our own gateway reads: two essays, in the prompt and once more in blocks."""
ANSWER_LIMIT = CALLBACK_LIMIT
"""Bytes of an answer that are read; the largest has one verdict."""
REDIRECTED = "REDIRECTED"
"""Error code of a comparison whose provider is not at the address that was asked."""
METADATA_DEPTH = 16
"""Levels of nesting that metadata may have and still be echoed."""
_JUDGED, _QUEUED, _THROTTLED, _UNAVAILABLE = 200, 202, 429, 503
_CLIENT_ERROR = 4
MESSAGE_LIMIT = 500

Kind: TypeAlias = Literal["refused", "busy", "failed"]


class ComparisonRequest(Struct, frozen=True, kw_only=True):
    """One comparison to be judged. ``metadata`` is echoed in the callback; ``None`` leaves a choice to the provider.

    ``correlation_id`` is what the answer is matched on: always send one. ``max_tokens`` is accepted and not used.
    """

    user_prompt: str
    callback_topic: str
    provider: str
    correlation_id: UUID | None
    metadata: dict[str, Any]
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    system_prompt: str | None = None
    reasoning_effort: str | None = None
    output_verbosity: str | None = None


class Accepted(Struct, frozen=True):
    """The comparison was queued; its callback will come (or not: no acceptance guarantees one)."""

    queue_id: str
    estimated_wait_minutes: float | None = None


class ImmediateVerdict(Struct, frozen=True, kw_only=True):
    """The verdict itself, as providers of July 2025 answered; no callback will come."""

    winner: Slot
    confidence: float
    justification: str
    provider: str
    model: str
    receipt: Receipt | None = None


class NotAccepted(Struct, frozen=True, kw_only=True):
    """The comparison was not, or not certainly, taken.

    ``refused``: asking again will not help. ``busy``: certainly not taken, ask later. ``failed``: nobody knows, a
    callback may still come. ``code`` is the provider's, or ``HTTP_<status>`` where it gave none.
    """

    kind: Kind
    code: str
    message: str
    retry_after_seconds: float | None = None


ComparisonAnswer: TypeAlias = Accepted | ImmediateVerdict | NotAccepted


def echo_metadata(
    *,
    essay_a_id: str,
    essay_b_id: str,
    batch_id: str,
    job_id: str,
    retry: bool,
    priority: int = 0,
    batching_mode: str | None = None,
) -> dict[str, Any]:
    """Return the metadata that the platform's own client sends, for ``ComparisonRequest.metadata``.

    Beyond it a priority, where it is not the normal 0: the platform's provider passes over what it does not know.
    """
    wishes: dict[str, Any] = {"priority": priority} if priority else {}
    if batching_mode is not None:
        wishes["cj_llm_batching_mode"] = batching_mode
    return {
        **wishes,
        "essay_a_id": essay_a_id,
        "essay_b_id": essay_b_id,
        "bos_batch_id": batch_id,
        "cj_batch_id": job_id,
        "cj_source": "els",
        "cj_request_type": "cj_retry" if retry else "cj_comparison",
    }


def comparison_request(request: ComparisonRequest) -> dict[str, Any]:
    """Return the JSON body of ``request``; choices left to the provider are absent."""
    overrides = {
        "provider_override": request.provider,
        "model_override": request.model,
        "temperature_override": request.temperature,
        "max_tokens_override": request.max_tokens,
        "system_prompt_override": request.system_prompt,
        "reasoning_effort": request.reasoning_effort,
        "output_verbosity": request.output_verbosity,
    }
    body: dict[str, Any] = {
        "user_prompt": request.user_prompt,
        "callback_topic": request.callback_topic,
        "llm_config_overrides": {name: value for name, value in overrides.items() if value is not None},
        "metadata": request.metadata,
    }
    if request.correlation_id is not None:
        body["correlation_id"] = str(request.correlation_id)
    return body


# --- Answers ----------------------------------------------------------------------------------------------------------


class _Verdict(WireModel):
    winner: str
    confidence: Annotated[Number, Field(ge=1, le=5)]
    justification: Unneeded[str] = None
    provider: Unneeded[Label] = None
    model: Unneeded[Label] = None


def read_response(status: int, body: bytes) -> ComparisonAnswer:
    """Return what the provider's answer to a comparison means; an unreadable one is ``failed``, never an exception."""
    try:
        document = read_object(body, ANSWER_LIMIT)
    except Refused as refused:
        return unreadable_answer(status, refused.detail)
    if status == _QUEUED:
        return _queued(document)
    if status == _JUDGED:
        return _verdict(document)
    return _not_accepted(document, status)


def unreadable_answer(status: int, why: str) -> NotAccepted:
    """Return what an answer means of which no more than its status is known."""
    kind = "failed" if status in (_JUDGED, _QUEUED) else _kind(status, "")
    return NotAccepted(kind=kind, code=f"HTTP_{status}", message=clip(f"unreadable answer: {why}", MESSAGE_LIMIT))


def redirected_answer(why: str) -> NotAccepted:
    """Return what a redirect means: asking again does not help before somebody has changed an address."""
    return NotAccepted(kind="refused", code=REDIRECTED, message=clip(why, MESSAGE_LIMIT))


def _queued(document: Mapping[str, Any]) -> ComparisonAnswer:
    queue_id = document.get("queue_id")
    if queue_id is None or queue_id == "":
        return _not_accepted(document, _QUEUED)
    if not isinstance(queue_id, str):
        return NotAccepted(kind="failed", code=f"HTTP_{_QUEUED}", message="unreadable answer: queue_id is no string")
    return Accepted(queue_id, readable_amount(document.get("estimated_wait_minutes")))


def _verdict(document: Mapping[str, Any]) -> ComparisonAnswer:
    try:
        verdict = validated(_Verdict, document, "body")
        winner = slot_or_error(verdict.winner)
        justification = kept_justification(verdict.justification, "justification")
    except Refused as refused:
        return NotAccepted(kind="failed", code=f"HTTP_{_JUDGED}", message=f"unreadable verdict: {refused.detail}")
    if winner == "error":
        return NotAccepted(kind="failed", code=JUDGE_GAVE_NO_WINNER, message=clip(justification, MESSAGE_LIMIT))
    return ImmediateVerdict(
        winner=winner,
        confidence=verdict.confidence,
        justification=justification,
        provider=verdict.provider or "unknown",
        model=verdict.model or "unknown",
        receipt=read_receipt(document, failed=False),
    )


def _not_accepted(document: Mapping[str, Any], status: int) -> NotAccepted:
    error = document.get("error")
    described = error if isinstance(error, dict) else {"message": error, "details": document.get("details")}
    code = described.get("code")
    code = clip(code, 100) if isinstance(code, str) and code else f"HTTP_{status}"
    details = described.get("details")
    texts = [text for text in (described.get("message"), details) if isinstance(text, str)]
    return NotAccepted(
        kind=_kind(status, code),
        code=code,
        message=clip(": ".join(texts) or f"answer with status {status} that says no more", MESSAGE_LIMIT),
        retry_after_seconds=_retry_after(details),
    )


def _kind(status: int, code: str) -> Kind:
    if status in (_QUEUED, _THROTTLED, _UNAVAILABLE):
        return "busy"
    # A provider that is enabled nowhere is answered with a 500, and no later attempt will find it enabled.
    if status // 100 == _CLIENT_ERROR or code == "CONFIGURATION_ERROR":
        return "refused"
    return "failed"


def _retry_after(details: object) -> float | None:
    """Return the seconds that ``details`` ask to wait; upstream puts them there or one level deeper."""
    if not isinstance(details, dict):
        return None
    inner = details.get("details")
    levels = (details, inner) if isinstance(inner, dict) else (details,)
    found = (readable_amount(level.get(key)) for level in levels for key in ("retry_after_seconds", "retry_after"))
    return next((seconds for seconds in found if seconds is not None), None)


# --- The provider's side, for our own gateway -------------------------------------------------------------------------


class _WireOverrides(WireModel):
    provider_override: str | None = None
    model_override: str | None = None
    temperature_override: Annotated[Number, Field(ge=0, le=2)] | None = None
    max_tokens_override: Integer | None = None
    system_prompt_override: str | None = None
    reasoning_effort: Literal["none", "low", "medium", "high"] | None = None
    output_verbosity: Literal["low", "medium", "high"] | None = None


class _WireRequest(WireModel):
    user_prompt: Annotated[str, Field(min_length=1)]
    callback_topic: Annotated[str, Field(min_length=1)]
    llm_config_overrides: _WireOverrides | None = None
    correlation_id: WireUUID | None = None
    metadata: dict[str, Any] | None = None
    prompt_blocks: list[dict[str, Any]] | None = None


def read_comparison_request(body: bytes) -> ComparisonRequest:
    """Return the comparison that a client asks for. Raises ``Refused``: answer it with ``refusal_answer``."""
    document = read_object(body, REQUEST_LIMIT)
    try:
        return _comparison(validated(_WireRequest, document, ""))
    except Refused as refused:
        raise refused.addressed(None, readable_uuid(document.get("correlation_id")), is_request=True) from None


def _comparison(wire: _WireRequest) -> ComparisonRequest:
    overrides = wire.llm_config_overrides or _WireOverrides()
    metadata = wire.metadata or {}
    if nests_deeper(metadata, METADATA_DEPTH):
        raise Refused("too_deep", f"metadata nests deeper than {METADATA_DEPTH} levels.", field="metadata")
    return ComparisonRequest(
        user_prompt=wire.user_prompt,
        callback_topic=wire.callback_topic,
        provider=_known_provider(overrides.provider_override),
        correlation_id=wire.correlation_id,
        metadata=metadata,
        model=overrides.model_override,
        temperature=overrides.temperature_override,
        max_tokens=overrides.max_tokens_override,
        system_prompt=overrides.system_prompt_override,
        reasoning_effort=overrides.reasoning_effort,
        output_verbosity=overrides.output_verbosity,
    )


def _known_provider(provider: str | None) -> str:
    field = "llm_config_overrides.provider_override"
    if not provider:
        raise Refused("missing_provider", f"{field} must be specified", field=field)
    if provider not in PROVIDERS:
        raise Refused("out_of_range", f"{field}: choose one of {', '.join(PROVIDERS)}.", field=field)
    return provider


def refusal_answer(refused: Refused) -> tuple[int, dict[str, Any]]:
    """Return the status and the JSON body with which the provider service answers a request it does not take.

    A body that is no JSON is answered with 500, as the platform's provider does.
    """
    if refused.reason in ("empty", "not_utf8", "not_json", "too_deep") and refused.field is None:
        return 500, {"error": "Internal server error", "details": refused.detail}
    if refused.reason == "missing_provider":
        answer: dict[str, Any] = {"error": "Provider configuration required", "details": refused.detail}
    else:
        answer = {"error": f"Invalid request format: {refused.detail}"}
    if refused.correlation_id is not None:
        answer["correlation_id"] = str(refused.correlation_id)
    return 400, answer

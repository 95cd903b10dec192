"""Callbacks of the LLM provider: one comparison's verdict or failure, read tolerantly and written exactly."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import NAMESPACE_OID, UUID, uuid5

from msgspec import Struct
from pydantic import Field

from cj_stream.contracts.envelope import Envelope, as_envelope, read_object, write_envelope
from cj_stream.contracts.fields import (
    Amount,
    Count,
    Identifier,
    Label,
    Number,
    Timestamp,
    WireModel,
    WireUUID,
    clip,
    readable_identifier,
    readable_uuid,
    wire_time,
)
from cj_stream.contracts.refusal import Refused, validated
from cj_stream.contracts.winners import JUDGE_GAVE_NO_WINNER, Slot, slot_or_error

EVENT_TYPE = "LLMComparisonResultV1"
PROVIDER_SERVICE = "llm_provider_service"
JUSTIFICATION_KEPT = 2_000
JUSTIFICATION_LIMIT = 10_000
JUSTIFICATION_SENT = 500
"""Characters of a justification: kept of what is read, read at all, and sent (what the platform's model takes)."""
MESSAGE_LIMIT = 500


class TokenUsage(NamedTuple):
    """Tokens that a comparison used."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Callback(Struct, frozen=True, kw_only=True):
    """One comparison's answer in its normal form: either ``winner`` or ``error_code`` is set.

    Match on ``correlation_id``; it is ``None`` only where the message carried none, and then the echoed ids
    (``batch_id``, ``essay_a_id``, ``essay_b_id``) are all there. ``confidence`` is 1.0-5.0 and never a basis for a
    score. ``cost`` is the provider's estimate. ``completed_at`` and ``published_at`` are the provider's clock.
    """

    correlation_id: UUID | None
    request_id: str
    winner: Slot | None
    confidence: float | None
    justification: str | None
    error_code: str | None
    error_message: str | None
    provider: str
    model: str
    response_time_ms: int
    cost: float
    token_usage: TokenUsage | None
    essay_a_id: str | None
    essay_b_id: str | None
    batch_id: str | None
    requested_at: datetime
    completed_at: datetime
    published_at: datetime | None


class _TokenUsage(WireModel):
    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    total_tokens: Count = 0


class _ErrorDetail(WireModel):
    """Its ``correlation_id`` is the error's own, at times all zeros: never matched on."""

    error_code: Identifier
    message: str
    correlation_id: WireUUID
    timestamp: Timestamp
    service: str
    operation: str
    details: dict[str, Any] | None = None


class _Result(WireModel):
    request_id: Label
    correlation_id: WireUUID | None = None
    winner: str | None = None
    justification: Annotated[str, Field(max_length=JUSTIFICATION_LIMIT)] | None = None
    confidence: Annotated[Number, Field(ge=1, le=5)] | None = None
    error_detail: _ErrorDetail | None = None
    provider: Label
    model: Label
    response_time_ms: Count
    cost_estimate: Amount
    token_usage: _TokenUsage | None = None
    requested_at: Timestamp
    completed_at: Timestamp
    request_metadata: dict[str, Any] | None = None


class _Echo(NamedTuple):
    essay_a_id: str | None
    essay_b_id: str | None
    batch_id: str | None


class _Outcome(NamedTuple):
    winner: Slot | None = None
    error_code: str | None = None
    error_message: str | None = None


def read_callback(value: bytes | None) -> Callback:
    """Return the callback in ``value``.

    Raises ``Refused``, with the correlation id where it was readable; such a refusal is never answerable.
    """
    document = read_object(value)
    try:
        envelope = as_envelope(document)
        return _normal_form(envelope, validated(_Result, envelope.data, "data"))
    except Refused as refused:
        raise refused.addressed(None, _readable_id(document), is_request=False) from None


def _normal_form(envelope: Envelope, result: _Result) -> Callback:
    echo = _echo(result.request_metadata or {})
    outcome = _outcome(result)
    return Callback(
        correlation_id=_correlation_id(envelope, result, echo),
        request_id=result.request_id,
        winner=outcome.winner,
        confidence=result.confidence if outcome.winner else None,
        justification=clip(result.justification or "", JUSTIFICATION_KEPT) if outcome.winner else None,
        error_code=outcome.error_code,
        error_message=outcome.error_message,
        provider=result.provider,
        model=result.model,
        response_time_ms=result.response_time_ms,
        cost=result.cost_estimate,
        token_usage=_tokens(result.token_usage),
        essay_a_id=echo.essay_a_id,
        essay_b_id=echo.essay_b_id,
        batch_id=echo.batch_id,
        requested_at=result.requested_at,
        completed_at=result.completed_at,
        published_at=envelope.event_timestamp,
    )


def _tokens(usage: _TokenUsage | None) -> TokenUsage | None:
    if usage is None:
        return None
    return TokenUsage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def _outcome(result: _Result) -> _Outcome:
    error = result.error_detail
    winner = None if result.winner is None else slot_or_error(result.winner)
    if winner in ("A", "B"):
        _require_verdict(result)
        return _Outcome(winner=winner)
    if error is not None:
        return _Outcome(error_code=error.error_code, error_message=clip(error.message, MESSAGE_LIMIT))
    if winner == "error":
        message = clip(result.justification or "The judge named no winner.", MESSAGE_LIMIT)
        return _Outcome(error_code=JUDGE_GAVE_NO_WINNER, error_message=message)
    raise Refused(
        "neither_winner_nor_error",
        "data has neither a winner nor an error_detail: send exactly one of them.",
        field="data.winner",
    )


def _require_verdict(result: _Result) -> None:
    if result.error_detail is not None:
        detail = "data has a winner and an error_detail: send exactly one of them."
        raise Refused("winner_and_error", detail, field="data.error_detail")
    for field in ("confidence", "justification"):
        if getattr(result, field) is None:
            detail = f"data.{field} is missing beside a winner: send it."
            raise Refused("missing_field", detail, field=f"data.{field}")


def _correlation_id(envelope: Envelope, result: _Result, echo: _Echo) -> UUID | None:
    correlation_id = result.correlation_id or envelope.correlation_id
    if correlation_id is None and None in echo:
        raise Refused(
            "missing_correlation_id",
            "No correlation id and no complete echo of the request's metadata: set data.correlation_id.",
            field="data.correlation_id",
        )
    return correlation_id


def _echo(metadata: Mapping[str, Any]) -> _Echo:
    return _Echo(*(readable_identifier(metadata.get(key)) for key in ("essay_a_id", "essay_b_id", "bos_batch_id")))


def _readable_id(document: Mapping[str, Any]) -> UUID | None:
    data = document.get("data")
    own = data.get("correlation_id") if isinstance(data, dict) else None
    return readable_uuid(own if own is not None else document.get("correlation_id"))


def write_callback(  # noqa: PLR0913 - the fields of a callback, all by name
    *,
    correlation_id: UUID,
    request_id: str,
    winner: Slot | None,
    confidence: float | None,
    justification: str | None,
    error_code: str | None,
    error_message: str | None,
    provider: str,
    model: str,
    requested_at: datetime,
    completed_at: datetime,
    response_time_ms: int,
    request_metadata: Mapping[str, object],
) -> bytes:
    """Return a callback in the current form, as the platform's provider service writes it.

    A failed comparison names the model ``unknown`` and takes 0 ms. A justification is cut to 500 characters. The event
    id follows from the rest, so that the same answer has the same bytes. Raises ``ValueError`` unless exactly one of
    winner and error code is given, and unless a winner comes with a confidence of 1.0-5.0.
    """
    _require_one_outcome(winner, confidence, error_code)
    error = error_code and _error_detail(error_code, error_message or "", correlation_id, completed_at)
    data = {
        "request_id": request_id,
        "correlation_id": str(correlation_id),
        "winner": winner and f"Essay {winner}",
        "justification": clip(justification or "", JUSTIFICATION_SENT) if winner else None,
        "confidence": confidence if winner else None,
        "error_detail": error,
        "provider": provider,
        "model": model if winner else "unknown",
        "response_time_ms": response_time_ms if winner else 0,
        "token_usage": TokenUsage(0, 0, 0)._asdict(),
        "cost_estimate": 0.0,
        "requested_at": wire_time(requested_at),
        "completed_at": wire_time(completed_at),
        "trace_id": None,
        "request_metadata": dict(request_metadata),
    }
    return write_envelope(
        event_id=uuid5(NAMESPACE_OID, f"{correlation_id}/{request_id}/{wire_time(completed_at)}"),
        event_type=EVENT_TYPE,
        timestamp=completed_at,
        source_service=PROVIDER_SERVICE,
        correlation_id=correlation_id,
        data=data,
        metadata=None,
    )


def _require_one_outcome(winner: Slot | None, confidence: float | None, error_code: str | None) -> None:
    if (winner is None) == (error_code is None):
        raise ValueError("a callback has either a winner or an error code: give exactly one of them")
    if winner is not None and not 1 <= (confidence or 0) <= 5:  # noqa: PLR2004 - the scale of the wire
        raise ValueError(f"confidence {confidence} of a winner lies outside 1.0-5.0")


def _error_detail(code: str, message: str, correlation_id: UUID, moment: datetime) -> dict[str, object]:
    return {
        "error_code": code,
        "message": message,
        "correlation_id": str(correlation_id),
        "timestamp": wire_time(moment),
        "service": PROVIDER_SERVICE,
        "operation": "call_api",
        "details": {},
        "stack_trace": None,
        "trace_id": None,
        "span_id": None,
    }

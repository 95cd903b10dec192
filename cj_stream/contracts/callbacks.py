"""Callbacks of the LLM provider: one comparison's verdict or failure, read tolerantly and written exactly.

To count a verdict takes who is meant (a correlation id, or the complete echo), a winner and a confidence; to count a
failure, an error code. Nothing else can cost a verdict: a field that nobody needs is read past when it is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import NAMESPACE_OID, UUID, uuid5

from msgspec import Struct
from pydantic import BeforeValidator, Field

from cj_stream.contracts.envelope import read_object, write_envelope
from cj_stream.contracts.fields import (
    Identifier,
    Label,
    Number,
    Timestamp,
    Unneeded,
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
"""Characters kept of a justification."""
JUSTIFICATION_LIMIT = 64 * 1024
"""Bytes of a justification, in UTF-8; a verdict with a longer one is refused."""
JUSTIFICATION_SENT = 500
"""Characters of a justification that is sent: what the platform's model takes."""
MESSAGE_LIMIT = 500
ERROR_CODE_LIMIT = 255


class Callback(Struct, frozen=True, kw_only=True):
    """One comparison's answer in its normal form: either ``winner`` or ``error_code`` is set.

    Match on ``correlation_id``; it is ``None`` only where the message carried none, and then the echoed ids
    (``batch_id``, ``essay_a_id``, ``essay_b_id``) are all there. ``confidence`` is 1.0-5.0 and never a basis for a
    score. ``provider`` and ``model`` are empty where they could not be read. ``published_at`` is the provider's clock.
    """

    correlation_id: UUID | None
    winner: Slot | None
    confidence: float | None
    justification: str | None
    error_code: str | None
    error_message: str | None
    provider: str
    model: str
    essay_a_id: str | None
    essay_b_id: str | None
    batch_id: str | None
    published_at: datetime | None


def _short_code(value: object) -> object:
    return clip(value, ERROR_CODE_LIMIT) if isinstance(value, str) else value


class _ErrorDetail(WireModel):
    """Its ``correlation_id`` is the error's own, at times all zeros: never matched on."""

    error_code: Annotated[Identifier, BeforeValidator(_short_code)]
    message: Unneeded[str] = None


class _Result(WireModel):
    correlation_id: WireUUID | None = None
    winner: str | None = None
    error_detail: _ErrorDetail | None = None
    request_metadata: dict[str, Any] | None = None
    confidence: Any = None
    justification: Unneeded[str] = None
    provider: Unneeded[Label] = None
    model: Unneeded[Label] = None


class _Verdict(WireModel):
    confidence: Annotated[Number, Field(ge=1, le=5)]


class _Message(WireModel):
    """The envelope, of which a callback needs little: its correlation id only where ``data`` has none."""

    data: dict[str, Any]
    correlation_id: Any = None
    event_timestamp: Unneeded[Timestamp] = None


class _Addressed(WireModel):
    correlation_id: WireUUID


class _Echo(NamedTuple):
    essay_a_id: str | None
    essay_b_id: str | None
    batch_id: str | None


class _Outcome(NamedTuple):
    winner: Slot | None = None
    confidence: float | None = None
    justification: str | None = None
    error_code: str | None = None
    error_message: str | None = None


def read_callback(value: bytes | None) -> Callback:
    """Return the callback in ``value``.

    Raises ``Refused``, with the correlation id where it was readable; such a refusal is never answerable.
    """
    document = read_object(value)
    try:
        return _normal_form(validated(_Message, document, ""))
    except Refused as refused:
        raise refused.addressed(None, _readable_id(document), is_request=False) from None


def _normal_form(message: _Message) -> Callback:
    result = validated(_Result, message.data, "data")
    echo = _echo(result.request_metadata or {})
    outcome = _outcome(result)
    return Callback(
        correlation_id=_correlation_id(message, result, echo),
        winner=outcome.winner,
        confidence=outcome.confidence,
        justification=outcome.justification,
        error_code=outcome.error_code,
        error_message=outcome.error_message,
        provider=result.provider or "",
        model=result.model or "",
        essay_a_id=echo.essay_a_id,
        essay_b_id=echo.essay_b_id,
        batch_id=echo.batch_id,
        published_at=message.event_timestamp,
    )


def _outcome(result: _Result) -> _Outcome:
    error = result.error_detail
    winner = None if result.winner is None else slot_or_error(result.winner)
    if winner in ("A", "B"):
        if error is not None:
            detail = "data has a winner and an error_detail: send exactly one of them."
            raise Refused("winner_and_error", detail, field="data.error_detail")
        return _verdict(winner, result)
    if error is not None:
        return _Outcome(error_code=error.error_code, error_message=clip(error.message or "", MESSAGE_LIMIT))
    if winner == "error":
        message = clip(result.justification or "The judge named no winner.", MESSAGE_LIMIT)
        return _Outcome(error_code=JUDGE_GAVE_NO_WINNER, error_message=message)
    raise Refused(
        "neither_winner_nor_error",
        "data has neither a winner nor an error_detail: send exactly one of them.",
        field="data.winner",
    )


def _verdict(winner: Slot, result: _Result) -> _Outcome:
    stated = {} if result.confidence is None else {"confidence": result.confidence}
    return _Outcome(
        winner=winner,
        confidence=validated(_Verdict, stated, "data").confidence,
        justification=kept_justification(result.justification, "data.justification"),
    )


def kept_justification(justification: str | None, field: str) -> str:
    """Return what is kept of a verdict's justification; none is an empty one.

    Raises ``Refused`` for one beyond all measure: no judge wrote it, and it would be kept twenty thousand times.
    """
    text = justification or ""
    size = len(text.encode())
    if size > JUSTIFICATION_LIMIT:
        detail = f"{field} has {size} bytes, at most {JUSTIFICATION_LIMIT} are taken: send a shorter one."
        raise Refused("out_of_range", detail, field=field)
    return clip(text, JUSTIFICATION_KEPT)


def _correlation_id(message: _Message, result: _Result, echo: _Echo) -> UUID | None:
    if result.correlation_id is not None:
        return result.correlation_id
    if message.correlation_id is not None:
        return validated(_Addressed, {"correlation_id": message.correlation_id}, "").correlation_id
    if None in echo:
        raise Refused(
            "missing_correlation_id",
            "No correlation id and no complete echo of the request's metadata: set data.correlation_id.",
            field="data.correlation_id",
        )
    return None


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
        "token_usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
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

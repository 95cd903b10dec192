"""Writes callbacks in the platform's current form: what `read_callback` reads back as the same answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import NAMESPACE_OID, UUID, uuid5

from cj_stream.contracts.envelope import write_envelope
from cj_stream.contracts.fields import wire_time
from cj_stream.domain.records import Slot
from cj_stream.engine.texts import clip

EVENT_TYPE = "LLMComparisonResultV1"
PROVIDER_SERVICE = "llm_provider_service"
JUSTIFICATION_SENT = 500
"""Characters of a justification that is sent: what the platform's model takes."""


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
    tokens: tuple[int, int] = (0, 0),
    cost: float = 0.0,
) -> bytes:
    """Return a callback in the current form, as the platform's provider service writes it.

    A failed comparison names the model ``unknown`` and takes 0 ms; it may have been paid for all the same. ``tokens``
    are those in and out, ``cost`` is in US dollars. A justification is cut to 500 characters. The event
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
        "token_usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)},
        "cost_estimate": cost,
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

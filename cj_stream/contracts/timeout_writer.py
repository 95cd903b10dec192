"""The timeout recovery event: a batch whose deadline has passed is to be looked at again."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from cj_stream.contracts.envelope import write_envelope
from cj_stream.contracts.fields import Count, Identifier, Timestamp, WireModel, wire_time
from cj_stream.contracts.outcome_writer import SERVICE

EVENT_TYPE = "cj.batch.timeout_due.v1"


class BatchTimeoutDueV1(WireModel):
    """A deadline passed. ``window_end`` closes the window of time that it fell in; ``reason`` says it for a reader."""

    batch_id: Identifier
    run: Count
    due_at: Timestamp
    window_end: Timestamp
    reason: str


def write_timeout_due(event: BatchTimeoutDueV1, *, event_id: UUID, correlation_id: UUID, now: datetime) -> bytes:
    """Return the event in an envelope. Raises ``ValueError`` when ``now`` has no zone."""
    return write_envelope(
        event_id=event_id,
        event_type=EVENT_TYPE,
        timestamp=now,
        source_service=SERVICE,
        correlation_id=correlation_id,
        data={
            "batch_id": event.batch_id,
            "run": event.run,
            "due_at": wire_time(event.due_at),
            "window_end": wire_time(event.window_end),
            "reason": event.reason,
        },
        metadata={},
    )

"""The deadlines of batches: what falls due in a window of the timer, the event that says so, and its copy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from cj_stream.contracts.timeout_writer import BatchTimeoutDueV1, write_timeout_due
from cj_stream.domain.batch import Batch
from cj_stream.domain.deadlines import next_due
from cj_stream.domain.events import TimeoutDue
from cj_stream.domain.identifiers import timeout_event_id
from cj_stream.engine.windows import Due

log = structlog.get_logger(__name__)


class Watched(NamedTuple):
    """All that is kept of a batch on the wheel: a finished one may be there for days."""

    batch_id: str
    run: int
    correlation_id: str
    finished: bool


class BatchDeadlines:
    """The deadlines of batches. ``width`` of a window is in seconds; ``copies`` takes key and value of a copy."""

    def __init__(self, width: float, copies: Callable[[bytes, bytes], Awaitable[object]]) -> None:
        self._width = width
        self._copies = copies

    def next_due(self, subject: Batch, opened_at: float) -> float | None:
        """Return when the batch falls due next."""
        due = next_due(subject, opened_at)
        return due and due.at

    def watched(self, subject: Batch) -> Watched:
        """Return what is kept of a batch."""
        return Watched(*subject.key, subject.roster.correlation_id, subject.finished)

    def is_last(self, watched: Watched) -> bool:
        """Return whether it will be deleted: nothing more falls due."""
        return watched.finished

    def event(self, due: Due[Watched]) -> TimeoutDue:
        """Return the timeout recovery event."""
        watched = due.watched
        return TimeoutDue(batch_id=watched.batch_id, run=watched.run, due_at=due.at, opened_at=due.opened_at)

    async def emitted(self, due: Due[Watched]) -> None:
        """Give whoever watches the topic of timeouts a copy."""
        batch_id, run = due.watched.batch_id, due.watched.run
        reason = "a deadline of the batch or of one of its comparisons has passed"
        if due.unread:
            reason += f"; verdicts may lie unread: {'; '.join(due.unread)}"
        await self._copies(batch_id.encode(), self._copy(due, reason))
        log.info("timeout due", batch_id=batch_id, run=run, due_at=due.at, reason=reason)

    def _copy(self, due: Due[Watched], reason: str) -> bytes:
        watched = due.watched
        window_end = datetime.fromtimestamp((due.at // self._width + 1) * self._width, UTC)
        event = BatchTimeoutDueV1(
            batch_id=watched.batch_id,
            run=watched.run,
            due_at=datetime.fromtimestamp(due.at, UTC),
            window_end=window_end,
            reason=reason,
        )
        return write_timeout_due(
            event,
            event_id=timeout_event_id(watched.batch_id, watched.run, due.at),
            correlation_id=UUID(watched.correlation_id),
            now=datetime.fromtimestamp(due.now, UTC),
        )

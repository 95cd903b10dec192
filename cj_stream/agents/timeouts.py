"""The windowed timer agent: when a window of time closes, it emits a timeout recovery event for each batch due in it.

It keeps a wheel of windows per open partition, in memory, rebuilt whenever a partition opens. It writes nothing: the
event goes into the batch's own log, where the batch agent decides from the state, and a batch that moved meanwhile is
left alone. Before it emits anything it waits until every callback that existed when the window closed has been read.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from cj_stream.contracts.timeouts import BatchTimeoutDueV1, write_timeout_due
from cj_stream.domain.batch import Batch
from cj_stream.domain.deadlines import next_due
from cj_stream.domain.events import Event, TimeoutDue
from cj_stream.domain.identifiers import timeout_event_id
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.lag import Read
from cj_stream.engine.wheel import Key, Wheel
from cj_stream.operations.metrics import Metrics

log = structlog.get_logger(__name__)


class _Watched(NamedTuple):
    """All that is kept of a batch on the wheel: a finished one may be there for days."""

    correlation_id: str
    finished: bool


class TimeoutsAgent:
    """Emits timeout recovery events for the open partitions of this worker. ``width`` of a window is in seconds."""

    def __init__(
        self,
        width: float,
        opener: Opener,
        forwarder: Forwarder[Event],
        copies: Callable[[bytes, bytes], Awaitable[object]],
        callbacks_read: Callable[[], Awaitable[Read]],
        metrics: Metrics,
    ) -> None:
        self._width = width
        self._opener = opener
        self._forwarder = forwarder
        self._copies = copies
        self._callbacks_read = callbacks_read
        self._metrics = metrics
        self._wheels: dict[int, Wheel] = {}
        self._watched: dict[Key, _Watched] = {}

    def watch(self, partition: int, batches: Iterable[Batch]) -> None:
        """Note when each of these batches falls due next."""
        wheel = self._wheels.setdefault(partition, Wheel(self._width))
        for batch in batches:
            due = next_due(batch, self._opener.opened_at.get(partition, 0.0))
            if due is None:
                wheel.remove(batch.key)
                self._watched.pop(batch.key, None)
            else:
                wheel.put(batch.key, due)
                self._watched[batch.key] = _Watched(batch.roster.correlation_id, batch.finished)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions that are no longer ours."""
        for partition in partitions:
            wheel = self._wheels.pop(partition, None)
            for key in wheel.keys() if wheel else ():
                self._watched.pop(key, None)

    async def close_windows(self, now: float) -> None:
        """Emit what fell due in the windows that have closed by ``now``."""
        opened = self._opener.opened_at
        due = {partition: self._wheels[partition].closed(now) for partition in opened if partition in self._wheels}
        self._metrics.stuck_detected.set(sum(len(batches) for batches in due.values()))
        if not any(due.values()):
            return
        read = await self._callbacks_read()
        if not read.everything:
            log.warning("timeouts wait: callbacks lie unread", batches=sum(len(batches) for batches in due.values()))
            return
        for partition, batches in due.items():
            for key, due_at in batches:
                if self._is_still_due(partition, key, due_at, opened[partition]):
                    await self._emit(partition, key, due_at, now, read.standing)

    def _is_still_due(self, partition: int, key: Key, due_at: float, opened_at: float) -> bool:
        wheel = self._wheels.get(partition)
        return wheel is not None and wheel.due(key) == due_at and self._opener.opened_at.get(partition) == opened_at

    async def _emit(self, partition: int, key: Key, due_at: float, now: float, unread: tuple[str, ...]) -> None:
        wheel, watched = self._wheels[partition], self._watched[key]
        if watched.finished:
            # It will be deleted: nothing more falls due.
            wheel.remove(key)
            del self._watched[key]
        else:
            # If nothing comes of it, it is due again when the next window closes.
            wheel.put(key, now)
        batch_id, run = key
        opened_at = self._opener.opened_at[partition]
        event = TimeoutDue(batch_id=batch_id, run=run, due_at=due_at, opened_at=opened_at)
        await self._forwarder.deliver(partition, event)
        reason = "a deadline of the batch or of one of its comparisons has passed"
        if unread:
            reason += f"; verdicts may lie unread: {'; '.join(unread)}"
        await self._copies(batch_id.encode(), self._copy(key, watched, due_at, now, reason))
        log.info("timeout due", batch_id=batch_id, run=run, due_at=due_at, reason=reason)

    def _copy(self, key: Key, watched: _Watched, due_at: float, now: float, reason: str) -> bytes:
        batch_id, run = key
        window_end = datetime.fromtimestamp((due_at // self._width + 1) * self._width, UTC)
        event = BatchTimeoutDueV1(
            batch_id=batch_id,
            run=run,
            due_at=datetime.fromtimestamp(due_at, UTC),
            window_end=window_end,
            reason=reason,
        )
        return write_timeout_due(
            event,
            event_id=timeout_event_id(batch_id, run, due_at),
            correlation_id=UUID(watched.correlation_id),
            now=datetime.fromtimestamp(now, UTC),
        )

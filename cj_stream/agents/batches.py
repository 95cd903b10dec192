"""The batch agent: the only writer of the table. Decodes, has the domain decide, stores, and holds the effects back.

A run of messages carries events of many batches. Each event is decided in turn, at its own message's offset and time;
the rows of all of them are written at the end in one flush, batch by batch, details first and the control row last.
Every event fails alone: what cannot be decoded goes to the dead
letters, and so does what cannot be decided, whose batch then ends as failed rather than stop every worker in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import structlog

from cj_stream.contracts.log import decode_event
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.batch import Batch
from cj_stream.domain.draft import Change, Changes, NoteKind, unchanged
from cj_stream.domain.events import Event
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.todo import is_done
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.hardening import Engine
from cj_stream.engine.messages import (
    NewerVersionError,
    PartitionOpened,
    decode_message,
)
from cj_stream.engine.process import end_process
from cj_stream.engine.runs import Record, Run, in_portions
from cj_stream.operations.metrics import Metrics
from cj_stream.tables.batches import BatchRows

log = structlog.get_logger(__name__)

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: also for texts that are no UTF-8, and for what nests too deeply in a field that nobody knows."""


@dataclass
class _Work:
    """What one run has come to so far."""

    batches: PartitionBatches
    changes: Changes = field(default_factory=Changes)
    """What is not stored yet."""
    changed: dict[tuple[str, int], Batch] = field(default_factory=dict)
    """What is stored, as it is now."""
    opened: bool = False
    """Whether the marker of the partition is in the run."""


class BatchesAgent:
    """Handles one run of the events topic at a time. ``partitions`` holds the batches of those being served."""

    def __init__(
        self,
        engine: Engine[Event],
        rows: BatchRows,
        dead_letters: DeadLetters,
        metrics: Metrics,
        new_partition: Callable[[int], PartitionBatches],
    ) -> None:
        self.partitions: dict[int, PartitionBatches] = {}
        self._engine = engine
        self._rows = rows
        self._dead_letters = dead_letters
        self._metrics = metrics
        self._new_partition = new_partition

    @property
    def homes(self) -> dict[int, PartitionBatches]:
        """The batches of each partition that is served."""
        return self.partitions

    async def handle(self, run: Run) -> None:
        """Apply the events of all messages of a run."""
        self._engine.fence.check()
        work = _Work(self._batches(run.partition))
        work.batches.let_go()
        async for message in in_portions(run.records):
            await self._handle(message, work)
        await self._store(run.partition, work)
        self._engine.releases.hold(run.partition, run.last, self._released(run.partition, work))

    async def _handle(self, message: Record, work: _Work) -> None:
        """Apply the events of one message."""
        for data in await self._events(message):
            event = await self._event(message, data)
            if isinstance(event, PartitionOpened):
                if self._engine.opener.read(message.partition, event):
                    await self._rows.heartbeat(message.partition, message.offset)
                    work.opened = True
            elif event is not None:
                change = await self._apply(message, work.batches, event)
                work.changes.add(change, message.offset)
                if change.deleted is not None:
                    # A later event of the run may ask the table for that batch.
                    await self._store(message.partition, work)

    async def _store(self, partition: int, work: _Work) -> None:
        changes, work.changes = list(work.changes), Changes()
        for change, _ in changes:
            if change.deleted is not None:
                work.changed.pop(change.deleted.key, None)
            elif change.batch is not None:
                work.changed[change.batch.key] = change.batch
        await self._rows.store(partition, changes)

    def _released(self, partition: int, work: _Work) -> list[Batch]:
        """Return the batches that may go on once the run is committed."""
        if work.opened:
            # Done batches too: their retention has to be watched.
            return [*work.batches, *(head for head in self._rows.heads(partition) if is_done(head))]
        # Before its marker is read a partition starts nothing: what is still to be read may have done it already.
        return list(work.changed.values()) if partition in self._engine.opener.opened_at else []

    def _batches(self, partition: int) -> PartitionBatches:
        if partition not in self.partitions:
            batches = self.partitions[partition] = self._new_partition(partition)
            heads = [head for head in self._rows.heads(partition) if not is_done(head)]
            loaded = (self._rows.load(partition, *head.key) for head in heads)
            batches.restore(batch for batch in loaded if batch is not None)
        return self.partitions[partition]

    async def _events(self, message: Record) -> list[bytes]:
        try:
            return decode_message(message.value or b"")
        except NewerVersionError as error:
            end_process(str(error))
        except _UNREADABLE as error:
            await self._dead_letters.put(message, Refused("not_an_internal_message", str(error)))
            return []

    async def _event(self, message: Record, data: bytes) -> Event | PartitionOpened | None:
        try:
            return decode_event(data)
        except _UNREADABLE as error:
            await self._dead_letters.put(message, Refused("not_an_event", str(error)), data)
            return None

    async def _apply(self, message: Record, batches: PartitionBatches, event: Event) -> Change:
        try:
            change = batches.decide(event, message.timestamp, lambda batch: self._applied(message, batch))
        except Exception as error:  # the decider is deterministic: a retry would fail the same way
            log.exception("an event could not be decided", batch_id=event.batch_id)
            refused = Refused("undecidable_event", f"{type(error).__name__}: {error}", batch_id=event.batch_id)
            await self._dead_letters.put(message, refused, msgspec.msgpack.encode(event))
            change = self._poisoned(batches, event, error, message.timestamp)
        else:
            self._dead_letters.accepted(message.topic)
        batches.apply(change)
        self._observe(change)
        return change

    def _poisoned(self, batches: PartitionBatches, event: Event, error: Exception, at: float) -> Change:
        try:
            return batches.poison(event, repr(error), at)
        except Exception:  # an event of which not even the batch can be found ends none
            log.exception("an event belongs to no batch", batch_id=event.batch_id)
            return unchanged(None, ())

    def _applied(self, message: Record, batch: Batch) -> bool:
        """Return whether the table was ahead of the log: who had the partition before applied this, and died.

        Most events would do nothing twice, but a command would be taken for one about a later run or state.
        """
        if message.partition in self._engine.opener.opened_at:
            return False
        here = self._rows.positions.of(message.partition, int(message.offset))
        return self._rows.position(message.partition, batch) >= here

    def _observe(self, change: Change) -> None:
        subject = change.deleted or change.batch
        self._metrics.observe(subject, change.notes)
        for note in change.notes:
            if note.kind is NoteKind.STATE_CHANGED and subject is not None:
                log.info("batch moved", batch_id=subject.batch_id, run=subject.run, states=note.detail)

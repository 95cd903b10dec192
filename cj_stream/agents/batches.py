"""The home of a partition's batches: has the domain decide each event, and tells what is to be stored.

Each event is decided in turn, at its own message's offset and time. What a run of them changed of a batch is told once:
details first and the control row last. Every event fails alone: what cannot be decided goes to the dead letters, and
its batch ends as failed rather than stop every worker in turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

import structlog

from cj_stream.contracts.refusal import Refused
from cj_stream.domain.batch import Batch
from cj_stream.domain.draft import Change, NoteKind, unchanged
from cj_stream.domain.events import Event
from cj_stream.domain.partition import Load, PartitionBatches
from cj_stream.domain.todo import is_done
from cj_stream.engine.home import Applied, Entry, Undecided
from cj_stream.engine.opening import Opener
from cj_stream.engine.runs import Record
from cj_stream.operations.metrics import Metrics
from cj_stream.tables.batch_rows import BatchRows, Unstored

log = structlog.get_logger(__name__)

PORTION_EVENTS = 50
"""So many events are decided before the event loop gets to turn."""

NewPartition = Callable[[Load], PartitionBatches]


class Batches:
    """The batches of this worker. ``partitions`` holds those of the partitions that are served."""

    def __init__(self, rows: BatchRows, opener: Opener, metrics: Metrics, new_partition: NewPartition) -> None:
        self.partitions: dict[int, PartitionBatches] = {}
        self._rows = rows
        self._opener = opener
        self._metrics = metrics
        self._new_partition = new_partition

    def home(self, partition: int) -> BatchHome:
        """Return the home of a partition, with its live batches as the table has them."""
        home = BatchHome(partition, self._rows, self._opener, self._metrics, self._new_partition)
        self.partitions[partition] = home.batches
        return home


class BatchHome:
    """The batches of one partition."""

    def __init__(
        self, partition: int, rows: BatchRows, opener: Opener, metrics: Metrics, new_partition: NewPartition
    ) -> None:
        self._partition = partition
        self._rows = rows
        self._opener = opener
        self._metrics = metrics
        self._run = Unstored(partition, rows)
        self.batches = new_partition(self._load)
        heads = [head for head in rows.heads(partition) if not is_done(head)]
        loaded = (rows.load(partition, *head.key) for head in heads)
        self.batches.restore(batch for batch in loaded if batch is not None)

    def subjects(self) -> Iterator[Batch]:
        """Iterate over all batches, done ones too: their retention has to be watched."""
        yield from self.batches
        yield from (head for head in self._rows.heads(self._partition) if is_done(head))

    async def apply(self, entries: Sequence[Entry[Event]]) -> Applied[Batch, Event]:
        """Apply events, in order."""
        self._run = Unstored(self._partition, self._rows)
        self.batches.let_go()
        undecided = []
        for number, (event, record) in enumerate(entries, 1):
            change, refused = self._decide(event, record)
            if refused is not None:
                undecided.append(Undecided(entries[number - 1], refused))
            self.batches.apply(change)
            self._observe(change)
            self._run.add(change, record.offset)
            if number % PORTION_EVENTS == 0:
                await asyncio.sleep(0)
        return Applied(self._run.puts(), list(self._run.changed.values()), undecided)

    def _load(self, batch_id: str, run: int | None) -> Batch | None:
        return self._rows.load(self._partition, batch_id, run, without=self._run.gone)

    def _decide(self, event: Event, record: Record) -> tuple[Change, Refused | None]:
        try:
            return self.batches.decide(event, record.timestamp, lambda batch: self._applied(record, batch)), None
        except Exception as error:  # the decider is deterministic: a retry would fail the same way
            log.exception("an event could not be decided", batch_id=event.batch_id)
            refused = Refused("undecidable_event", f"{type(error).__name__}: {error}", batch_id=event.batch_id)
            return self._poisoned(event, error, record.timestamp), refused

    def _poisoned(self, event: Event, error: Exception, at: float) -> Change:
        try:
            return self.batches.poison(event, repr(error), at)
        except Exception:  # an event of which not even the batch can be found ends none
            log.exception("an event belongs to no batch", batch_id=event.batch_id)
            return unchanged(None, ())

    def _applied(self, record: Record, batch: Batch) -> bool:
        """Return whether the table was ahead of the log: who had the partition before applied this, and died.

        Most events would do nothing twice, but a command would be taken for one about a later run or state.
        """
        if self._partition in self._opener.opened_at:
            return False
        here = self._rows.positions.of(self._partition, record.offset)
        return self._rows.position(self._partition, batch) >= here

    def _observe(self, change: Change) -> None:
        subject = change.deleted or change.batch
        self._metrics.observe(subject, change.notes)
        for note in change.notes:
            if note.kind is NoteKind.STATE_CHANGED and subject is not None:
                states = f"{note.left} -> {note.detail}"
                log.info("batch moved", batch_id=subject.batch_id, run=subject.run, states=states)

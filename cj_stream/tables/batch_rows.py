"""Batches in the table: the rows of what decisions changed, and a batch built from its rows."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import TypeVar, cast

from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.draft import Change, Changes, RunChange
from cj_stream.domain.records import Comparison, Content, Control, Plan, Roster, Row, Scores
from cj_stream.engine.overrides.table import Put, Table
from cj_stream.engine.positions import Newest, Positions
from cj_stream.engine.rows import (
    row_position,
)
from cj_stream.tables.codec import (
    decode_row,
    encode_row,
    prefix,
    read_key,
    row_key,
)

DELETION_ORDER: tuple[type[Row], ...] = (Scores, Comparison, Plan, Content, Control, Roster)
"""A deletion that was broken off is repeated as long as the control row is there."""

RowT = TypeVar("RowT", bound=Row)


class BatchRows:
    """Reads the batches of the partitions of this worker."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.positions = Positions(table, self.newest)

    def puts(self, partition: int, changes: Iterable[RunChange]) -> list[Put]:
        """Return the rows of what a run of events changed: of each batch the details first, the control row last."""
        base = self.positions.of(partition, 0)
        return [put for change, offsets in changes for put in self._puts(partition, base, change, offsets)]

    def deletion(self, partition: int, batch: Batch, offset: int) -> list[Put]:
        """Return the deletion of a batch, and a heartbeat: who dies behind it would leave a tombstone at the end."""
        gone: list[Put] = [(key, None) for key in self._keys(partition, batch)]
        return [*gone, self.positions.heartbeat(partition, offset)]

    def _puts(self, partition: int, base: int, change: Change, offsets: Sequence[int]) -> list[Put]:
        if change.batch is None:
            return []
        batch_id, run = change.batch.key
        known = self.position(partition, change.batch)
        return [
            (row_key(batch_id, run, row), encode_row(row, max(base + offset, known)))
            for row, offset in zip(change.rows, offsets, strict=True)
        ]

    def newest(self, partition: int) -> Newest:
        """Return the highest position of the rows of a partition, and the time of their newest event."""
        position, at = -1, 0.0
        for key, row in self._table.scan(partition, prefix(Control)):
            control = cast("Control", decode_row(key, row))
            position, at = max(position, row_position(row)), max(at, control.activity_at, control.state_since)
        return Newest(position, at)

    def position(self, partition: int, batch: Batch) -> int:
        """Return the position of the batch's control row, -1 for a batch without one."""
        value = self._table.read(partition, row_key(*batch.key, batch.control))
        return -1 if value is None else row_position(value)

    def load(
        self, partition: int, batch_id: str, run: int | None = None, without: Container[tuple[str, int]] = ()
    ) -> Batch | None:
        """Return a run of a batch, the newest for None, or None when there is no such run.

        Those in ``without`` are not there any more.
        """
        if run is None:
            run = max((run for run in self.runs(partition, batch_id) if (batch_id, run) not in without), default=None)
        return None if run is None or (batch_id, run) in without else self._build(partition, batch_id, run)

    def runs(self, partition: int, batch_id: str) -> list[int]:
        """Return the runs that there are of a batch."""
        return [read_key(key)[1] for key, _ in self._table.scan(partition, prefix(Control, batch_id))]

    def heads(self, partition: int) -> Iterator[Batch]:
        """Iterate over all batches of a partition, every run, with nothing but their roster and control row."""
        for key, value in list(self._table.scan(partition, prefix(Control))):
            batch_id, run = read_key(key)
            roster = self._rows(partition, Roster, batch_id, run)
            if roster:
                yield Batch(roster=roster[0], control=cast("Control", decode_row(key, value)))

    def _build(self, partition: int, batch_id: str, run: int) -> Batch | None:
        control = self._rows(partition, Control, batch_id, run)
        roster = self._rows(partition, Roster, batch_id, run)
        if not control or not roster:
            return None
        batch = Batch(roster=roster[0], control=control[0])
        # Only what the control row counts is committed; a row beyond it is left from an event that will be replayed.
        plans = [plan for plan in self._rows(partition, Plan, batch_id, run) if plan.iteration <= control[0].iteration]
        batch = evolve(batch, [*self._rows(partition, Content, batch_id, run), *plans])
        judged = self._rows(partition, Comparison, batch_id, run)
        scores = [row for row in self._rows(partition, Scores, batch_id, run) if row.fit <= control[0].fits]
        return evolve(batch, [*(row for row in judged if row.index < batch.total_comparisons), *scores])

    def _rows(self, partition: int, row_type: type[RowT], batch_id: str, run: int) -> list[RowT]:
        found = self._table.scan(partition, prefix(row_type, batch_id, run))
        return [cast("RowT", decode_row(key, value)) for key, value in found]

    def _keys(self, partition: int, batch: Batch) -> list[bytes]:
        return [key for kind in DELETION_ORDER for key, _ in self._table.scan(partition, prefix(kind, *batch.key))]


class Unstored:
    """What a run of events has changed so far, and the table does not know yet."""

    def __init__(self, partition: int, rows: BatchRows) -> None:
        self._partition = partition
        self._rows = rows
        self._changes = Changes()
        self._deletions: list[Put] = []
        self.changed: dict[tuple[str, int], Batch] = {}
        """The batches that are changed, as they are now."""
        self.gone: set[tuple[str, int]] = set()
        """Those that are deleted."""

    def add(self, change: Change, offset: int) -> None:
        """Add what an event at ``offset`` changed."""
        if change.deleted is not None:
            key = change.deleted.key
            self._deletions += self._rows.deletion(self._partition, change.deleted, offset)
            self._changes.drop(key)
            self.changed.pop(key, None)
            self.gone.add(key)
        elif change.batch is not None and change.rows:
            self._changes.add(change, offset)
            self.changed[change.batch.key] = change.batch

    def puts(self) -> list[Put]:
        """Return the rows to be written: what is deleted first, for its id may have been requested again since."""
        return [*self._deletions, *self._rows.puts(self._partition, self._changes)]

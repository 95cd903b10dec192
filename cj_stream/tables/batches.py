"""Batches in the table: storing what a decision changed, and building a batch from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, cast

from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.draft import Change, RunChange
from cj_stream.domain.records import Comparison, Content, Control, Plan, Roster, Row, Scores
from cj_stream.engine.overrides.table import BatchTable, Put
from cj_stream.engine.positions import Newest, Positions
from cj_stream.engine.rows import (
    row_position,
)
from cj_stream.engine.sender import Sender
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
    """Reads and writes the batches of the partitions of this worker."""

    def __init__(self, table: BatchTable, sender: Sender) -> None:
        self._table = table
        self._sender = sender
        self.positions = Positions(table, self.newest)

    async def store(self, partition: int, changes: Iterable[RunChange]) -> None:
        """Write what a run of events changed, in one flush: of each batch the details first, the control row last."""
        puts = [put for change, offsets in changes for put in self._puts(partition, change, offsets)]
        if puts:
            await self._table.write(self._sender, partition, puts)

    def _puts(self, partition: int, change: Change, offsets: Sequence[int]) -> list[Put]:
        if change.deleted is not None:
            gone: list[Put] = [(key, None) for key in self._keys(partition, change.deleted)]
            return [*gone, self.positions.heartbeat(partition, offsets[-1])]
        if change.batch is None:
            return []
        batch_id, run = change.batch.key
        base, known = self.positions.of(partition, 0), self.position(partition, change.batch)
        return [
            (row_key(batch_id, run, row), encode_row(row, max(base + offset, known)))
            for row, offset in zip(change.rows, offsets, strict=True)
        ]

    async def heartbeat(self, partition: int, offset: int) -> None:
        """Write the heartbeat row: who died deleting may have left the changelog with a tombstone at its end."""
        await self._table.write(self._sender, partition, [self.positions.heartbeat(partition, offset)])

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

    def load(self, partition: int, batch_id: str, run: int | None = None) -> Batch | None:
        """Return a run of a batch, the newest for None, or None when there is no such run."""
        if run is None:
            runs = [read_key(key)[1] for key, _ in self._table.scan(partition, prefix(Control, batch_id))]
            if not runs:
                return None
            run = max(runs)
        return self._build(partition, batch_id, run)

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

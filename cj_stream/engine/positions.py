"""The positions of a table's rows (`rows`): what they are in each partition, and how they go on with another log.

The heartbeat row keeps a partition of the changelog from ending in a tombstone, on which recovery would hang, and it
has the base of the positions.

Tests: ``test_positions.py``; ``tests/kafka/test_offsets.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from cj_stream.engine.overrides.inputs import AppliedUpTo
from cj_stream.engine.overrides.table import Put, Table
from cj_stream.engine.rows import HEARTBEAT_KEY, POSITIONS_APART, encode_heartbeat, heartbeat_base, row_position


class Newest(NamedTuple):
    """The highest position of an app's rows, and the time of their newest event, in seconds since the epoch."""

    position: int = -1
    at: float = 0.0


class Positions:
    """The positions in the partitions of one worker; ``newest`` tells those of the app's rows in a partition."""

    def __init__(self, table: Table, newest: Callable[[int], Newest]) -> None:
        self._table = table
        self._newest = newest

    def of(self, partition: int, offset: int) -> int:
        """Return the position of what the event at ``offset`` causes."""
        return self._base(partition) + offset

    def heartbeat(self, partition: int, offset: int) -> Put:
        """Return the heartbeat row: who died deleting may have left the changelog with a tombstone at its end."""
        # Not below the one before: an event that is read again may be older than the marker that was read last.
        value = self._table.read(partition, HEARTBEAT_KEY)
        base = self._base(partition)
        return HEARTBEAT_KEY, encode_heartbeat(max(base + offset, -1 if value is None else row_position(value)), base)

    def applied(self, partition: int) -> AppliedUpTo | None:
        """Return how far the log was applied to the rows of a partition, None when there are no rows."""
        value = self._table.read(partition, HEARTBEAT_KEY)
        newest = self._newest(partition)
        position = max(newest.position, -1 if value is None else row_position(value))
        return None if position < 0 else AppliedUpTo(position - self._base(partition), newest.at)

    def anew(self, partition: int, offset: int) -> Put:
        """Return the row that has whatever the log holds from ``offset`` on get positions beyond those of all rows."""
        applied = self.applied(partition)
        position = 0 if applied is None else self.of(partition, applied.offset)
        # What was under way may have left rows a little beyond.
        base = max(position + POSITIONS_APART - offset, 0)
        return HEARTBEAT_KEY, encode_heartbeat(position + 1, base)

    def _base(self, partition: int) -> int:
        value = self._table.read(partition, HEARTBEAT_KEY)
        return 0 if value is None else heartbeat_base(value)

"""Positions of rows: they only grow, also with a log that begins again."""

from __future__ import annotations

from typing import Any

import pytest
from support.domain.story import PARTITION, MemoryTable

from cj_stream.engine.positions import Newest, Positions
from cj_stream.engine.rows import POSITIONS_APART, heartbeat_base, row_position


class Rows:
    """Positions in a table whose newest row is at ``newest``."""

    def __init__(self) -> None:
        self.newest = Newest()
        self.table = MemoryTable()
        table: Any = self.table
        self.positions = Positions(table, lambda _partition: self.newest)

    async def beat(self, offset: int) -> int:
        put = self.positions.heartbeat(PARTITION, offset)
        await self.table.write(None, PARTITION, [put])
        return row_position(put[1] or b"")


@pytest.fixture
def rows() -> Rows:
    return Rows()


def test_without_any_row_nothing_was_applied(rows: Rows) -> None:
    assert rows.positions.applied(PARTITION) is None
    assert rows.positions.of(PARTITION, 17) == 17


async def test_a_heartbeat_is_never_below_the_one_before(rows: Rows) -> None:
    assert [await rows.beat(9), await rows.beat(5), await rows.beat(10)] == [9, 9, 10]


async def test_the_newest_of_rows_and_heartbeat_tells_how_far_the_log_was_applied(rows: Rows) -> None:
    rows.newest = Newest(30, 1_000.0)
    await rows.beat(12)
    assert rows.positions.applied(PARTITION) == (30, 1_000.0)
    await rows.beat(31)
    assert rows.positions.applied(PARTITION) == (31, 1_000.0)


async def test_what_another_log_holds_gets_positions_beyond_all_rows(rows: Rows) -> None:
    rows.newest = Newest(500, 1_000.0)
    put = rows.positions.anew(PARTITION, 7)
    await rows.table.write(None, PARTITION, [put])
    assert heartbeat_base(put[1] or b"") == 500 + POSITIONS_APART - 7
    assert rows.positions.of(PARTITION, 7) == 500 + POSITIONS_APART
    again = rows.positions.anew(PARTITION, 0)
    assert row_position(again[1] or b"") > row_position(put[1] or b"")

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from cj_stream.engine.runs import PORTION_BYTES, RUN_BYTES, RUN_RECORDS, Record, Run, in_portions, runs_of


def fetched(offset: int, value: bytes | None = b"v", key: bytes | None = None) -> Any:
    """A record as aiokafka hands it out."""
    return SimpleNamespace(
        topic="events", partition=3, offset=offset, timestamp=1_500, key=key, value=value, headers=(("h", b"1"),)
    )


def record(offset: int, size: int) -> Record:
    return Record("events", 3, offset, 1.5, None, b"v" * size)


def test_a_run_has_the_records_in_order_with_their_own_offsets_and_times_in_seconds() -> None:
    (run,) = runs_of([fetched(7), fetched(9, None, b"key")])
    assert run[:4] == ("events", 3, 7, 9)
    assert run.behind == 10
    assert run.records == [
        Record("events", 3, 7, 1.5, None, b"v", (("h", b"1"),)),
        Record("events", 3, 9, 1.5, b"key", None, (("h", b"1"),)),
    ]


def test_what_is_fetched_is_cut_into_runs_of_a_bounded_number_of_records() -> None:
    runs = list(runs_of(fetched(offset) for offset in range(2 * RUN_RECORDS + 1)))
    assert [(run.first, run.last) for run in runs] == [(0, 499), (500, 999), (1000, 1000)]


def test_a_run_ends_with_the_record_that_makes_it_large() -> None:
    half = b"v" * (RUN_BYTES // 2)
    runs = list(runs_of([fetched(0, half), fetched(1, half), fetched(2, 5 * half), fetched(3)]))
    assert [(run.first, run.last) for run in runs] == [(0, 1), (2, 2), (3, 3)]


def test_nothing_is_no_run() -> None:
    assert list(runs_of([])) == []


async def test_the_loop_turns_between_the_portions_of_a_run() -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    records = [record(offset, PORTION_BYTES // 2) for offset in range(20)]
    assert [handled.offset async for handled in in_portions(records)] == list(range(20))
    counting.cancel()
    assert turns == 10


def test_a_run_of_records_knows_where_they_come_from() -> None:
    assert Run.of([record(4, 0), record(6, 0)])[:4] == ("events", 3, 4, 6)

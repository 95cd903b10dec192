"""How far a standby is behind while the worker that it stands by for stores callbacks as fast as it can.

Two workers and their broker. A backlog of callbacks waits for batches in all partitions; each worker serves half of the
partitions, and follows the changelog of the other half. So each stores at full speed and follows one that does.

Every 20 ms each worker tells what its copies have. Against the changelog, with the broker's time of each record, that
gives for each copy

- "records": those that are in the changelog and not in the copy, and
- "seconds": how long the oldest of them has been in the changelog.

Both from the first verdict that is stored to the last, over all copies and all times.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple

from aiokafka import ConsumerRecord
from callbacks import checked
from installation import Installation, installation
from kit import (
    BenchmarkError,
    Checkout,
    WorkerProcess,
    add_checkouts,
    in_turns,
    local_broker,
    parser,
    print_in_turns,
    until,
)
from waiting import Backlog, backlog

SLOWEST_PER_SECOND = 200
"""Workers that store fewer are given up."""
COLUMNS = [
    "rows/s, both",
    "records, median",
    "records, p99",
    "records, most",
    "seconds, median",
    "seconds, p99",
    "seconds, most",
]


class Figures(NamedTuple):
    """Rows per second that both workers stored, and how far their standbys were behind; see above."""

    rows: float
    records_median: float
    records_p99: float
    records_most: float
    seconds_median: float
    seconds_p99: float
    seconds_most: float


class Log:
    """The changelog of one partition: offsets, and when each record came, seconds since the epoch."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.times: list[float] = []

    def behind(self, at: float, offset: int) -> tuple[int, float]:
        """Return how many records a copy lacked that had read to ``offset``, and for how long the oldest was there."""
        had, there = bisect_right(self.offsets, offset), bisect_right(self.times, at)
        return (there - had, at - self.times[had]) if had < there else (0, 0.0)


async def run(bootstrap: str, folder: Path, waiting: Backlog, checkout: Checkout) -> Figures:
    """Measure on a fresh installation."""
    async with installation(bootstrap, folder) as stage:
        workers = [stage.worker("following_worker", checkout) for _ in range(2)]
        for number, worker in enumerate(workers):
            worker.environment["BENCH_POSITIONS"] = str(folder / f"positions-{number}")
        await waiting.lay_out(stage)
        for worker in workers:
            worker.start()
        await until(lambda: _all_served(stage, workers), "both workers serve partitions", workers)
        await waiting.put_on_the_topic(stage)
        patience = 60 + len(waiting.callbacks) / SLOWEST_PER_SECOND
        await until(lambda: _committed(stage), "the commit of all callbacks", workers, patience=patience)
        told = [line for number in range(2) for line in _told(folder / f"positions-{number}")]
        return evaluated(stage, await stage.changelog(), told)


async def _all_served(stage: Installation, workers: list[WorkerProcess]) -> bool:
    served = [await worker.open_partitions() for worker in workers]
    return all(served) and sum(map(len, served)) == stage.settings.partitions


async def _committed(stage: Installation) -> bool:
    return await stage.covered(await stage.committed())


def _told(path: Path) -> Iterator[tuple[float, dict[int, int]]]:
    """Yield what a worker has told, without copies of which it has read nothing."""
    *lines, _unfinished = path.read_text().split("\n")
    for at, offsets in map(json.loads, lines):
        yield at, {int(number): offset for number, offset in offsets.items() if offset is not None}


def evaluated(
    stage: Installation,
    changelog: list[ConsumerRecord[bytes, bytes]],
    told: Iterable[tuple[float, dict[int, int]]],
) -> Figures:
    """Return what the changelog and the standbys tell; raises `BenchmarkError` when a verdict is missing."""
    verdicts = checked(stage, changelog).values()
    first, last = min(verdicts), max(verdicts)
    logs: dict[int, Log] = {}
    for record in sorted(changelog, key=lambda record: record.offset):
        log = logs.setdefault(record.partition, Log())
        log.offsets.append(record.offset)
        # Of a record batch, or by two clocks: none came before the one in front of it.
        log.times.append(max(record.timestamp / 1000, log.times[-1] if log.times else 0.0))
    lags = [
        logs[number].behind(at, offset)
        for at, offsets in told
        if first <= at <= last
        for number, offset in offsets.items()
    ]
    if not lags:
        raise BenchmarkError("no standby has told anything while callbacks were stored")
    stored = sum(first <= at <= last for log in logs.values() for at in log.times)
    records, seconds = zip(*lags, strict=True)
    return Figures(stored / (last - first), *_spread(records), *_spread(seconds))


def _spread(values: tuple[float, ...]) -> tuple[float, float, float]:
    """Return the median, the 99th percentile and the maximum."""
    cuts = quantiles(values, n=100)
    return cuts[49], cuts[98], max(values)


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--batches", type=int, default=500, help="batches whose callbacks wait (default 500)")
    options.add_argument("--comparisons", type=int, default=200, help="of each, at most 250 (default 200)")
    add_checkouts(options)
    arguments = options.parse_args()
    waiting = backlog(arguments.batches, arguments.comparisons)
    with local_broker() as (bootstrap, folder):
        found = in_turns(
            {checkout.name: checkout for checkout in arguments.checkout},
            arguments.repeats,
            lambda checkout, name: asyncio.run(run(bootstrap, folder / f"lag-{name}", waiting, checkout)),
        )
    count = len(waiting.callbacks)
    print_in_turns(f"Two workers, {count:,} callbacks waiting ({arguments.repeats} runs)", COLUMNS, found)


if __name__ == "__main__":
    main()

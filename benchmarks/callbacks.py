"""How many callbacks per second one worker makes durable while it works off a backlog.

One worker and its broker. Batches whose comparisons are all accepted are in the table, all their callbacks lie on the
topic in random order, and then the worker is started on an empty folder. Time runs from the first callback in the log
of events (the broker's time), when the table is recovered, until

- "stored": every verdict is in the changelog of the table (the broker's time of the last one), and
- "committed": the offsets of all of it are committed too, so that effects may follow (asked every 50 ms).

Processor time is that of the worker and of the broker between the first callback and the last verdict. "Elsewhere" is
how many cores other programs took meanwhile: neither of the two, nor the benchmark. Batches have one iteration and wait
for every verdict; each is scored and published when it has its last one. At the end every comparison has the verdict
that was sent, in one row that was written once, and every batch has one result.

`--checkout ../before .` has the workers of two checkouts take turns, each on topics of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from aiokafka import ConsumerRecord
from installation import Installation, Offsets, covers, installation, winner
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
from processor import Moment
from waiting import Backlog, backlog

from cj_stream.contracts.event_log import decode_event
from cj_stream.domain.events import CallbackReceived
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.domain.records import Comparison, ComparisonStatus
from cj_stream.engine.messages import decode_message
from cj_stream.tables.codec import KINDS, decode_row, read_key

SLOWEST_PER_SECOND = 200
"""A worker that stores fewer is given up."""
COLUMNS = [
    "callbacks/s, stored",
    "callbacks/s, committed",
    "worker, us/callback",
    "broker, us/callback",
    "elsewhere, cores",
]

Place = tuple[str, int]
"""Batch id and number of a comparison."""


class Figures(NamedTuple):
    """Callbacks per second, processor time per callback in microseconds, and cores taken by others; see above."""

    stored: float
    committed: float
    worker: float
    broker: float
    elsewhere: float


class Sample(NamedTuple):
    """What the group had committed at a moment."""

    moment: Moment
    committed: Offsets


async def run(bootstrap: str, folder: Path, waiting: Backlog, checkout: Checkout) -> Figures:
    """Measure on a fresh installation."""
    async with installation(bootstrap, folder) as stage:
        return await worked_off(stage, stage.worker(checkout=checkout), waiting)


async def worked_off(stage: Installation, worker: WorkerProcess, waiting: Backlog) -> Figures:
    """Have a worker, not yet started, find a backlog, and measure."""
    await waiting.lay_out(stage)
    await waiting.put_on_the_topic(stage)
    worker.start()
    samples = await _until_committed(stage, worker, len(waiting.callbacks))
    figures = await _evaluated(stage, samples)
    await _until_told(stage, worker, len(waiting.batches))
    return figures


async def _until_committed(stage: Installation, worker: WorkerProcess, count: int) -> list[Sample]:
    broker = stage.broker_process
    samples: list[Sample] = []

    async def caught_up() -> bool:
        samples.append(Sample(Moment.now(worker.process.pid, broker), await stage.committed()))
        return await stage.covered(samples[-1].committed)

    patience = 60 + count / SLOWEST_PER_SECOND
    await until(caught_up, "the commit of all callbacks", [worker], patience=patience)
    return samples


async def _evaluated(stage: Installation, samples: list[Sample]) -> Figures:
    stored = checked(stage, await stage.changelog())
    events = await stage.read(stage.settings.batch_events_topic)
    carriers = [record for record in events if _carries_callbacks(record.value)]
    first, last = min(record.timestamp for record in carriers) / 1000, max(stored.values())
    lasts: Counter[int] = Counter()
    for record in carriers:
        lasts[record.partition] = max(lasts[record.partition], record.offset + 1)
    ends = {at: lasts[at.partition] for at in await stage.ends(stage.settings.batch_events_topic)}
    committed = next(sample for sample in samples if covers(sample.committed, ends))
    start = [sample.moment for sample in samples if sample.moment.at <= first][-1]
    end = next(sample.moment for sample in samples if sample.moment.at >= last)
    spent, count = end.since(start), len(stored)
    return Figures(
        count / (last - first),
        count / (committed.moment.at - first),
        spent.worker / count * 1e6,
        spent.broker / count * 1e6,
        spent.elsewhere(),
    )


def _carries_callbacks(value: bytes | None) -> bool:
    return any(isinstance(decode_event(data), CallbackReceived) for data in decode_message(value or b""))


def checked(stage: Installation, changelog: Iterable[ConsumerRecord[bytes, bytes]]) -> dict[Place, float]:
    """Return when each verdict came into the changelog, seconds since the epoch.

    Raises `BenchmarkError` when one that was sent is not there or is another one, or when one was stored twice.
    """
    wanted: dict[Place, str] = {place_of(stage, found): winner(found) for found in stage.answered}
    rows = list(verdicts(changelog))
    found = {place: given for place, given, _ in rows}
    wrong = [place for place, given in wanted.items() if found.get(place) != given]
    twice = [place for place, times in Counter(place for place, _, _ in rows).items() if times > 1]
    if wrong or twice or len(found) != len(wanted):
        raise BenchmarkError(
            f"of {len(wanted)} verdicts {len(found)} are stored, {len(wrong)} are missing or wrong ({wrong[:3]}), "
            f"{len(twice)} were stored more than once ({twice[:3]})"
        )
    return {place: at for place, _, at in rows}


def verdicts(changelog: Iterable[ConsumerRecord[bytes, bytes]]) -> Iterable[tuple[Place, str | None, float]]:
    """Yield each verdict in the changelog: its place, the winner, and when it was stored, seconds since the epoch."""
    for record in changelog:
        if record.key and record.value and record.key[:1] == KINDS[Comparison]:
            row = decode_row(record.key, record.value)
            if isinstance(row, Comparison) and row.status is ComparisonStatus.JUDGED:
                yield (read_key(record.key)[0], row.index), row.winner, record.timestamp / 1000


def place_of(stage: Installation, correlation_id: UUID) -> Place:
    """Return which comparison a correlation id stands for."""
    attempt = read_correlation_id(correlation_id)
    if attempt is None:
        raise BenchmarkError(f"the worker sent a correlation id that is not of its form: {correlation_id}")
    return stage.accepted[correlation_id]["bos_batch_id"], attempt.index


async def _until_told(stage: Installation, worker: WorkerProcess, batches: int) -> None:
    """Wait until every batch has its result; raises `BenchmarkError` when one has two."""
    topic = stage.settings.assessment_result_topic

    async def all_told() -> bool:
        return sum((await stage.ends(topic)).values()) >= batches

    await until(all_told, f"the results of {batches} batches", [worker], poll=0.5, patience=60 + batches)
    results = Counter(record.key for record in await stage.read(topic))
    if len(results) != batches or max(results.values()) > 1:
        raise BenchmarkError(f"{sum(results.values())} results for {len(results)} batches, of {batches}")


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--batches", type=int, default=1_000, help="batches whose callbacks wait (default 1000)")
    options.add_argument("--comparisons", type=int, default=200, help="of each, at most 250 (default 200)")
    add_checkouts(options)
    arguments = options.parse_args()
    waiting = backlog(arguments.batches, arguments.comparisons)
    with local_broker() as (bootstrap, folder):
        found = in_turns(
            {checkout.name: checkout for checkout in arguments.checkout},
            arguments.repeats,
            lambda checkout, name: asyncio.run(run(bootstrap, folder / f"callbacks-{name}", waiting, checkout)),
        )
    count = len(waiting.callbacks)
    print_in_turns(f"One worker, {count:,} callbacks waiting ({arguments.repeats} runs)", COLUMNS, found)


if __name__ == "__main__":
    main()

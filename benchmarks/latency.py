"""How long a callback takes until its verdict is durable, and how many comparisons a second the whole loop makes.

One worker and its broker. Latency goes from the callback's arrival on the topic to the row with its verdict in the
changelog of the table, both by the broker's clock.

- "spread": the comparisons of all batches are accepted, and their callbacks come evenly, so many a second.
- "loop": batches are asked for all at once, and the provider, which is in the process of the benchmark, accepts each
  comparison at once and answers it a moment later. "Comparisons/s" goes from the first request to the last verdict, so
  requests, plans, submissions, acceptances and callbacks are in it.

Processor time is that of the worker and of the broker meanwhile, for each callback. "Elsewhere" is how many cores other
programs took: neither of the two, nor the benchmark. At the end every comparison has the verdict that was sent, in one
row that was written once.

`--checkout ../before .` has the workers of two checkouts take turns, each on topics of its own.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from argparse import Namespace
from functools import partial
from math import ceil
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from callbacks import checked, place_of
from installation import Installation, installation
from kit import (
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
from waiting import backlog

TICK_SECONDS = 0.01
POLL_SECONDS = 0.5
COMPARISONS = 200
"""Of a batch whose callbacks come spread out."""
ANSWER_SECONDS = 0.1
"""How long the provider takes for an answer."""
LOOP_SLOWEST_PER_SECOND = 100
"""A worker that makes fewer is given up."""
COLUMNS = [
    "callbacks/s",
    "p50, ms",
    "p99, ms",
    "slowest, ms",
    "worker, us/callback",
    "broker, us/callback",
    "elsewhere, cores",
]


class Figures(NamedTuple):
    """Callbacks per second, their latency, processor time per callback, and cores taken by others; see above."""

    per_second: float
    p50: float
    p99: float
    slowest: float
    worker: float
    broker: float
    elsewhere: float


async def spread_out(bootstrap: str, folder: Path, options: Namespace, checkout: Checkout) -> Figures:
    """Measure with callbacks that come evenly."""
    count = int(options.rate * options.seconds)
    async with installation(bootstrap, folder) as stage:
        worker = stage.worker(checkout=checkout)
        waiting = backlog(ceil(count / COMPARISONS), COMPARISONS)
        await waiting.lay_out(stage)
        worker.start()
        await _served(stage, worker)
        start = Moment.now(worker.process.pid, stage.broker_process)
        await _come_evenly(stage, list(waiting.callbacks.items())[:count], options.rate)
        await _until_stored(stage, worker)
        return await _figures(stage, start, Moment.now(worker.process.pid, stage.broker_process))


async def _come_evenly(stage: Installation, callbacks: list[tuple[UUID, bytes]], rate: float) -> None:
    start, sent = time.monotonic(), 0
    while sent < len(callbacks):
        due = min(int((time.monotonic() - start + TICK_SECONDS) * rate), len(callbacks))
        for callback in callbacks[sent:due]:
            await stage.answer(*callback)
        sent = due
        await asyncio.sleep(TICK_SECONDS)


async def loop(bootstrap: str, folder: Path, options: Namespace, checkout: Checkout) -> Figures:
    """Measure with batches that are asked for all at once, and a provider that answers."""
    count = options.batches * options.essays * options.comparisons_per_essay // 2
    changes = {"max_iterations": 1, "comparisons_per_essay": options.comparisons_per_essay}
    async with installation(bootstrap, folder, **changes) as stage:
        worker = stage.worker(checkout=checkout)
        worker.start()
        await _served(stage, worker)
        stage.answers_after(ANSWER_SECONDS)
        start = Moment.now(worker.process.pid, stage.broker_process)
        await asyncio.gather(*(stage.request(f"batch-{number}", options.essays) for number in range(options.batches)))

        async def all_answered() -> bool:
            return bool(len(stage.answered) == count)

        patience = 60 + count / LOOP_SLOWEST_PER_SECOND
        await until(all_answered, f"{count} answered comparisons", [worker], poll=POLL_SECONDS, patience=patience)
        await _until_stored(stage, worker)
        return await _figures(stage, start, Moment.now(worker.process.pid, stage.broker_process))


async def _served(stage: Installation, worker: WorkerProcess) -> None:
    async def served() -> bool:
        return len(await worker.open_partitions()) == stage.settings.partitions

    await until(served, "the worker serves all partitions", [worker])


async def _until_stored(stage: Installation, worker: WorkerProcess) -> None:
    async def stored() -> bool:
        return await stage.covered(await stage.committed())

    await until(stored, "the commit of all callbacks", [worker], poll=POLL_SECONDS)


async def _figures(stage: Installation, start: Moment, end: Moment) -> Figures:
    stored = checked(stage, await stage.changelog())
    taken = [1000 * (stored[place_of(stage, found)] - at) for found, at in stage.answered.items()]
    percentiles = statistics.quantiles(taken, n=100, method="inclusive")
    spent, count = end.since(start), len(taken)
    return Figures(
        count / (max(stored.values()) - start.at),
        percentiles[49],
        percentiles[98],
        max(taken),
        spent.worker / count * 1e6,
        spent.broker / count * 1e6,
        spent.elsewhere(),
    )


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--rate", type=float, default=1_000, help="callbacks per second, spread out (default 1000)")
    options.add_argument("--seconds", type=float, default=20, help="of them (default 20)")
    options.add_argument("--batches", type=int, default=1_000, help="batches asked for at once (default 1000)")
    options.add_argument("--essays", type=int, default=20, help="of each, at most 50 (default 20)")
    options.add_argument("--comparisons-per-essay", type=int, default=4, help="of each (default 4)")
    options.add_argument("--only", choices=WAYS, nargs="+", default=list(WAYS), help="default: both")
    add_checkouts(options)
    arguments = options.parse_args()
    checkouts = {checkout.name: checkout for checkout in arguments.checkout}
    titles = {
        "spread": f"One worker, {arguments.rate:g} callbacks a second",
        "loop": f"One worker, {arguments.batches:,} batches of {arguments.essays} essays asked for at once",
    }
    with local_broker() as (bootstrap, folder):
        for way in arguments.only:
            found = in_turns(checkouts, arguments.repeats, partial(_run, way, bootstrap, folder, arguments))
            print_in_turns(f"{titles[way]} ({arguments.repeats} runs)", COLUMNS, found)


def _run(way: str, bootstrap: str, folder: Path, options: Namespace, checkout: Checkout, name: str) -> Figures:
    return asyncio.run(WAYS[way](bootstrap, folder / f"{way}-{name}", options, checkout))


WAYS = {"spread": spread_out, "loop": loop}


if __name__ == "__main__":
    main()

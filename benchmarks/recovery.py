"""How long a worker takes from its start until it serves all partitions, against the rows in its table.

One worker, eight partitions. The changelog is filled with the rows of batches of 30 essays and 225 comparisons, nearly
all with a verdict; one batch in ten is still running, as most of a table is finished batches that wait for the end of
their retention. The worker is started

- "empty": on no folder at all, as on another machine: everything is read from the changelog,
- "killed": on the folder of a worker that was killed, which is not trusted and rebuilt: the same,
- "clean": on the folder of a worker that was stopped in order: only what came later is read.

Time runs from the start of the process. "For its rows" is what an empty start takes longer than one without any rows:
that one is the process, the group and the opening. After each start every batch has to be there.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import statistics
import time
from argparse import Namespace
from math import ceil
from pathlib import Path
from typing import NamedTuple

import msgspec
from decider import callback, deliver, partition_of
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
from waiting import accepted_batch, rows_of, write_rows

from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Comparison, Control, Row
from cj_stream.domain.states import BatchState

ESSAYS = 30
COMPARISONS = 225
OPEN = 10
"""Comparisons of a batch without a verdict."""
RUNNING = 10
"""One batch in this many is running."""
POLL_SECONDS = 0.02


def rows_of_a_batch() -> tuple[list[Row], Control, Control]:
    """Return the details of a batch, and its control row while it runs and after its end."""
    now = time.time()
    policy = Policy(comparisons_per_essay=2 * COMPARISONS // ESSAYS, max_iterations=1)
    batch = accepted_batch("batch", ESSAYS, policy, now)
    ended = msgspec.structs.replace(batch.control, state=BatchState.CANCELLED, finished_at=now)
    told = msgspec.structs.replace(
        ended, published=tuple(outcome.name for outcome in unpublished(evolve(batch, [ended])))
    )
    return rows_of(evolve(batch, _judged(batch, now)))[:-1], batch.control, told


def _judged(batch: Batch, now: float) -> list[Comparison]:
    (change,) = deliver(partition_of(batch), [callback(batch, OPEN)], now)
    row = next(row for row in change.rows if isinstance(row, Comparison))
    return [msgspec.structs.replace(row, index=index) for index in range(OPEN, batch.total_comparisons)]


async def fill(stage: Installation, count: int) -> int:
    """Write batches with at least ``count`` rows to the changelog; return how many batches they are."""
    details, running, ended = rows_of_a_batch()
    batches = ceil(count / (len(details) + 1))
    chosen = ([*details, ended if number % RUNNING else running] for number in range(batches))
    await write_rows(stage, ((f"batch-{number}", rows) for number, rows in enumerate(chosen)))
    return batches


class Starts(NamedTuple):
    """Seconds from the start of the process until all partitions are served, see above."""

    empty: float
    killed: float
    clean: float
    cpu: float
    """The processor time that the worker used in the empty one."""


async def starts(stage: Installation, worker: WorkerProcess, batches: int) -> Starts:
    """Measure one start of each kind; the worker is stopped before and afterwards."""
    shutil.rmtree(worker.data_dir, ignore_errors=True)
    empty = await ready(stage, worker, batches)
    cpu = worker.cpu_seconds()
    worker.kill()
    killed = await ready(stage, worker, batches)
    await stopped(worker)
    clean = await ready(stage, worker, batches)
    await stopped(worker)
    return Starts(empty, killed, clean, cpu)


async def ready(stage: Installation, worker: WorkerProcess, batches: int) -> float:
    """Start the worker; return the seconds until it serves all partitions, and the batches in them."""

    async def serves() -> bool:
        return len(await worker.open_partitions()) == stage.settings.partitions

    start = time.monotonic()
    worker.start()
    await until(serves, "the worker serves all partitions", [worker], poll=POLL_SECONDS)
    taken = time.monotonic() - start
    listed = await worker.ask("/batches?limit=1")
    if listed is None or listed["total"] != batches:
        raise BenchmarkError(f"{batches} batches are in the changelog, the worker lists {listed}")
    return taken


async def stopped(worker: WorkerProcess) -> None:
    """Stop it in order: it leaves a folder that is trusted, and no member that a group would wait for."""
    worker.send(signal.SIGTERM)
    await worker.ended()


async def measured(bootstrap: str, folder: Path, rows: int, checkout: Checkout) -> Starts:
    """Return what the starts of a worker of this checkout take."""
    async with installation(bootstrap, folder) as stage:
        batches = await fill(stage, rows) if rows else 0
        return await starts(stage, stage.worker(checkout=checkout), batches)


def of_size(bootstrap: str, folder: Path, rows: int, options: Namespace) -> dict[str, list[Starts]]:
    """Return the starts of the workers of each checkout with a table of this size."""
    return in_turns(
        {checkout.name: checkout for checkout in options.checkout},
        options.repeats,
        lambda checkout, name: asyncio.run(measured(bootstrap, folder / f"rows-{rows}-{name}", rows, checkout)),
    )


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    sizes = [1_000, 10_000, 100_000, 300_000]
    options.add_argument("--rows", type=int, nargs="+", default=sizes, help="sizes besides an empty table")
    add_checkouts(options)
    arguments = options.parse_args()
    with local_broker() as (bootstrap, folder):
        sizes = [0, *arguments.rows]
        results = {size: of_size(bootstrap, folder, size, arguments) for size in sizes}
    nothing = {name: statistics.median(start.empty for start in found) for name, found in results[0].items()}
    for size, found in results.items():
        figures = {name: [(*start, start.empty - nothing[name]) for start in some] for name, some in found.items()}
        print_in_turns(
            f"Start of a worker until it serves all partitions, {size:,} rows, seconds ({arguments.repeats} runs)",
            ["empty", "killed", "clean", "empty, processor time", "empty, for its rows"],
            figures,
        )


if __name__ == "__main__":
    main()

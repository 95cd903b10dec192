"""How long a worker takes from its start until it serves all partitions, against the rows in its table.

One worker, eight partitions. The changelog is filled with the rows of batches of 30 essays and 225 comparisons, nearly
all with a verdict; one batch in ten is still running, as most of a table is finished batches that wait for the end of
their retention. The worker is started

- "empty": on no folder at all, as on another machine: everything is read from the changelog,
- "killed": on the folder of a worker that was killed, which is not trusted and rebuilt: the same,
- "clean": on the folder of a worker that was stopped in order: only what came later is read.

Time runs from the start of the process, so that most of a second or two is Python's. "Rows per second" is over what an
empty start takes longer than one without any rows.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from aiokafka import AIOKafkaProducer
from decider import accepted_batch, change_of
from installation import Installation, installation
from kit import WorkerProcess, local_broker, parser, print_table, spread, until

from cj_stream.contracts.topics import changelog_topic
from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.outcomes import unpublished
from cj_stream.domain.records import Comparison, Content, Control, Roster, Row
from cj_stream.domain.states import BatchState
from cj_stream.engine.partitioning import home_partition
from cj_stream.tables.codec import encode_row, row_key

ESSAYS = 30
OPEN = 10
"""Comparisons of a batch without a verdict."""
RUNNING = 10
"""One batch in this many is running."""
POLL_SECONDS = 0.02


def rows_of_a_batch() -> tuple[list[Row], Control, Control]:
    """Return the details of a batch, and its control row while it runs and after its end."""
    batch = accepted_batch(ESSAYS)
    now = time.time()
    control = msgspec.structs.replace(batch.control, created_at=now, activity_at=now, state_since=now)
    ended = msgspec.structs.replace(control, state=BatchState.CANCELLED, finished_at=now)
    told = msgspec.structs.replace(ended, published=tuple(unpublished(evolve(batch, [ended]))))
    content = Content(usable=tuple(range(ESSAYS)), unusable={})
    return [batch.roster, content, *batch.plans, *_comparisons(batch, now)], control, told


def _comparisons(batch: Batch, now: float) -> list[Comparison]:
    judged = change_of(batch, OPEN)
    rows = [judged if row.index >= OPEN else row for row in batch.comparisons]
    return [msgspec.structs.replace(row, index=index, submitted_at=now) for index, row in enumerate(rows)]


async def fill(stage: Installation, count: int) -> int:
    """Write at least ``count`` rows to the changelog; return how many they are."""
    details, running, ended = rows_of_a_batch()
    written = number = 0
    sent = []
    servers = stage.settings.kafka_bootstrap
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=20, max_batch_size=2**19) as producer:
        while written < count:
            rows = [*details, ended if number % RUNNING else running]
            for key, value, partition in encoded(f"batch-{number}", rows, stage.settings.partitions):
                sent.append(await producer.send(changelog_topic(stage.settings), value, key, partition))
            written += len(rows)
            number += 1
        await asyncio.gather(*sent)
    return written


def encoded(name: str, rows: Sequence[Row], partitions: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield the key, the value and the partition of each row of a batch of this name."""
    partition = home_partition(name, partitions)
    for row in rows:
        own = msgspec.structs.replace(row, batch_id=name) if isinstance(row, Roster) else row
        yield row_key(name, 1, row), encode_row(own, 0), partition


async def ready(stage: Installation, worker: WorkerProcess) -> float:
    """Start the worker; return the seconds until it serves all partitions."""

    async def serves() -> bool:
        return len(await worker.open_partitions()) == stage.settings.partitions

    start = time.monotonic()
    worker.start()
    await until(serves, "the worker serves all partitions", [worker], poll=POLL_SECONDS)
    return time.monotonic() - start


async def killed(worker: WorkerProcess) -> None:
    """Leave a folder that is not trusted."""
    worker.kill()


async def emptied(worker: WorkerProcess) -> None:
    """Leave no folder, and no member of the group: that a new one would have to wait for."""
    await stopped(worker)
    shutil.rmtree(worker.data_dir)


async def stopped(worker: WorkerProcess) -> None:
    """Leave a folder that is trusted."""
    worker.send(signal.SIGTERM)
    await worker.ended()


async def measured(bootstrap: str, folder: Path, count: int, repeats: int) -> tuple[int, dict[str, list[float]]]:
    """Return the number of rows, and the seconds of each kind of start."""
    async with installation(bootstrap, folder) as stage:
        rows = await fill(stage, count) if count else 0
        worker = stage.worker()
        await ready(stage, worker)
        found: dict[str, list[float]] = {}
        for name, leave in {"empty": emptied, "killed": killed, "clean": stopped}.items():
            found[name] = []
            for _ in range(repeats):
                await leave(worker)
                found[name].append(await ready(stage, worker))
        return rows, found


def table(results: list[tuple[int, dict[str, list[float]]]]) -> list[list[str]]:
    """Return the rows of the table; the first result is the one without rows."""
    nothing = statistics.median(results[0][1]["empty"])
    lines = []
    for count, found in results:
        rates = [count / (seconds - nothing) for seconds in found["empty"] if count and seconds > nothing]
        lines.append([f"{count:,}", *(spread(values) for values in found.values()), spread(rates) if rates else "-"])
    return lines


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    sizes = [1_000, 10_000, 100_000, 300_000]
    options.add_argument("--rows", type=int, nargs="+", default=sizes, help="sizes besides an empty table")
    arguments = options.parse_args()
    with local_broker() as (bootstrap, folder):
        results = [
            asyncio.run(measured(bootstrap, folder / f"rows-{count}", count, arguments.repeats))
            for count in (0, *arguments.rows)
        ]
    print_table(
        f"Start of a worker until it serves all partitions, seconds ({arguments.repeats} runs)",
        ["rows", "empty", "killed", "clean", "rows per second, empty"],
        table(results),
    )


if __name__ == "__main__":
    main()

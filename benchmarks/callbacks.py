"""How many callbacks per second one worker makes durable, and how long one callback takes.

A worker, a broker in a temporary folder, and a provider that accepts every comparison and never answers. When all
comparisons of all batches are accepted, the worker is stopped, all callbacks are put on the topic, and the worker is
started again. Time runs from the first callback in the log of events (the broker's time) until

- "stored": every verdict is in the changelog of the table (the broker's time of the last one), and
- "committed": the offsets of all of it are committed too, so that effects may follow (asked every 20 ms).

Then, the worker being idle, callbacks are sent one by one, and the time is taken from just before each is sent until
its verdict is in the changelog. Every run has topics and a worker of its own. Batches have one iteration and wait for
every verdict, so that there is little else to do meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from argparse import Namespace
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from installation import Installation, Offsets, covers, installation
from kit import BenchmarkError, WorkerProcess, local_broker, parser, print_table, spread, until

from cj_stream.domain.events import Callback
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.domain.records import Comparison, ComparisonStatus
from cj_stream.engine.messages import decode_event, decode_message
from cj_stream.tables.codec import KINDS, decode_row, read_key

COMPARISONS_PER_ESSAY = 4
Place = tuple[str, int]
"""Batch id and number of a comparison."""


class Sample(NamedTuple):
    """What the group had committed at a moment, and the processor time of the worker until then, seconds."""

    at: float
    cpu: float
    committed: Offsets


async def run(bootstrap: str, folder: Path, options: Namespace) -> tuple[float, ...]:
    """Measure on a fresh installation; return the figures of `throughput` and of `latency`."""
    changes = {"max_iterations": 1, "comparisons_per_essay": COMPARISONS_PER_ESSAY, "submission_workers": 64}
    async with installation(bootstrap, folder, **changes) as stage:
        worker = stage.worker()
        worker.start()
        waiting = await accepted(stage, worker, [f"batch-{i}" for i in range(options.batches)], options.essays)
        figures = await throughput(stage, worker, waiting)
        fresh = await accepted(stage, worker, [f"later-{i}" for i in range(8)], options.essays)
        return *figures, *await latency(stage, worker, fresh[: options.singles], options.rate)


async def accepted(stage: Installation, worker: WorkerProcess, batch_ids: list[str], essays: int) -> list[UUID]:
    """Request batches, wait until the provider has accepted all comparisons, and return their ids in random order."""
    before, wanted = set(stage.accepted), len(batch_ids) * (essays * COMPARISONS_PER_ESSAY // 2)
    for batch_id in batch_ids:
        await stage.request(batch_id, essays)

    async def all_accepted() -> bool:
        answer = await worker.ask("/batches?state=WAITING_CALLBACKS&limit=1000")
        return answer is not None and sum(line["in_flight_comparisons"] for line in answer["batches"]) == wanted

    await until(all_accepted, f"{wanted} accepted comparisons", [worker], poll=0.5)
    found = [correlation_id for correlation_id in stage.accepted if correlation_id not in before]
    random.Random(1).shuffle(found)
    return found


async def throughput(
    stage: Installation, worker: WorkerProcess, correlation_ids: list[UUID]
) -> tuple[float, float, float]:
    """Have a worker find all callbacks waiting.

    Return callbacks per second until stored and until committed, and the worker's processor time per callback,
    microseconds.
    """
    worker.send(signal.SIGTERM)
    await worker.ended()
    topics = (stage.settings.llm_provider_callback_topic, stage.settings.batch_events_topic)
    await asyncio.gather(*[await stage.producer.send(topics[0], stage.callback(found)) for found in correlation_ids])
    samples: list[Sample] = []

    async def caught_up() -> bool:
        samples.append(Sample(time.time(), worker.cpu_seconds(), await stage.committed()))
        return all([covers(samples[-1].committed, await stage.ends(topic)) for topic in topics])

    worker.start()
    await until(caught_up, "the commit of all callbacks", [worker], poll=0.02)
    return await _evaluated(stage, samples, len(correlation_ids))


async def _evaluated(stage: Installation, samples: list[Sample], count: int) -> tuple[float, float, float]:
    verdicts = await stored_verdicts(stage)
    if len(verdicts) != count:
        raise BenchmarkError(f"{count} callbacks were sent, but {len(verdicts)} verdicts are stored")
    events = await stage.read(stage.settings.batch_events_topic)
    carriers = [record for record in events if _carries_callbacks(record.value)]
    first = min(record.timestamp for record in carriers) / 1000
    ends = await stage.ends(stage.settings.batch_events_topic)
    lasts = {at: max((r.offset + 1 for r in carriers if r.partition == at.partition), default=0) for at in ends}
    start = [sample for sample in samples if sample.at <= first][-1]
    end = next(sample for sample in samples if covers(sample.committed, lasts))
    stored = max(verdicts.values())
    return count / (stored - first), count / (end.at - first), (end.cpu - start.cpu) / count * 1e6


def _carries_callbacks(value: bytes | None) -> bool:
    return any(isinstance(decode_event(data), Callback) for data in decode_message(value or b""))


async def stored_verdicts(stage: Installation) -> dict[Place, float]:
    """Return when each verdict came into the changelog, seconds since the epoch."""
    stored: dict[Place, float] = {}
    for record in await stage.changelog():
        if record.key and record.value and record.key[:1] == KINDS[Comparison]:
            row = decode_row(record.key, record.value)
            if isinstance(row, Comparison) and row.status is ComparisonStatus.JUDGED:
                stored.setdefault((read_key(record.key)[0], row.index), record.timestamp / 1000)
    return stored


async def latency(
    stage: Installation, worker: WorkerProcess, correlation_ids: list[UUID], per_second: float
) -> tuple[float, float, float]:
    """Send callbacks one by one; return how long they took to their records: p50, p99 and maximum, milliseconds."""
    sent: dict[Place, float] = {}
    for correlation_id in correlation_ids:
        value = stage.callback(correlation_id)
        at = sent[_place(stage, correlation_id)] = time.time()
        await stage.producer.send_and_wait(stage.settings.llm_provider_callback_topic, value)
        await asyncio.sleep(max(at + 1 / per_second - time.time(), 0))

    async def all_stored() -> bool:
        return sent.keys() <= (await stored_verdicts(stage)).keys()

    await until(all_stored, "the verdicts in the changelog", [worker], poll=0.5)
    stored = await stored_verdicts(stage)
    taken = [1000 * (stored[place] - at) for place, at in sent.items()]
    percentiles = statistics.quantiles(taken, n=100, method="inclusive")
    return percentiles[49], percentiles[98], max(taken)


def _place(stage: Installation, correlation_id: UUID) -> Place:
    attempt = read_correlation_id(correlation_id)
    if attempt is None:
        raise BenchmarkError(f"the worker sent a correlation id that is not of its form: {correlation_id}")
    return stage.accepted[correlation_id]["bos_batch_id"], attempt.index


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--batches", type=int, default=80, help="batches whose callbacks wait (default 80)")
    options.add_argument("--essays", type=int, default=40, help="essays of a batch, at most 50 (default 40)")
    options.add_argument("--singles", type=int, default=200, help="callbacks sent one by one (default 200)")
    options.add_argument("--rate", type=float, default=50, help="of these, per second (default 50)")
    arguments = options.parse_args()
    with local_broker() as (bootstrap, folder):
        runs = [asyncio.run(run(bootstrap, folder / f"run-{i}", arguments)) for i in range(arguments.repeats)]
    figures = [spread(found) for found in zip(*runs, strict=True)]
    count = arguments.batches * arguments.essays * COMPARISONS_PER_ESSAY // 2
    print_table(
        f"One worker, {count:,} callbacks waiting ({arguments.repeats} runs)",
        ["callbacks/s, stored", "callbacks/s, committed", "worker's processor time per callback, microseconds"],
        [figures[:3]],
    )
    print_table(
        f"One idle worker, {arguments.singles} callbacks at {arguments.rate:g}/s ({arguments.repeats} runs)",
        ["latency p50, ms", "latency p99, ms", "slowest, ms"],
        [figures[3:]],
    )


if __name__ == "__main__":
    main()

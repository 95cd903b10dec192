"""How long partitions stand still when one of two workers goes: killed or stopped, and started again or not.

Two workers share the partitions, and small batches are asked for on each partition all the time. What is measured is
seen by the provider: when submissions for a partition stop and when they come again. So everything is in it: the
session, the new distribution, the table's recovery, the opening marker, and the way of a request through the service.

- "its partitions work again": from the signal until each partition of the worker that went has a submission again.
- "the others stand still": the longest time without a submission on a partition of the worker that stayed.
- "process gone": from the signal to the end of the process.

Without any signal the longest pause is that of the first row. A worker that is started again is so at once, as by a
supervisor; "under another name" is what it would be without static membership. Runs alternate between the two workers.
"""

from __future__ import annotations

import asyncio
import signal
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from installation import Installation, installation
from kit import BenchmarkError, WorkerProcess, local_broker, parser, print_table, spread, until

from cj_stream.contracts.topics import registry
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.operations.settings import Settings
from cj_stream.streaming.partitioning import home_partition
from cj_stream.streaming.provisioning import create_topics

AFTERWARDS_SECONDS = 2.0
QUIET_SECONDS = 10.0


class Pauses(NamedTuple):
    """Seconds, see above; ``gone`` is nan where no process ended."""

    works_again: float
    others: float
    gone: float


class Pair:
    """The two workers, and the load that is on them."""

    def __init__(self, stage: Installation, rate: float) -> None:
        self.stage = stage
        self.workers = [stage.worker(), stage.worker()]
        self._interval = 1 / rate
        self._number = 0

    async def load(self) -> None:
        """Ask for a batch of two essays on each partition, again and again."""
        while True:
            start = time.monotonic()
            await asyncio.gather(*(self.stage.request(name, 2) for name in self._names()))
            await asyncio.sleep(max(0.0, start + self._interval - time.monotonic()))

    def _names(self) -> Collection[str]:
        names: dict[int, str] = {}
        while len(names) < self.stage.settings.partitions:
            self._number += 1
            name = f"batch-{self._number}"
            names[home_partition(name, self.stage.settings.partitions)] = name
        return names.values()

    async def shared(self) -> None:
        """Wait until both workers serve some of the partitions, and together all."""

        async def served() -> bool:
            counts = [len(await worker.open_partitions()) for worker in self.workers]
            return all(counts) and sum(counts) == self.stage.settings.partitions

        await until(served, "the workers share all partitions", self.workers)

    async def all_on(self, worker: WorkerProcess) -> None:
        """Wait until one worker serves all partitions."""

        async def has_all() -> bool:
            return len(await worker.open_partitions()) == self.stage.settings.partitions

        await until(has_all, "one worker serves all partitions", self.workers)

    async def flows(self) -> None:
        """Wait until every partition has had a submission from now on, and a little longer."""
        start = time.monotonic()

        async def everywhere() -> bool:
            return len({at for at, times in self.submissions(start).items() if times}) == self.stage.settings.partitions

        await until(everywhere, "every partition has a submission", self.workers)
        await asyncio.sleep(AFTERWARDS_SECONDS)

    def submissions(self, since: float) -> dict[int, list[float]]:
        """Return the times of the submissions by partition."""
        found: dict[int, list[float]] = {number: [] for number in range(self.stage.settings.partitions)}
        for at, correlation_id in self.stage.arrivals:
            attempt = read_correlation_id(correlation_id)
            if attempt is None:
                raise BenchmarkError(f"{correlation_id} is not one of ours")
            if at >= since:
                found[attempt.partition].append(at)
        return found


async def nothing(_pair: Pair, _victim: WorkerProcess, _survivor: WorkerProcess) -> None:
    """Leave everything as it is for a while."""
    await asyncio.sleep(QUIET_SECONDS)


async def killed(pair: Pair, victim: WorkerProcess, survivor: WorkerProcess) -> None:
    """Kill one."""
    victim.send(signal.SIGKILL)
    await pair.all_on(survivor)


async def killed_and_started(pair: Pair, victim: WorkerProcess, _survivor: WorkerProcess) -> None:
    """Kill one and start it again."""
    victim.kill()
    victim.start()
    await pair.shared()


async def killed_and_renamed(pair: Pair, victim: WorkerProcess, _survivor: WorkerProcess) -> None:
    """Kill one and start it again as one that the group does not know."""
    victim.kill()
    victim.forget_name()
    victim.start()
    await pair.shared()


async def stopped(pair: Pair, victim: WorkerProcess, survivor: WorkerProcess) -> None:
    """Stop one in order."""
    victim.send(signal.SIGTERM)
    await pair.all_on(survivor)


async def stopped_and_started(pair: Pair, victim: WorkerProcess, _survivor: WorkerProcess) -> None:
    """Stop one in order and start it again."""
    victim.send(signal.SIGTERM)
    await victim.ended()
    victim.start()
    await pair.shared()


WAYS: dict[str, Callable[[Pair, WorkerProcess, WorkerProcess], Awaitable[None]]] = {
    "nothing": nothing,
    "kill -9": killed,
    "kill -9, started again": killed_and_started,
    "kill -9, started again under another name": killed_and_renamed,
    "SIGTERM": stopped,
    "SIGTERM, started again": stopped_and_started,
}


async def pauses(pair: Pair, victim: WorkerProcess, survivor: WorkerProcess, way: str) -> Pauses:
    """Measure one, and have both workers again afterwards."""
    lost = set(await victim.open_partitions())
    start = time.monotonic()
    end = asyncio.create_task(_end_of(victim))
    await WAYS[way](pair, victim, survivor)
    await pair.flows()
    gaps = {number: _longest(times, start) for number, times in pair.submissions(start - 1).items()}
    gone = end.result() - start if end.done() else float("nan")
    end.cancel()
    if victim.has_ended():
        victim.start()
        await pair.shared()
        await pair.flows()
    works_again = max(after for number, (_, after) in gaps.items() if number in lost) - start
    return Pauses(works_again, max(after - at for number, (at, after) in gaps.items() if number not in lost), gone)


def _longest(times: Sequence[float], start: float) -> tuple[float, float]:
    """Return the two neighbours in ``times`` that are furthest apart and end after ``start``."""
    pairs = [(at, after) for at, after in pairwise(times) if after > start]
    return max(pairs, key=lambda pair: pair[1] - pair[0])


async def _end_of(worker: WorkerProcess) -> float:
    await asyncio.to_thread(worker.process.wait)
    return time.monotonic()


@asynccontextmanager
async def loaded_pair(bootstrap: str, folder: Path, session: float, rate: float) -> AsyncIterator[Pair]:
    """Run two workers under load, on an installation of their own."""
    settings = Settings(app_id=folder.name, assessment_request_topic=f"{folder.name}.{_REQUESTS}")
    requests = next(spec for spec in registry(settings) if spec.name == settings.assessment_request_topic)
    # As many as there are of the log: requests for a partition then come in where the partition is served.
    await create_topics(bootstrap, [replace(requests, partitions=settings.partitions)], 1)
    async with installation(bootstrap, folder, session_timeout_seconds=session) as stage:
        pair = Pair(stage, rate)
        for worker in pair.workers:
            worker.start()
        await pair.shared()
        load = asyncio.create_task(pair.load())
        try:
            await pair.flows()
            yield pair
        finally:
            load.cancel()


_REQUESTS = Settings.model_fields["assessment_request_topic"].default


async def measured(bootstrap: str, folder: Path, session: float, way: str, options: Namespace) -> list[str]:
    """Return a row of the table."""
    async with loaded_pair(bootstrap, folder, session, options.rate) as pair:
        found = []
        for number in range(options.repeats):
            victim, survivor = pair.workers if number % 2 else reversed(pair.workers)
            found.append(await pauses(pair, victim, survivor, way))
    gone = [one.gone for one in found]
    again, others = spread([one.works_again for one in found]), spread([one.others for one in found])
    nothing_went = way == "nothing"
    return [way, f"{session:g} s", "-" if nothing_went else again, others, "-" if nothing_went else spread(gone)]


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--sessions", type=float, nargs="+", default=[10, 6], help="session timeouts, seconds")
    options.add_argument("--rate", type=float, default=2.0, help="batches asked for per second and partition")
    options.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what to do to a worker")
    arguments = options.parse_args()
    rows = []
    with local_broker() as (bootstrap, folder):
        for session in arguments.sessions:
            for number, way in enumerate(arguments.ways):
                own = folder / f"session-{session:g}-{number}"
                rows.append(asyncio.run(measured(bootstrap, own, session, way, arguments)))
    print_table(
        f"Failover, two workers, seconds ({arguments.repeats} runs)",
        [
            "what happens to a worker",
            "session",
            "its partitions work again",
            "the others stand still",
            "process gone",
        ],
        rows,
    )


if __name__ == "__main__":
    main()

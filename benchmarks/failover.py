"""How long partitions stand still when one of two workers goes: killed or stopped, and started again or not.

Two workers share the partitions, and small batches are asked for on each partition all the time. What is measured is
seen by the provider: when submissions for a partition stop and when they come again. So everything is in it: the
session, the new distribution, the table's recovery, the opening marker, and the way of a request through the service.

- "its partitions": the longest time that one of the worker that goes has no submission, from the signal on.
- "the others": the longest time that a partition of the worker that stays has none.
- "stopped after": from SIGTERM to the end of the process.

Without any signal the longest pauses are those of the first row. A worker that is started again is so at once, as by a
supervisor; "under another name" is what it would be without static membership. `--checkout ../before .` has the workers
of two checkouts take turns.

``--rows`` fills the table beforehand, and ``--faust`` sets what the service does not offer, to see what it would be
worth: ``--rows 100000 --faust '{"table_standby_replicas": 1}'``, or ``'{"stream_recovery_delay": 3}'``.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from installation import Installation, installation
from kit import (
    BenchmarkError,
    Checkout,
    WorkerProcess,
    add_checkouts,
    in_turns,
    local_broker,
    parser,
    print_table,
    spread,
    until,
)
from recovery import fill

from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.engine.clients import Kafka
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import NAMES, Settings
from cj_stream.operations.topic_registry import registry

AFTERWARDS_SECONDS = 2.0
QUIET_SECONDS = 10.0


class Pauses(NamedTuple):
    """Seconds, see above; ``stopped`` is None where nothing was stopped."""

    lost: float
    others: float
    stopped: float | None


class Pair:
    """The two workers, and the load that is on them."""

    def __init__(self, stage: Installation, rate: float, checkout: Checkout) -> None:
        self.stage = stage
        self.workers = [stage.worker("altered_worker", checkout), stage.worker("altered_worker", checkout)]
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
    """Measure one."""
    lost = set(await victim.open_partitions())
    start = time.monotonic()
    end = asyncio.create_task(_end_of(victim.process))
    await WAYS[way](pair, victim, survivor)
    await pair.flows()
    gaps = {number: _longest_gap(times, start) for number, times in pair.submissions(start - 1).items()}
    stopped_at = await end if way.startswith("SIGTERM") else None
    end.cancel()
    return Pauses(
        max(gap for number, gap in gaps.items() if number in lost),
        max(gap for number, gap in gaps.items() if number not in lost),
        None if stopped_at is None else stopped_at - start,
    )


def _longest_gap(times: Sequence[float], start: float) -> float:
    return max(after - max(at, start) for at, after in pairwise(times) if after > start)


async def _end_of(process: subprocess.Popen[bytes]) -> float:
    await asyncio.to_thread(process.wait)
    return time.monotonic()


@asynccontextmanager
async def loaded_pair(
    bootstrap: str, folder: Path, session: float, options: Namespace, checkout: Checkout
) -> AsyncIterator[Pair]:
    """Run two workers under load, on an installation of their own."""
    settings = Settings(app_id=folder.name, assessment_request_topic=f"{folder.name}.{_REQUESTS}")
    requests = next(spec for spec in registry(settings) if spec.name == settings.assessment_request_topic)
    # As many as there are of the log: requests for a partition then come in where the partition is served.
    await create_topics(Kafka(bootstrap, NAMES), [replace(requests, partitions=settings.partitions)], 1)
    changes = {"session_timeout_seconds": session, "heartbeat_seconds": options.heartbeat}
    async with installation(bootstrap, folder, **changes) as stage:
        if options.rows:
            await fill(stage, options.rows)
        pair = Pair(stage, options.rate, checkout)
        for worker in pair.workers:
            worker.environment["BENCH_FAUST"] = options.faust
            worker.start()
        await pair.shared()
        load = asyncio.create_task(pair.load())
        try:
            await pair.flows()
            yield pair
        finally:
            load.cancel()


_REQUESTS = Settings.model_fields["assessment_request_topic"].default


@dataclass(frozen=True)
class Case:
    """What happens to a worker, with which session timeout in seconds."""

    session: float
    way: str


async def measured(bootstrap: str, folder: Path, case: Case, options: Namespace, checkout: Checkout) -> Pauses:
    """Measure one case once, on an installation of its own."""
    async with loaded_pair(bootstrap, folder, case.session, options, checkout) as pair:
        victim, survivor = pair.workers
        return await pauses(pair, victim, survivor, case.way)


def rows_of(case: Case, found: Mapping[str, Sequence[Pauses]]) -> Iterator[list[str]]:
    """Yield the rows of the table, one for each checkout."""
    for name, some in found.items():
        ends = [one.stopped for one in some if one.stopped is not None]
        figures = [spread([one.lost for one in some]), spread([one.others for one in some])]
        yield [name, case.way, f"{case.session:g} s", *figures, spread(ends) if ends else "-"]


def main() -> None:
    """Measure and print."""
    options = parser(__doc__, repeats=3)
    options.add_argument("--sessions", type=float, nargs="+", default=[10, 6], help="session timeouts, seconds")
    heartbeat = Settings.model_fields["heartbeat_seconds"].default
    options.add_argument("--heartbeat", type=float, default=heartbeat, help=f"their interval (default {heartbeat:g} s)")
    options.add_argument("--rate", type=float, default=2.0, help="batches asked for per second and partition")
    options.add_argument("--rows", type=int, default=0, help="rows in the table when the workers start (default 0)")
    options.add_argument("--faust", default="{}", help="settings of Faust as JSON, see above")
    options.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), help="what to do to a worker")
    add_checkouts(options)
    arguments = options.parse_args()
    cases = [Case(session, way) for session in arguments.sessions for way in arguments.ways]
    checkouts = {checkout.name: checkout for checkout in arguments.checkout}
    rows: list[list[str]] = []
    with local_broker() as (bootstrap, folder):
        for number, case in enumerate(cases):
            found = in_turns(
                checkouts, arguments.repeats, partial(_run, bootstrap, folder / f"case-{number}", case, arguments)
            )
            rows += rows_of(case, found)
    print_table(
        f"Partitions stand still, two workers, seconds ({arguments.repeats} runs, heartbeat {arguments.heartbeat:g} s, "
        f"{arguments.rows:,} rows, {arguments.faust})",
        ["worker", "what happens to it", "session", "its partitions", "the others", "stopped after"],
        rows,
    )


def _run(bootstrap: str, folder: Path, case: Case, options: Namespace, checkout: Checkout, name: str) -> Pauses:
    place = folder.with_name(f"{folder.name}-{name}")
    return asyncio.run(measured(bootstrap, place, case, options, checkout))


if __name__ == "__main__":
    main()

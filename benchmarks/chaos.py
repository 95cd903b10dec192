"""Stock against hardened: the same random chaos against both, on a real Apache Kafka.

Three workers, batches of two iterations that are asked for all the time, and a provider that answers within a second or
so. A seed makes a plan of faults: SIGKILL (started again on the folder it had, or replaced by a worker with an empty
one), SIGTERM and a start, SIGSTOP for up to one and a half sessions, a worker that joins and leaves again. The plan is
the same for every kind of worker. When it is over, and what can end has ended, all workers are killed and one with an
empty folder takes over: what was on a disk only is missed then. "Standstill" is the longest time without a new row.

A longer run: `--seeds 20 --seconds 120`.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from account import Account, account, settled
from kit import local_broker, parser, print_table
from scene import PARTITIONS, SESSION_SECONDS, AlteredWorker, Scene, scene
from stock import HARDENED, STOCK

WORKERS = 3
ESSAYS = 16
KINDS = {"kill and start again": 3, "kill and replace": 2, "stop and start again": 2, "freeze": 3, "join and leave": 1}
SECONDS_BETWEEN = (2.0, 5.0)
SECONDS_PER_BATCH = 2.0
DOWN_SECONDS = 1.0
TAKEOVER_SECONDS = 60.0
"""What the last worker gets to serve everything; one that hangs does not."""


@dataclass(frozen=True)
class Fault:
    """What befalls the worker in one of the places, when, and for how long."""

    at: float
    kind: str
    place: int
    seconds: float


def plan(seed: int, seconds: float) -> list[Fault]:
    """Return the faults of a seed, in order; a place suffers one at a time."""
    rng = random.Random(seed)
    busy_until = [0.0] * WORKERS
    faults, at = [], 0.0
    while (at := at + rng.uniform(*SECONDS_BETWEEN)) < seconds:
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        lasting = rng.uniform(1.0, 1.5 * SESSION_SECONDS) if kind in {"freeze", "join and leave"} else DOWN_SECONDS
        places = [place for place in range(WORKERS) if busy_until[place] < at]
        if places:
            place = rng.choice(places)
            busy_until[place] = at + lasting + SESSION_SECONDS
            faults.append(Fault(at, kind, place, lasting))
    return faults


class Chaos:
    """Carries out a plan on the workers of a scene."""

    def __init__(self, stage: Scene, workers: Sequence[AlteredWorker]) -> None:
        self._stage = stage
        self._workers = list(workers)

    async def run(self, faults: Sequence[Fault]) -> None:
        """Let all faults happen at their times; return when the last one is over."""
        async with asyncio.TaskGroup() as running:
            for fault in faults:
                running.create_task(self._happen(fault))

    async def _happen(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        worker = self._workers[fault.place]
        match fault.kind:
            case "freeze":
                worker.send(signal.SIGSTOP)
                await asyncio.sleep(fault.seconds)
                worker.send(signal.SIGCONT)
            case "join and leave":
                guest = self._stage.worker()
                guest.start()
                await asyncio.sleep(fault.seconds)
                await guest.stop()
            case "stop and start again":
                await worker.stop()
                await self._back(fault, worker)
            case "kill and start again":
                worker.kill()
                await self._back(fault, worker)
            case _:
                worker.kill()
                self._workers[fault.place] = self._stage.worker()
                await self._back(fault, self._workers[fault.place])

    @staticmethod
    async def _back(fault: Fault, worker: AlteredWorker) -> None:
        await asyncio.sleep(fault.seconds)
        worker.start()


async def suffered(
    bootstrap: str, folder: Path, without: tuple[str, ...], seed: int, seconds: float
) -> tuple[Account, float]:
    """Run one plan; return what it cost, and the longest standstill in seconds."""
    faults = plan(seed, seconds)
    async with scene(bootstrap, folder, without, latency=0.5, max_iterations=2) as stage:
        workers = await stage.started(WORKERS)
        await stage.ask(essays=ESSAYS)
        asking = asyncio.create_task(_ask(stage, int(seconds / SECONDS_PER_BATCH)))
        await Chaos(stage, workers).run(faults)
        await asking
        await settled(stage)
        standstill = _standstill(stage)
        stage.provider.holds = lambda _: True
        for worker in stage.workers:
            worker.kill()
        stage.worker().start()
        await stage.within(TAKEOVER_SECONDS, stage.is_served)
        await settled(stage)
        return await account(stage, stage.began), standstill


async def _ask(stage: Scene, count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(SECONDS_PER_BATCH)
        await stage.ask(count=1, essays=ESSAYS)


def _standstill(stage: Scene) -> float:
    records = stage.mailbox.records[stage.settings.changelog_topic]
    times = sorted(record.timestamp / 1000 for record in records)
    return float(max(after - before for before, after in pairwise(times)))


def main() -> None:
    """Run and print."""
    options = parser(__doc__, repeats=1)
    options.add_argument("--seeds", type=int, default=1, help="plans (default 1)")
    options.add_argument("--from", type=int, default=1, dest="first", help="first seed (default 1)")
    options.add_argument("--seconds", type=float, default=40, help="length of a plan, seconds (default 40)")
    options.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = options.parse_args()
    found = []
    with local_broker() as (bootstrap, folder):
        for seed in range(arguments.first, arguments.first + arguments.seeds):
            for name, without in (("hardened", HARDENED), ("stock", STOCK)):
                for repeat in range(arguments.repeats):
                    place = folder / f"chaos-{seed}-{name}-{repeat}"
                    result = asyncio.run(suffered(bootstrap, place, without, seed, arguments.seconds))
                    found.append((seed, len(plan(seed, arguments.seconds)), name, *result))
                    print(f"seed {seed}, {name}: {result}", file=sys.stderr, flush=True)
    if arguments.json:
        names = ("seed", "faults", "worker", "standstill")
        print(json.dumps([dict(zip(names, (*row[:3], row[4]), strict=True)) | row[3]._asdict() for row in found]))
        return
    rows = [
        [str(seed), str(faults), name, *map(str, result[:6]), f"{standstill:.1f}", str(result.restarts)]
        for seed, faults, name, result, standstill in found
    ]
    header = [
        "seed",
        "faults",
        "worker",
        "verdicts lost",
        "submitted again",
        "cut off",
        "told again",
        "batches open",
        "wrong",
        "standstill, s",
    ]
    batches = PARTITIONS + int(arguments.seconds / SECONDS_PER_BATCH)
    title = f"Random chaos, {WORKERS} workers, {batches} batches of {ESSAYS} texts, {arguments.seconds:g} s"
    print_table(title, [*header, "ended themselves"], rows)


if __name__ == "__main__":
    main()

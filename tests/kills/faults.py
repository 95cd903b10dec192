"""What can happen to workers and to the broker."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kills.trial import Fault, Trial, Wrong, empty
from support.installation.fleet import SAFE_EXIT, WorkerProcess

__all__ = ["Fault", "Freeze", "KeptThenEmpty", "Kill", "KillInRebalance", "Outage", "Scale", "Stop"]


@dataclass(frozen=True)
class Kill:
    """A worker dies and is started again, on its kept directory or on an empty one.

    It dies at a passage of a point of its code, or for None when it comes: a tenth of a second later per passage.
    ``taken_over``: it is started again when the others serve its partitions, else at once.
    """

    worker: int
    point: str | None
    passage: int = 1
    keeps_disk: bool = True
    taken_over: bool = False

    async def happen(self, trial: Trial) -> None:
        worker = trial.worker(self.worker)
        if self.point is None:
            await asyncio.sleep(self.passage / 10)
            kill(trial, worker)
        else:
            await trial.killed_at(worker, self.point, self.passage)
        if not self.keeps_disk:
            empty(worker)
        if self.taken_over:
            await trial.serving()
        trial.start(worker)
        await trial.serving()


@dataclass(frozen=True)
class KillInRebalance:
    """A worker is killed, and another one dies when it takes over; or the same one dies as it comes back.

    The latter with the point "recovering" is a kill during recovery: its store is not trusted any more.
    """

    first: int
    second: int
    point: str
    passage: int = 1
    keeps_disk: bool = True

    async def happen(self, trial: Trial) -> None:
        first, second = trial.worker(self.first), trial.worker(self.second)
        kill(trial, first)
        if not self.keeps_disk:
            empty(first)
        trial.order(second, self.point, self.passage)
        if first is second:
            first.start(may_end=True)
        await trial.until(lambda: not second.runs, f"{second.name} passes {self.point!r}")
        trial.confirm(second, self.point)
        for worker in {first, second}:
            trial.start(worker)
        await trial.serving()


@dataclass(frozen=True)
class KeptThenEmpty:
    """A worker that is alone dies between put and acknowledgement, goes on with its disk, and then loses the disk.

    Before that it was stopped in order: what its disk was trusted for then must be over.
    """

    worker: int
    point: str
    passage: int = 1

    async def happen(self, trial: Trial) -> None:
        victim = trial.worker(self.worker)
        others = [worker for worker in trial.supervised if worker is not victim]
        for worker in (*others, victim):
            await trial.stop(worker)
        trial.start(victim)
        await trial.serving()
        await trial.killed_at(victim, self.point, self.passage)
        trial.start(victim)
        await trial.serving()
        await trial.go_on(5)
        kill(trial, victim)
        empty(victim)
        for worker in (victim, *others):
            trial.start(worker)
        await trial.serving()


@dataclass(frozen=True)
class Freeze:
    """A worker is stopped (SIGSTOP) for longer than its session, and continued when others have its partitions."""

    worker: int

    async def happen(self, trial: Trial) -> None:
        worker = trial.worker(self.worker)
        trial.dismiss(worker)
        worker.send(signal.SIGSTOP)
        trial.history.note("frozen", worker=worker.name)
        await trial.serving()
        await trial.go_on(3)
        worker.send(signal.SIGCONT)
        await trial.until(lambda: not worker.runs, f"{worker.name}, whose partitions are lost, ends itself")
        trial.ends.append((worker.name, worker.exit_code))
        trial.history.note("continued and ended", worker=worker.name, code=worker.exit_code)
        if worker.exit_code != SAFE_EXIT:
            raise Wrong(f"{worker.name} ended with {worker.exit_code}\n{worker.tail(40)}")
        trial.start(worker)
        await trial.serving()


@dataclass(frozen=True)
class Stop:
    """A worker is stopped in order (SIGTERM) and started again; with a point, it dies there before it has stopped."""

    worker: int
    point: str | None = None

    async def happen(self, trial: Trial) -> None:
        worker = trial.worker(self.worker)
        if self.point is None:
            await trial.stop(worker)
        else:
            trial.order(worker, self.point, 1)
            worker.terminate()
            await trial.until(lambda: not worker.runs, f"{worker.name} passes {self.point!r}")
            trial.confirm(worker, self.point)
        trial.start(worker)
        await trial.serving()


@dataclass(frozen=True)
class Scale:
    """Workers are started, or stopped in order, until there are so many."""

    workers: int

    async def happen(self, trial: Trial) -> None:
        running = sorted(trial.supervised, key=lambda worker: worker.name)
        for worker in running[self.workers :]:
            await trial.stop(worker)
        for number in range(1, self.workers + 1):
            if trial.worker(number) not in trial.supervised:
                trial.start(trial.worker(number))
        await trial.serving()


@dataclass(frozen=True)
class Outage:
    """The broker goes away and comes back. ``how``: "stop" in order, "kill", or "pause" (nothing answers)."""

    seconds: float
    how: str = "stop"

    async def happen(self, trial: Trial) -> None:
        kafka, start = trial.kafka, time.monotonic()
        before = {worker: _effort(worker) for worker in trial.supervised}
        ways: dict[str, Callable[[], object]] = {"stop": kafka.stop, "kill": kafka.kill, "pause": kafka.pause}
        await asyncio.to_thread(ways[self.how])
        trial.history.note("broker away", how=self.how)
        try:
            await trial.until(lambda: _nobody_ready(trial), "no worker says that it is ready")
            trial.history.note("nobody is ready", after=round(time.monotonic() - start, 1))
            await asyncio.sleep(max(0.0, start + self.seconds - time.monotonic()))
            for worker, effort in before.items():
                _check_effort(trial, worker, effort, time.monotonic() - start)
        finally:
            await asyncio.to_thread(kafka.start)
        trial.history.note("broker back", away=round(time.monotonic() - start, 1))
        await trial.serving()


async def _nobody_ready(trial: Trial) -> bool:
    return not any([await trial.stage.fleet.partitions(worker) for worker in list(trial.supervised)])


def kill(trial: Trial, worker: WorkerProcess) -> None:
    """Kill a worker from outside, wherever it is."""
    trial.dismiss(worker)
    worker.kill()
    trial.ends.append((worker.name, worker.exit_code))
    trial.history.note("killed", worker=worker.name)


LINES_OF_A_START, LINES_PER_SECOND = 60, 1.0
SECONDS_OF_A_START, LOAD = 5.0, 0.3
"""What a worker may log, and what it may take of a processor, while there is no broker."""
Effort = tuple[int, int, float]
"""Lines logged, process number, and processor seconds taken by it."""


def _effort(worker: WorkerProcess) -> Effort:
    lines = worker.log.count("\n")
    if not worker.runs:
        return lines, 0, 0.0
    fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
    return lines, worker.pid, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _check_effort(trial: Trial, worker: WorkerProcess, before: Effort, away: float) -> None:
    """Nobody fills its log or spins while there is no broker."""
    lines, pid, seconds = _effort(worker)
    logged, spent = lines - before[0], seconds - before[2] if pid == before[1] else seconds
    trial.history.note("away", worker=worker.name, lines=logged, cpu_seconds=round(spent, 2), seconds=round(away, 1))
    if logged > LINES_OF_A_START + LINES_PER_SECOND * away:
        trial.broken.append(f"{worker.name} logged {logged} lines in {away:.0f} s without a broker")
    if spent > SECONDS_OF_A_START + LOAD * away:
        trial.broken.append(f"{worker.name} took {spent:.1f} s of a processor in {away:.0f} s without a broker")

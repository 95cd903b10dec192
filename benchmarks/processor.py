"""Who uses the processor: a worker, its broker, the benchmark, and whatever else runs on the machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process, user and system, or nan where the system does not tell (not Linux)."""
    if not Path("/proc/self/stat").exists():
        return float("nan")
    # The name of the command stands in brackets and may hold spaces; what follows is well formed.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def machine_seconds() -> float:
    """Return the processor time of all processes, with what others took of a virtual machine; nan if not Linux."""
    if not Path("/proc/stat").exists():
        return float("nan")
    user, nice, system, _idle, _waiting, *others = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")


class Moment(NamedTuple):
    """A moment, seconds since the epoch, and the processor time that was used until then, seconds."""

    at: float
    worker: float
    broker: float
    benchmark: float
    machine: float

    @classmethod
    def now(cls, worker: int, broker: int) -> Moment:
        """Return this moment, for the process numbers of a worker and of its broker."""
        used = (cpu_seconds(worker), cpu_seconds(broker), cpu_seconds(os.getpid()), machine_seconds())
        return cls(time.time(), *used)

    def since(self, earlier: Moment) -> Moment:
        """Return what has passed since an earlier moment."""
        return Moment(*(now - then for now, then in zip(self, earlier, strict=True)))

    def elsewhere(self) -> float:
        """Return how many cores other programs took in the time that has passed."""
        return max(self.machine - self.worker - self.broker - self.benchmark, 0.0) / self.at

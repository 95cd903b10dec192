"""Effects in hand: each is started once, and is let go when the report of it was applied and committed.

Found by their batch, and those whose report is in the log by their partition: a commit looks at nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cj_stream.domain.todo import Effect

Key = tuple[str, int]


@dataclass(eq=False)
class Job:
    """An effect in hand. ``offset`` is where its report lies in the log, once the broker has it."""

    effect: Effect
    key: Key
    partition: int
    task: asyncio.Task[None] | None = None
    offset: int | None = None


class InHand:
    """The effects that were started and whose reports are not yet applied and committed."""

    def __init__(self) -> None:
        self._of: dict[Key, dict[Effect, Job]] = {}
        self._reported: dict[int, list[Job]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def __iter__(self) -> Iterator[Job]:
        return (job for jobs in self._of.values() for job in jobs.values())

    def of(self, key: Key) -> Mapping[Effect, Job]:
        """Return what is in hand of a batch."""
        return self._of.get(key, {})

    def take(self, effect: Effect, key: Key, partition: int) -> Job:
        """Take an effect of a batch in hand."""
        job = self._of.setdefault(key, {})[effect] = Job(effect, key, partition)
        return job

    def reported(self, job: Job, offset: int) -> None:
        """Note where the report of a job lies in the log of its partition."""
        job.offset = offset
        self._reported.setdefault(job.partition, []).append(job)

    def applied(self, partition: int, position: int) -> list[Job]:
        """Let go of what was reported before ``position`` of a partition, and return it."""
        reported = self._reported.pop(partition, [])
        waiting = [job for job in reported if job.offset is not None and job.offset >= position]
        if waiting:
            self._reported[partition] = waiting
        kept = set(waiting)
        return [job for job in reported if job not in kept and self.let_go(job)]

    def let_go(self, job: Job) -> bool:
        """Let go of a job; return whether it was in hand."""
        jobs = self._of.get(job.key, {})
        if jobs.get(job.effect) is not job:
            return False
        del jobs[job.effect]
        if not jobs:
            del self._of[job.key]
        return True

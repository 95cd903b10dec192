"""Effects in hand: each is started once, and is let go when the report of it was applied and committed.

Found by their subject, and those whose report is in the log by their partition: a commit looks at nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic

from cj_stream.engine.work import EffectT


@dataclass(eq=False)
class Job(Generic[EffectT]):
    """An effect in hand. ``offset`` is where its report lies in the log, once the broker has it."""

    effect: EffectT
    key: Hashable
    partition: int
    task: asyncio.Task[None] | None = None
    offset: int | None = None


class InHand(Generic[EffectT]):
    """The effects that were started and whose reports are not yet applied and committed."""

    def __init__(self) -> None:
        self._of: dict[Hashable, dict[EffectT, Job[EffectT]]] = {}
        self._reported: dict[int, list[Job[EffectT]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def __iter__(self) -> Iterator[Job[EffectT]]:
        return (job for jobs in self._of.values() for job in jobs.values())

    def of(self, key: Hashable) -> Mapping[EffectT, Job[EffectT]]:
        """Return what is in hand of a subject."""
        return self._of.get(key, {})

    def take(self, effect: EffectT, key: Hashable, partition: int) -> Job[EffectT]:
        """Take an effect of a subject in hand."""
        job = self._of.setdefault(key, {})[effect] = Job(effect, key, partition)
        return job

    def reported(self, job: Job[EffectT], offset: int) -> None:
        """Note where the report of a job lies in the log of its partition."""
        job.offset = offset
        self._reported.setdefault(job.partition, []).append(job)

    def applied(self, partition: int, position: int) -> list[Job[EffectT]]:
        """Let go of what was reported before ``position`` of a partition, and return it."""
        reported = self._reported.pop(partition, [])
        waiting = [job for job in reported if job.offset is not None and job.offset >= position]
        if waiting:
            self._reported[partition] = waiting
        kept = set(waiting)
        return [job for job in reported if job not in kept and self.let_go(job)]

    def let_go(self, job: Job[EffectT]) -> bool:
        """Let go of a job; return whether it was in hand."""
        jobs = self._of.get(job.key, {})
        if jobs.get(job.effect) is not job:
            return False
        del jobs[job.effect]
        if not jobs:
            del self._of[job.key]
        return True

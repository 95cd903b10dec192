"""What the engine asks of jobs: what is to be done for them, and when something is due."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.windows import Due
from cj_stream.engine.work import Work
from cj_stream.gateway import deciding
from cj_stream.gateway.job_home import Subject
from cj_stream.gateway.job_rows import BATCH, Key
from cj_stream.gateway.jobs import AnyEvent, CancelledBatch, Effect, Job, TimeIsOver, next_due, todo
from cj_stream.gateway.lines import Lines

log = structlog.get_logger(__name__)


class JobWork(Work[Subject, Effect]):
    """The effects of jobs. Whose turn it is to call is up to the lines."""

    def todo(self, subject: Subject) -> Sequence[Effect]:
        """Return what is to be done for a job."""
        return todo(subject.row) if isinstance(subject.row, Job) else ()


class JobDispatcher(Dispatcher[Subject, Effect, AnyEvent]):
    """Tells the lines what need not wait any longer."""

    def __init__(self, *parts: Any) -> None:
        *own, lines = parts
        super().__init__(*own)
        self._lines: Lines = lines

    def committed(self, partition: int, position: int, subjects: Iterable[Subject]) -> None:
        """Take over subjects as they are after a commit."""
        taken = list(subjects)
        for subject in taken:
            if subject.row is None or (isinstance(subject.row, Job) and _needs_no_call(subject.row)):
                self._lines.give_up_job(subject.key[1])
        super().committed(partition, position, taken)

    async def drop(self, partitions: Iterable[int], patience: float) -> int:
        """Let go of partitions: what waits for a turn waits no longer, what is under way is waited for; see there."""
        gone = set(partitions)
        self._lines.give_up_partitions(gone)
        return await super().drop(gone, patience)


class JobDeadlines:
    """The deadlines of jobs and of cancelled batches."""

    def next_due(self, subject: Subject, _opened_at: float) -> float | None:
        """Return when a job is to be answered or forgotten, or a batch forgotten."""
        if isinstance(subject.row, CancelledBatch):
            return subject.row.until
        return None if subject.row is None else next_due(subject.row)

    def watched(self, subject: Subject) -> Key:
        """Return the key: there is no more to keep."""
        return subject.key

    def is_last(self, _watched: Key) -> bool:
        """Return that it may fall due again."""
        return False

    def event(self, due: Due[Key]) -> AnyEvent:
        """Return the event for the log."""
        kind, name = due.watched
        return TimeIsOver(kind=deciding.BATCH if kind == BATCH else deciding.JOB, name=name, at=due.at)

    async def emitted(self, _due: Due[Key]) -> None:
        """Say nothing: the end of a job's row is no news."""


def _needs_no_call(job: Job) -> bool:
    return job.answer is not None or job.cancelled

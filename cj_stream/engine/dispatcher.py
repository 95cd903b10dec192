"""The dispatcher: carries out what subjects have to do, outside every agent, each piece of work once at a time.

It knows each live subject as of the last commit. An effect taken in hand stays there until its report has been applied
and committed, so it is not started twice; one that got lost on the way is then still in `todo` and is started again.
What a subject has to start changes only with it and with what is in hand of it: it is looked at after either, and
`todo` is asked of no other one. Effects of a class that has a pool share it, fair over the subjects, in portions.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterable, Iterator
from itertools import islice
from typing import Generic, TypeVar

import structlog

from cj_stream.engine.in_hand import InHand, Job
from cj_stream.engine.process import ends_process
from cj_stream.engine.work import EffectT, Pool, SubjectT, Work

log = structlog.get_logger(__name__)

EventT = TypeVar("EventT")
Execute = Callable[[EffectT, SubjectT, int], Awaitable[EventT]]
"""Carries out an effect of a subject that lives in a partition, and returns the event that reports it."""
Report = Callable[[int, EventT], Awaitable[int]]
"""Sends an event to a partition of the log and returns its offset, once the broker has it."""


class PostponedError(Exception):
    """The effect cannot be carried out now and left no trace; it is to be tried again after ``seconds``."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


class Dispatcher(Generic[SubjectT, EffectT, EventT]):
    """Starts the effects of committed subjects and reports what came of them."""

    def __init__(
        self,
        work: Work[SubjectT, EffectT],
        execute: Execute[EffectT, SubjectT, EventT],
        report: Report[EventT],
    ) -> None:
        self._work = work
        self._execute = execute
        self._report = report
        self._subjects: dict[Hashable, tuple[int, SubjectT]] = {}
        self._in_hand = InHand[EffectT]()
        self._changed: dict[Hashable, None] = {}
        """Subjects not looked at since they, or what is in hand of them, changed: they may have something to start."""
        self._pooled = 0
        """Effects of the pool under way."""
        self._closed = False
        self._turns: OrderedDict[Hashable, None] = OrderedDict()
        self._resting: set[Hashable] = set()
        self.postponed: dict[Hashable, str] = {}
        """Subjects whose work waits for somebody else, and why: for the operator."""
        self._postponed_by: dict[Hashable, EffectT] = {}

    def committed(self, partition: int, position: int, subjects: Iterable[SubjectT]) -> None:
        """Take over subjects as they are after the commit of everything before ``position``."""
        for job in self._in_hand.applied(partition, position):
            self._changed[job.key] = None
        for subject in subjects:
            if self._work.is_done(subject):
                self._forget(subject.key)
            else:
                self._subjects[subject.key] = (partition, subject)
                self._changed[subject.key] = None
        self._start()

    async def drop(self, partitions: Iterable[int], patience: float) -> int:
        """Let go of partitions: start nothing more for them, and wait ``patience`` seconds for what is under way.

        Return how many effects were cut off then: whether they took place is not known, and they are started again.
        """
        gone, late = set(partitions), set[asyncio.Task[None]]()
        for key in [key for key, (partition, _) in self._subjects.items() if partition in gone]:
            self._forget(key)
        jobs = [job for job in self._in_hand if job.partition in gone]
        running = [job.task for job in jobs if job.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()
        for job in jobs:
            self._in_hand.let_go(job)
        return len(late)

    async def close(self, patience: float) -> int:
        """Start nothing more, and wait ``patience`` seconds for what is under way; return how many were cut off."""
        self._closed = True
        return await self.drop({job.partition for job in self._in_hand}, patience)

    def tick(self) -> None:
        """Start again what got lost on the way: what is still to be done and no longer in hand."""
        self._start()

    @property
    def in_hand(self) -> int:
        """Effects started whose reports are not yet applied and committed."""
        return len(self._in_hand)

    def _forget(self, key: Hashable) -> None:
        self._subjects.pop(key, None)
        self._no_longer_postponed(key)

    def _no_longer_postponed(self, key: Hashable) -> None:
        self.postponed.pop(key, None)
        self._postponed_by.pop(key, None)

    def _start(self) -> None:
        """Start what the subjects that changed have to do; what is of the pool when it is their turn."""
        for key in list(self._changed):
            if not self._closed and key in self._subjects and key not in self._resting:
                self._start_subject(key)
            del self._changed[key]
        self._pump()

    def _start_subject(self, key: Hashable) -> None:
        partition, subject = self._subjects[key]
        in_hand, pool = self._in_hand.of(key), self._work.pool
        for effect in self._work.todo(subject):
            if effect not in in_hand:
                self._run(effect, partition, subject)
        if pool is not None and any(effect not in in_hand for effect in pool.todo(subject)):
            self._turns.setdefault(key)

    def _pump(self) -> None:
        pool = self._work.pool
        while pool is not None and self._turns and self._pooled < pool.size and not self._closed:
            key, _ = self._turns.popitem(last=False)
            if key in self._subjects and key not in self._resting and self._take_turn(pool, key):
                self._turns[key] = None

    def _take_turn(self, pool: Pool[SubjectT, EffectT], key: Hashable) -> bool:
        """Start one portion of a subject's effects of the pool; return whether it has more."""
        partition, subject = self._subjects[key]
        portion = min(pool.portion(subject), pool.size - self._pooled)
        # One more than is started tells whether there is more.
        waiting = list(islice(self._waiting(pool, subject), portion + 1))
        for effect in waiting[:portion]:
            self._pooled += 1
            self._run(effect, partition, subject)
        return len(waiting) > portion

    def _waiting(self, pool: Pool[SubjectT, EffectT], subject: SubjectT) -> Iterator[EffectT]:
        """Iterate over the effects of the pool to be started now, within the subject's limit."""
        in_hand, cap = self._in_hand.of(subject.key), pool.cap(subject)
        waiting = (effect for effect in pool.todo(subject) if effect not in in_hand)
        if cap is None:
            return waiting
        # One that is left out because of the limit may be in hand already: that counts all the same.
        started = sum(pool.takes(effect) and self._work.still_wanted(subject, effect) for effect in in_hand)
        return islice(waiting, max(cap - started, 0))

    def _is_pooled(self, effect: EffectT) -> bool:
        return self._work.pool is not None and self._work.pool.takes(effect)

    def _run(self, effect: EffectT, partition: int, subject: SubjectT) -> None:
        job = self._in_hand.take(effect, subject.key, partition)
        job.task = asyncio.get_running_loop().create_task(self._carry_out(job, subject))
        job.task.add_done_callback(lambda task: self._finished(job, task))

    async def _carry_out(self, job: Job[EffectT], subject: SubjectT) -> None:
        event = await self._execute(job.effect, subject, job.partition)
        self._in_hand.reported(job, await self._report(job.partition, event))

    @ends_process("what follows an effect failed")
    def _finished(self, job: Job[EffectT], task: asyncio.Task[None]) -> None:
        job.task = None
        effect, key = job.effect, job.key
        if self._is_pooled(effect):
            self._pooled -= 1
        error = None if task.cancelled() else task.exception()
        if (task.cancelled() or error is not None) and self._in_hand.let_go(job):
            self._changed[key] = None
        if error is not None:
            self._rest(key, effect, error)
        elif not task.cancelled() and self._clears(key, effect):
            self._no_longer_postponed(key)
        self._pump()

    def _clears(self, key: Hashable, effect: EffectT) -> bool:
        return key in self._postponed_by and self._work.clears(effect, self._postponed_by[key])

    def _rest(self, key: Hashable, effect: EffectT, error: BaseException) -> None:
        # Anything unforeseen rests too, so that it can neither spin nor stop the other subjects.
        seconds = error.seconds if isinstance(error, PostponedError) else 30.0
        if not isinstance(error, PostponedError):
            log.error("effect failed", effect=repr(effect), exc_info=error)
        if key in self._subjects:
            self.postponed[key] = str(error) or repr(error)
            self._postponed_by[key] = effect
            self._resting.add(key)
            asyncio.get_running_loop().call_later(seconds, self._wake, key)

    @ends_process("the effects of a subject were not taken up again")
    def _wake(self, key: Hashable) -> None:
        self._resting.discard(key)
        effect = self._postponed_by.get(key)
        if effect is not None and not self._work.still_wanted(self._subjects[key][1], effect):
            self._no_longer_postponed(key)
        self._changed[key] = None
        self._start()

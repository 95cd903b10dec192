"""The dispatcher: carries out what batches have to do, outside every agent, each piece of work once at a time.

It knows each live batch as of the last commit. An effect taken in hand stays there until its report has been applied
and committed, so it is not started twice; one that got lost on the way is then still in `todo` and is started again.
What a batch has to start changes only with the batch and with what is in hand of it: a batch is looked at after either,
and `todo` is asked of no other one.
Submissions share a bounded pool and are fair over the batches, in portions of one matching (n/2 pairs).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from itertools import islice

import structlog

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Event
from cj_stream.domain.todo import (
    Effect,
    Publish,
    Submit,
    duties,
    is_done,
    still_wanted,
    submissions,
    submissions_allowed,
)
from cj_stream.engine.in_hand import InHand, Job, Key
from cj_stream.engine.process import ends_process

log = structlog.get_logger(__name__)

Execute = Callable[[Effect, Batch, int], Awaitable[Event]]
"""Carries out an effect of a batch that lives in a partition, and returns the event that reports it."""
Report = Callable[[int, Event], Awaitable[int]]
"""Sends an event to a partition of the log and returns its offset, once the broker has it."""


class PostponedError(Exception):
    """The effect cannot be carried out now and left no trace; it is to be tried again after ``seconds``."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


class Dispatcher:
    """Starts the effects of committed batches and reports what came of them."""

    def __init__(self, execute: Execute, report: Report, submission_workers: int) -> None:
        self._execute = execute
        self._report = report
        self._workers = submission_workers
        self._batches: dict[Key, tuple[int, Batch]] = {}
        self._in_hand = InHand()
        self._changed: dict[Key, None] = {}
        """Batches not looked at since they, or what is in hand of them, changed: they may have something to start."""
        self._submitting = 0
        self._closed = False
        self._turns: OrderedDict[Key, None] = OrderedDict()
        self._resting: set[Key] = set()
        self.postponed: dict[Key, str] = {}
        """Batches whose work waits for somebody else, and why: for the operator."""
        self._postponed_by: dict[Key, Effect] = {}

    def committed(self, partition: int, position: int, batches: Iterable[Batch]) -> None:
        """Take over batches as they are after the commit of everything before ``position``."""
        for job in self._in_hand.applied(partition, position):
            self._changed[job.key] = None
        for batch in batches:
            if is_done(batch):
                self._forget(batch.key)
            else:
                self._batches[batch.key] = (partition, batch)
                self._changed[batch.key] = None
        self._start()

    async def drop(self, partitions: Iterable[int], patience: float) -> None:
        """Let go of partitions: start nothing more for them, and wait ``patience`` seconds for what is under way."""
        gone = set(partitions)
        for key in [key for key, (partition, _) in self._batches.items() if partition in gone]:
            self._forget(key)
        jobs = [job for job in self._in_hand if job.partition in gone]
        running = [job.task for job in jobs if job.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()
        for job in jobs:
            self._in_hand.let_go(job)

    async def close(self, patience: float) -> None:
        """Start nothing more, and wait ``patience`` seconds for what is under way."""
        self._closed = True
        await self.drop({job.partition for job in self._in_hand}, patience)

    def tick(self) -> None:
        """Start again what got lost on the way: what is still to be done and no longer in hand."""
        self._start()

    @property
    def in_hand(self) -> int:
        """Effects started whose reports are not yet applied and committed."""
        return len(self._in_hand)

    def _forget(self, key: Key) -> None:
        self._batches.pop(key, None)
        self._no_longer_postponed(key)

    def _no_longer_postponed(self, key: Key) -> None:
        self.postponed.pop(key, None)
        self._postponed_by.pop(key, None)

    def _start(self) -> None:
        """Start what the batches that changed have to do; their submissions when it is their turn."""
        for key in list(self._changed):
            if not self._closed and key in self._batches and key not in self._resting:
                self._start_batch(key)
            del self._changed[key]
        self._pump()

    def _start_batch(self, key: Key) -> None:
        partition, batch = self._batches[key]
        in_hand = self._in_hand.of(key)
        for effect in duties(batch):
            if effect not in in_hand:
                self._run(effect, partition, batch)
        if any(effect not in in_hand for effect in submissions(batch)):
            self._turns.setdefault(key)

    def _pump(self) -> None:
        while self._turns and self._submitting < self._workers and not self._closed:
            key, _ = self._turns.popitem(last=False)
            if key in self._batches and key not in self._resting and self._take_turn(key):
                self._turns[key] = None

    def _take_turn(self, key: Key) -> bool:
        """Start one portion of a batch's submissions; return whether it has more."""
        partition, batch = self._batches[key]
        portion = min(max(len(batch.usable) // 2, 1), self._workers - self._submitting)
        # One more than is started tells whether there is more.
        waiting = list(islice(self._submissions(batch), portion + 1))
        for effect in waiting[:portion]:
            self._submitting += 1
            self._run(effect, partition, batch)
        return len(waiting) > portion

    def _submissions(self, batch: Batch) -> Iterator[Submit]:
        """Iterate over the submissions to be started now, within the batch's limit."""
        in_hand, allowed = self._in_hand.of(batch.key), submissions_allowed(batch)
        waiting = (effect for effect in submissions(batch) if effect not in in_hand)
        if allowed >= len(batch.progress.planned):
            return waiting
        # A retry may take the place of what is in hand already: that counts all the same.
        started = sum(isinstance(effect, Submit) and still_wanted(batch, effect) for effect in in_hand)
        return islice(waiting, max(allowed - started, 0))

    def _run(self, effect: Effect, partition: int, batch: Batch) -> None:
        job = self._in_hand.take(effect, batch.key, partition)
        job.task = asyncio.get_running_loop().create_task(self._carry_out(job, batch))
        job.task.add_done_callback(lambda task: self._finished(job, task))

    async def _carry_out(self, job: Job, batch: Batch) -> None:
        event = await self._execute(job.effect, batch, job.partition)
        self._in_hand.reported(job, await self._report(job.partition, event))

    @ends_process("what follows an effect failed")
    def _finished(self, job: Job, task: asyncio.Task[None]) -> None:
        job.task = None
        effect, key = job.effect, job.key
        if isinstance(effect, Submit):
            self._submitting -= 1
        error = None if task.cancelled() else task.exception()
        if (task.cancelled() or error is not None) and self._in_hand.let_go(job):
            self._changed[key] = None
        if error is not None:
            self._rest(key, effect, error)
        elif not task.cancelled() and _clears(effect, self._postponed_by.get(key)):
            self._no_longer_postponed(key)
        self._pump()

    def _rest(self, key: Key, effect: Effect, error: BaseException) -> None:
        # Anything unforeseen rests too, so that it can neither spin nor stop the other batches.
        seconds = error.seconds if isinstance(error, PostponedError) else 30.0
        if not isinstance(error, PostponedError):
            log.error("effect failed", effect=repr(effect), exc_info=error)
        if key in self._batches:
            self.postponed[key] = str(error) or repr(error)
            self._postponed_by[key] = effect
            self._resting.add(key)
            asyncio.get_running_loop().call_later(seconds, self._wake, key)

    @ends_process("the effects of a batch were not taken up again")
    def _wake(self, key: Key) -> None:
        self._resting.discard(key)
        effect = self._postponed_by.get(key)
        if effect is not None and not still_wanted(self._batches[key][1], effect):
            self._no_longer_postponed(key)
        self._changed[key] = None
        self._start()


def _clears(effect: Effect, postponed: Effect | None) -> bool:
    """Return whether the success of ``effect`` says that what kept ``postponed`` back is gone."""
    # Each outcome has a topic of its own; of submissions any one tells that the provider takes them again.
    return effect == postponed or (type(effect) is type(postponed) and not isinstance(effect, Publish))

"""The dispatcher: carries out what batches have to do, outside every agent, each piece of work once at a time.

It knows each live batch as of the last commit. An effect taken in hand stays there until its report has been applied
and committed, so it is not started twice; one that got lost on the way is then still in `todo` and is started again.
Submissions share a bounded pool and are fair over the batches, in portions of one matching (n/2 pairs).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Event
from cj_stream.domain.todo import Effect, Publish, Submit, is_done, still_wanted, todo
from cj_stream.engine.process import ends_process

log = structlog.get_logger(__name__)

Key = tuple[str, int]
Execute = Callable[[Effect, Batch, int], Awaitable[Event]]
"""Carries out an effect of a batch that lives in a partition, and returns the event that reports it."""
Report = Callable[[int, Event], Awaitable[int]]
"""Sends an event to a partition of the log and returns its offset, once the broker has it."""


class PostponedError(Exception):
    """The effect cannot be carried out now and left no trace; it is to be tried again after ``seconds``."""

    def __init__(self, why: str, seconds: float) -> None:
        super().__init__(why)
        self.seconds = seconds


@dataclass
class _Job:
    """An effect in hand. ``offset`` is where its report lies in the log, once the broker has it."""

    partition: int
    task: asyncio.Task[None] | None = None
    offset: int | None = None


class Dispatcher:
    """Starts the effects of committed batches and reports what came of them."""

    def __init__(self, execute: Execute, report: Report, submission_workers: int) -> None:
        self._execute = execute
        self._report = report
        self._workers = submission_workers
        self._batches: dict[Key, tuple[int, Batch]] = {}
        self._in_hand: dict[Effect, _Job] = {}
        self._submitting = 0
        self._closed = False
        self._turns: deque[Key] = deque()
        self._resting: set[Key] = set()
        self.postponed: dict[Key, str] = {}
        """Batches whose work waits for somebody else, and why: for the operator."""
        self._postponed_by: dict[Key, Effect] = {}

    def committed(self, partition: int, position: int, batches: Iterable[Batch]) -> None:
        """Take over batches as they are after the commit of everything before ``position``."""
        applied = [
            effect
            for effect, job in self._in_hand.items()
            if job.partition == partition and job.offset is not None and job.offset < position
        ]
        keys = dict.fromkeys((effect.batch_id, effect.run) for effect in applied)
        for effect in applied:
            del self._in_hand[effect]
        for batch in batches:
            if is_done(batch):
                self._forget(batch.key)
            else:
                self._batches[batch.key] = (partition, batch)
                keys[batch.key] = None
        self._start(*keys)

    async def drop(self, partitions: Iterable[int], patience: float) -> None:
        """Let go of partitions: start nothing more for them, and wait ``patience`` seconds for what is under way."""
        gone = set(partitions)
        for key in [key for key, (partition, _) in self._batches.items() if partition in gone]:
            self._forget(key)
        jobs = {effect: job for effect, job in self._in_hand.items() if job.partition in gone}
        running = [job.task for job in jobs.values() if job.task is not None]
        if running:
            _, late = await asyncio.wait(running, timeout=patience)
            for task in late:
                task.cancel()
        for effect in jobs:
            self._in_hand.pop(effect, None)

    async def close(self, patience: float) -> None:
        """Start nothing more, and wait ``patience`` seconds for what is under way."""
        self._closed = True
        await self.drop({job.partition for job in self._in_hand.values()}, patience)

    def tick(self) -> None:
        """Start whatever is still to be done and not in hand."""
        self._start(*self._batches)

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

    def _start(self, *keys: Key) -> None:
        """Start what these batches have to do; their submissions when it is their turn."""
        for key in keys:
            if not self._closed and key in self._batches and key not in self._resting:
                self._start_batch(key)
        self._pump()

    def _start_batch(self, key: Key) -> None:
        partition, batch = self._batches[key]
        waiting = [effect for effect in todo(batch) if effect not in self._in_hand]
        for effect in waiting:
            if not isinstance(effect, Submit):
                self._run(effect, partition, batch)
        if any(isinstance(effect, Submit) for effect in waiting) and key not in self._turns:
            self._turns.append(key)

    def _pump(self) -> None:
        while self._turns and self._submitting < self._workers and not self._closed:
            key = self._turns.popleft()
            if key in self._batches and key not in self._resting and self._take_turn(key):
                self._turns.append(key)

    def _take_turn(self, key: Key) -> bool:
        """Start one portion of a batch's submissions; return whether it has more."""
        partition, batch = self._batches[key]
        waiting = self._submissions(batch)
        portion = min(max(len(batch.usable) // 2, 1), self._workers - self._submitting)
        for effect in waiting[:portion]:
            self._submitting += 1
            self._run(effect, partition, batch)
        return len(waiting) > portion

    def _submissions(self, batch: Batch) -> list[Submit]:
        """Return the submissions to be started now, within the batch's limit."""
        submits = [effect for effect in todo(batch) if isinstance(effect, Submit)]
        waiting = [effect for effect in submits if effect not in self._in_hand]
        if len(submits) == len(batch.progress.planned):
            return waiting
        # A retry may take the place of what is in hand already: that counts all the same.
        in_hand = [effect for effect in self._in_hand if (effect.batch_id, effect.run) == batch.key]
        started = sum(isinstance(effect, Submit) and still_wanted(batch, effect) for effect in in_hand)
        return waiting[: max(len(submits) - started, 0)]

    def _run(self, effect: Effect, partition: int, batch: Batch) -> None:
        job = _Job(partition)
        self._in_hand[effect] = job
        job.task = asyncio.get_running_loop().create_task(self._carry_out(effect, job, batch))
        job.task.add_done_callback(lambda task: self._finished(effect, job, task))

    async def _carry_out(self, effect: Effect, job: _Job, batch: Batch) -> None:
        event = await self._execute(effect, batch, job.partition)
        job.offset = await self._report(job.partition, event)

    @ends_process("what follows an effect failed")
    def _finished(self, effect: Effect, job: _Job, task: asyncio.Task[None]) -> None:
        job.task = None
        if isinstance(effect, Submit):
            self._submitting -= 1
        key = (effect.batch_id, effect.run)
        error = None if task.cancelled() else task.exception()
        if (task.cancelled() or error is not None) and self._in_hand.get(effect) is job:
            del self._in_hand[effect]
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
        self._start(key)


def _clears(effect: Effect, postponed: Effect | None) -> bool:
    """Return whether the success of ``effect`` says that what kept ``postponed`` back is gone."""
    # Each outcome has a topic of its own; of submissions any one tells that the provider takes them again.
    return effect == postponed or (type(effect) is type(postponed) and not isinstance(effect, Publish))

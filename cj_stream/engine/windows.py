"""Windows of time: when one closes, an event goes into the log for each subject that is due in it.

A wheel of windows per open partition, in memory, rebuilt whenever a partition opens. Nothing is written: the event
goes into the subject's own log, where its home decides from the state, and a subject that moved meanwhile is left
alone. Before anything is emitted, all input that existed when the window closed has been read, whichever worker reads
it: else a deadline would overtake the answer that kept it.

Tests: ``test_windows.py``, ``test_timeouts.py``; the mutation "timeouts do not wait for unread callbacks" in
``tests/simulation``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

import structlog

from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.lag import Read
from cj_stream.engine.process import ends_process
from cj_stream.engine.wheel import Key, Wheel
from cj_stream.engine.work import Keyed

log = structlog.get_logger(__name__)

AT_ONCE = 1_000
"""Subjects that wait to be asked when they fall due, and are asked without a pause."""

SubjectT = TypeVar("SubjectT", bound=Keyed)
SubjectT_contra = TypeVar("SubjectT_contra", bound=Keyed, contravariant=True)
WatchedT = TypeVar("WatchedT")
EventT = TypeVar("EventT")
EventT_co = TypeVar("EventT_co", covariant=True)


class Due(NamedTuple, Generic[WatchedT]):
    """A subject that is due: its key, what is kept of it, its deadline, and since when its partition is open.

    Times are in seconds since the epoch. ``unread`` names what may lie unread all the same.
    """

    partition: int
    key: Key
    watched: WatchedT
    at: float
    opened_at: float
    now: float
    unread: tuple[str, ...] = ()


class Deadlines(Protocol[SubjectT_contra, WatchedT, EventT_co]):
    """The deadlines of an app's subjects."""

    def next_due(self, subject: SubjectT_contra, opened_at: float) -> float | None:
        """Return when the subject falls due next, None for never."""

    def watched(self, subject: SubjectT_contra) -> WatchedT:
        """Return what is to be kept of a subject that waits: little, it may wait for days."""

    def is_last(self, watched: WatchedT) -> bool:
        """Return whether nothing falls due any more behind this deadline."""

    def event(self, due: Due[WatchedT]) -> EventT_co:
        """Return the event for the log."""

    async def emitted(self, due: Due[WatchedT]) -> None:
        """Tell whom it concerns, now that the event is in the log."""


class Windows(Generic[SubjectT, WatchedT, EventT]):
    """Closes the windows, of ``width`` seconds, of the open partitions of this worker.

    ``read`` says whether all input has been read; ``told`` is told how many subjects are due, each time.
    """

    def __init__(
        self,
        width: float,
        deadlines: Deadlines[SubjectT, WatchedT, EventT],
        opener: Opener,
        forwarder: Forwarder[EventT],
        read: Callable[[], Awaitable[Read]],
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._width = width
        self._deadlines = deadlines
        self._opener = opener
        self._forwarder = forwarder
        self._read = read
        self._told = told
        self._wheels: dict[int, Wheel] = {}
        self._watched: dict[Key, WatchedT] = {}
        self._changed: dict[int, dict[Key, SubjectT]] = {}
        """Subjects as they are now, by partition, that were not asked since when they fall due."""

    def watch(self, partition: int, subjects: Iterable[SubjectT]) -> None:
        """Take over these subjects as they are now. Until windows are closed nobody asks when they fall due."""
        changed = self._changed.setdefault(partition, {})
        changed.update((subject.key, subject) for subject in subjects)
        if len(changed) >= AT_ONCE:
            self._ask(partition)

    @ends_process("it could not be told when a subject falls due")
    def _ask(self, partition: int, *keys: Key) -> None:
        """Note when the subjects that changed fall due next: those with these keys, or all of a partition."""
        wheel = self._wheels.setdefault(partition, Wheel(self._width))
        opened_at = self._opener.opened_at.get(partition, 0.0)
        changed = self._changed.get(partition, {})
        for subject in [changed.pop(key) for key in keys or list(changed) if key in changed]:
            due = self._deadlines.next_due(subject, opened_at)
            if due is None:
                wheel.remove(subject.key)
                self._watched.pop(subject.key, None)
            else:
                wheel.put(subject.key, due)
                self._watched[subject.key] = self._deadlines.watched(subject)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget partitions that are no longer ours."""
        for partition in partitions:
            self._changed.pop(partition, None)
            wheel = self._wheels.pop(partition, None)
            for key in wheel.keys() if wheel else ():
                self._watched.pop(key, None)

    async def close(self, now: float) -> None:
        """Emit what fell due in the windows that have closed by ``now``."""
        for partition in list(self._changed):
            self._ask(partition)
            await asyncio.sleep(0)
        opened = dict(self._opener.opened_at)
        due = {partition: self._wheels[partition].closed(now) for partition in opened if partition in self._wheels}
        count = sum(map(len, due.values()))
        self._told(count)
        if not count:
            return
        read = await self._read()
        if not read.everything:
            log.warning("deadlines wait: input lies unread", due=count)
            return
        for partition, keys in due.items():
            # Together: the events of a partition are gathered, so many take hardly longer than one.
            for first in range(0, len(keys), AT_ONCE):
                portion = keys[first : first + AT_ONCE]
                told = (self._tell(partition, key, at, opened[partition], now, read.standing) for key, at in portion)
                await asyncio.gather(*told)

    async def _tell(
        self, partition: int, key: Key, at: float, opened_at: float, now: float, unread: tuple[str, ...]
    ) -> None:
        if self._is_still_due(partition, key, at, opened_at):
            await self._emit(partition, key, at, now, unread)

    def _is_still_due(self, partition: int, key: Key, at: float, opened_at: float) -> bool:
        if key in self._changed.get(partition, {}):
            self._ask(partition, key)
        wheel = self._wheels.get(partition)
        return wheel is not None and wheel.due(key) == at and self._opener.opened_at.get(partition) == opened_at

    async def _emit(self, partition: int, key: Key, at: float, now: float, unread: tuple[str, ...]) -> None:
        wheel, watched = self._wheels[partition], self._watched[key]
        if self._deadlines.is_last(watched):
            wheel.remove(key)
            del self._watched[key]
        else:
            # If nothing comes of it, it is due again when the next window closes.
            wheel.put(key, now)
        due = Due(partition, key, watched, at, self._opener.opened_at[partition], now, unread)
        await self._forwarder.deliver(partition, self._deadlines.event(due))
        await self._deadlines.emitted(due)

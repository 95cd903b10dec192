"""Effects are released by the commit: what a subject has to do is started only once its cause is durable.

An event is handled, its rows and messages are acknowledged, its offset is committed, and only then does the dispatcher
learn of the subject as it was after the event. Killed before: nothing has been started. Killed after: `todo` finds it.

Hazard in Faust 0.15.3: its own way to hold messages back until the commit lets those of the next event go too
(``app/_attached.py`` 220) and knows no other effects than messages.

Tests: ``test_releases.py``; the mutation "effects start before the commit" in ``tests/simulation``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Generic

from cj_stream.engine.work import SubjectT

Release = Callable[[int, int, list[SubjectT]], None]
"""Told of every commit: the partition, its position (the next offset to be read), and the subjects released by it."""


class Releases(Generic[SubjectT]):
    """Holds subjects back until the offset that changed them is committed; ``release`` gets them."""

    def __init__(self, release: Release[SubjectT]) -> None:
        self._release = release
        self._waiting: dict[int, deque[tuple[int, list[SubjectT]]]] = {}

    def hold(self, partition: int, offset: int, subjects: Iterable[SubjectT]) -> None:
        """Hold ``subjects`` until ``offset`` of the partition is committed."""
        self._waiting.setdefault(partition, deque()).append((offset, list(subjects)))

    def committed(self, offsets: Mapping[int, int]) -> None:
        """Release what came before the committed positions, one per partition (the next offset to be read)."""
        for partition, position in offsets.items():
            waiting = self._waiting.get(partition, deque())
            newest: dict[Hashable, SubjectT] = {}
            while waiting and waiting[0][0] < position:
                newest.update((subject.key, subject) for subject in waiting.popleft()[1])
            self._release(partition, position, list(newest.values()))

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget what is held for partitions that are no longer ours."""
        for partition in partitions:
            self._waiting.pop(partition, None)

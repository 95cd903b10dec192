"""Whose turn it is: batches share what there is by their weights, none waits for another to end. Pure.

Start-time fair queueing (Goyal, Vin & Cheng, 1996): each batch has a virtual time, which its calls move on by their
cost over its weight, and the batch that is furthest behind is next. Who comes, or comes back, starts where the others
are: what was not used is not saved up. A priority is a weight: so it gets more of the turns, and nobody none.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

STEP = 1.5
"""A priority that is higher by one has half as much again."""

ItemT = TypeVar("ItemT")


def weight(priority: int) -> float:
    """Return the weight of a priority, from -10 to 10: 1 for 0."""
    return STEP**priority


@dataclass
class _Batch(Generic[ItemT]):
    at: float
    """Its virtual time."""
    waiting: deque[tuple[ItemT, int]] = field(default_factory=deque)


class FairQueue(Generic[ItemT]):
    """What waits for its turn, by batch; within a batch first come, first served."""

    def __init__(self) -> None:
        self._batches: dict[str, _Batch[ItemT]] = {}
        self._now = 0.0
        """The virtual time of the newest turn."""
        self._idle: dict[str, float] = {}
        """Where batches stood that have nothing waiting, and are ahead of the others."""

    def __len__(self) -> int:
        return sum(len(batch.waiting) for batch in self._batches.values())

    def waiting(self) -> dict[str, int]:
        """Return how many wait, by batch."""
        return {name: len(batch.waiting) for name, batch in self._batches.items()}

    def put(self, batch: str, item: ItemT, priority: int = 0) -> None:
        """Have an item of a batch wait behind all others of it."""
        if batch not in self._batches:
            self._batches[batch] = _Batch(max(self._now, self._idle.pop(batch, 0.0)))
        self._batches[batch].waiting.append((item, priority))

    def head(self) -> ItemT | None:
        """Return what is next, None when nothing waits."""
        return self._batches[self._next()].waiting[0][0] if self._batches else None

    def pop(self, cost: float) -> ItemT:
        """Take out what is next; it costs so much."""
        name = self._next()
        batch = self._batches[name]
        item, priority = batch.waiting.popleft()
        self._now = batch.at
        batch.at += cost / weight(priority)
        if not batch.waiting:
            self._leave(name)
        return item

    def _next(self) -> str:
        return min(self._batches, key=lambda name: (self._batches[name].at, name))

    def _leave(self, name: str) -> None:
        self._idle = {other: at for other, at in self._idle.items() if at > self._now}
        at = self._batches.pop(name).at
        if at > self._now:
            self._idle[name] = at

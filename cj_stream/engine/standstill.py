"""For how long things have stood still, counted only while they were in sight.

A broker that is away, a suspended machine or a frozen process are no reason to call a partition stuck: nobody has seen
it stand still. So time counts between two observations that follow one another, and no step counts for more than
observations are apart.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Standstill(Generic[Key]):
    """What was observed of each key last, and for how many seconds it has been just that."""

    def __init__(self, longest_step: float) -> None:
        self._longest_step = longest_step
        self._seen_at: float | None = None
        self._values: Mapping[Key, Hashable] = {}
        self.seconds: Mapping[Key, float] = {}

    def observe(self, at: float, values: Mapping[Key, Hashable]) -> None:
        """Take over what is seen ``at`` (seconds, of any clock); a key that is not there is forgotten."""
        step = 0.0 if self._seen_at is None else min(at - self._seen_at, self._longest_step)
        self.seconds = {
            key: self.seconds[key] + step if key in self._values and self._values[key] == value else 0.0
            for key, value in values.items()
        }
        self._values = dict(values)
        self._seen_at = at

    def lose_sight(self) -> None:
        """Count nothing until the next observation; what was counted stays."""
        self._seen_at = None

"""What was observed: the comparisons, as arrays that have been checked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]


def sum_per_item(items: Integers, values: Floats, n: int) -> Floats:
    """(n,) sums of the ``values`` (m,) that belong to the same one of ``items`` (m,)."""
    return np.bincount(items, values, n).astype(np.float64, copy=False)


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Outcomes of ``m`` paired comparisons among ``n`` items, with the order in which they were presented.

    Attributes:
        n: number of items, at least 1; items are the indices 0 .. n - 1.
        first: (m,) index of the item presented first (Essay A).
        second: (m,) index of the item presented second (Essay B).
        first_wins: (m,) share of the win that goes to the first item: 1 won, 0 lost, .5 tie, fractions allowed.

    The arrays are copied and made read-only.

    Raises:
        ValueError: the arrays do not fit together, or a value is out of its range; the message says which.

    """

    n: int
    first: Integers
    second: Integers
    first_wins: Floats

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ValueError(f"n is {self.n}: there must be at least 1 item")
        self._freeze("first", _indices("first", self.first))
        self._freeze("second", _indices("second", self.second))
        self._freeze("first_wins", np.array(self.first_wins, dtype=np.float64))
        self._check_lengths()
        self._check_values()

    @classmethod
    def from_triples(cls, n: int, triples: Iterable[tuple[int, int, float]]) -> Self:
        """Build from ``(first, second, first_wins)`` triples.

        Raises:
            ValueError: as the class does.

        """
        rows = list(triples)
        return cls(
            n,
            np.array([row[0] for row in rows]),
            np.array([row[1] for row in rows]),
            np.array([row[2] for row in rows], dtype=np.float64),
        )

    def __len__(self) -> int:
        return len(self.first_wins)

    @cached_property
    def cells(self) -> Integers:
        """(m,) where each comparison belongs in an (n, n) matrix laid out in a row: first * n + second."""
        return self.first * self.n + self.second

    def where(self, chosen: Booleans) -> Comparisons:
        """Return the comparisons for which ``chosen`` (m,) holds, among the same items."""
        return Comparisons(self.n, self.first[chosen], self.second[chosen], self.first_wins[chosen])

    def comparisons_per_item(self) -> Integers:
        """(n,) number of comparisons that each item takes part in."""
        both = np.concatenate((self.first, self.second))
        return np.bincount(both, minlength=self.n).astype(np.int64)

    def wins_per_item(self) -> Floats:
        """(n,) wins of each item; fractions count as fractions."""
        return sum_per_item(self.first, self.first_wins, self.n) + sum_per_item(
            self.second, 1.0 - self.first_wins, self.n
        )

    def _freeze(self, name: str, values: npt.NDArray[Any]) -> None:
        if values.ndim != 1:
            raise ValueError(f"{name} has {values.ndim} dimensions: it must have one")
        values.setflags(write=False)
        object.__setattr__(self, name, values)  # the way to set a field of a frozen dataclass

    def _check_lengths(self) -> None:
        lengths = {name: len(getattr(self, name)) for name in ("first", "second", "first_wins")}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"first, second and first_wins must be equally long, not {lengths}")

    def _check_values(self) -> None:
        for name, items in (("first", self.first), ("second", self.second)):
            _refuse((items < 0) | (items >= self.n), items, f"{name} must be an index from 0 to {self.n - 1}")
        _refuse(self.first == self.second, self.first, "an item cannot be compared with itself")
        within = (self.first_wins >= 0) & (self.first_wins <= 1)  # false for NaN as well
        _refuse(~within, self.first_wins, "first_wins must be from 0 to 1")


@dataclass(frozen=True, eq=False)
class Anchors:
    """Items whose scores are known, from an earlier scale for instance; estimators leave them as they are.

    Attributes:
        items: (k,) different item indices, at least one.
        theta: (k,) their scores, logits.

    Raises:
        ValueError: there is none, one is given twice, or a score is not finite.

    """

    items: Integers
    theta: Floats

    def __post_init__(self) -> None:
        object.__setattr__(self, "items", _indices("anchors", self.items))
        object.__setattr__(self, "theta", np.array(self.theta, dtype=np.float64))
        if not len(self.items) or len(self.items) != len(self.theta):
            raise ValueError(f"{len(self.items)} anchors with {len(self.theta)} scores: give each anchor one score")
        if len(np.unique(self.items)) < len(self.items):
            raise ValueError("an anchor is given twice")
        _refuse(~np.isfinite(self.theta), self.theta, "its score must be finite", "anchor")

    def check(self, n: int) -> None:
        """Raise ValueError unless every anchor is one of ``n`` items."""
        _refuse((self.items < 0) | (self.items >= n), self.items, f"must be an index from 0 to {n - 1}", "anchor")


@dataclass(frozen=True, eq=False)
class Judges:
    """Who made the comparisons.

    Attributes:
        names: names of the judges.
        of: (m,) index into ``names`` of each comparison's judge.

    Raises:
        ValueError: an index has no name.

    """

    names: tuple[str, ...]
    of: Integers

    def __post_init__(self) -> None:
        object.__setattr__(self, "of", _indices("judges", self.of))
        _refuse((self.of < 0) | (self.of >= len(self.names)), self.of, f"there are {len(self.names)} judges", "judge")


def _indices(name: str, values: npt.ArrayLike) -> Integers:
    array = np.array(values)
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} holds {array.dtype} values: item indices must be integers")
    return array.astype(np.int64)


def _refuse(wrong: Booleans, values: npt.NDArray[Any], rule: str, what: str = "comparison") -> None:
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{what} {row}: {rule}, not {values[row]}")

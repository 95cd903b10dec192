"""A set of comparison indexes as one number: bit ``i`` is set when ``i`` is in the set.

A batch has up to 20,000 comparisons, and every event moves one of them from one set to another. A `frozenset` would be
copied whole each time; the number takes a bit for each comparison and is copied in less than a microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

_BITS_OF = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


class IndexSet(AbstractSet[int]):
    """An immutable set of integers from 0. It iterates in ascending order, and equals any set of the same members."""

    __slots__ = ("bits",)

    def __init__(self, bits: int = 0) -> None:
        self.bits = bits

    @classmethod
    def _from_iterable(cls, it: Iterable[Any]) -> AbstractSet[Any]:
        # What the operators of the base class make their results with: the other operand may hold anything.
        return frozenset(it)

    def __contains__(self, index: object) -> bool:
        return isinstance(index, int) and index >= 0 and self.bits >> index & 1 == 1

    def __iter__(self) -> Iterator[int]:
        # From the byte of the lowest member on: who asks for the first ones goes through nothing before them.
        start = max((self.bits & -self.bits).bit_length() - 1, 0) // 8 * 8
        bits = self.bits >> start
        for at, byte in enumerate(bits.to_bytes((bits.bit_length() + 7) // 8, "little")):
            if byte:
                for bit in _BITS_OF[byte]:
                    yield start + at * 8 + bit

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __hash__(self) -> int:
        return self._hash()

    def __repr__(self) -> str:
        return f"IndexSet({list(self)})"

    def reaches(self, start: int) -> bool:
        """Return whether a member is ``start`` or more."""
        return self.bits.bit_length() > start

    def toggled(self, index: int) -> IndexSet:
        """Return the set with ``index`` in it if it was not, and without it if it was."""
        return IndexSet(self.bits ^ 1 << index)

    def union_of(self, *others: IndexSet) -> IndexSet:
        """Return the members of this set and of the others."""
        bits = self.bits
        for other in others:
            bits |= other.bits
        return IndexSet(bits)


def index_range(first: int, count: int) -> IndexSet:
    """Return the set of ``count`` indexes from ``first`` on."""
    return IndexSet((1 << count) - 1 << first)

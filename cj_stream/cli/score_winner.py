"""What the winner column of a file says: an item, a side, or a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

_LEFT = {"left", "l", "a", "first", "item a", "item 1", "option a", "home", "links", "gauche"}
_RIGHT = {"right", "r", "b", "second", "item b", "item 2", "option b", "away", "rechts", "droite"}
_TIE = {"tie", "tied", "draw", "drawn", "equal", "same", "both", "neither", "no preference", "="}
_TRUE, _FALSE = {"true", "yes", "y", "t"}, {"false", "no", "n", "f"}

# Above this share of winners that are one of the two items, the column holds items, and the others are mistakes.
_NAMED_SHARE = 0.8
_SECOND = 2.0

Reading = Callable[[str, str, str], float]


class Row(NamedTuple):
    """The cells of a judgement that say who won."""

    first: str
    second: str
    winner: str


def reading_of(rows: Sequence[Row], share: bool) -> Reading:
    """Return how to read the winner cell: a function of first item, second item and the cell.

    It gives the share of the win that goes to the first item, and raises ValueError for a cell that says nothing.
    Names of items come before words and numbers: those count only when the column as a whole cannot be names.

    Args:
        rows: all rows of the file.
        share: the heading says that the column holds the win of the first item.

    """
    values = {row.winner.casefold() for row in rows if row.winner} - _TIE
    hits = [row.winner in row[:2] for row in rows if row.winner.casefold() in values]
    named = sum(hits) >= _NAMED_SHARE * len(hits)
    numbers = {_number(value) for value in values}
    if share or (not named and all(number is not None and -1.0 <= number <= _SECOND for number in numbers)):
        return _numeric(numbers, share)
    return _by_name if named or not values <= _LEFT | _RIGHT else _by_side


def _by_name(first: str, second: str, winner: str) -> float:
    if winner in {first, second}:
        return float(winner == first)
    folded = winner.casefold()
    if folded in {first.casefold(), second.casefold()} and first.casefold() != second.casefold():
        return float(folded == first.casefold())
    if folded in _TIE:
        return 0.5
    if folded in {"left", "right"}:
        return float(folded == "left")
    raise ValueError(f"the winner {winner!r} is neither {first!r} nor {second!r}")


def _by_side(_first: str, _second: str, winner: str) -> float:
    folded = winner.casefold()
    return 0.5 if folded in _TIE else float(folded in _LEFT)


def _numeric(numbers: set[float | None], share: bool) -> Reading:
    if not share and _SECOND in numbers:
        return _coded({1.0: 1.0, 2.0: 0.0, 0.0: 0.5, 0.5: 0.5, 1.5: 0.5}, "1 (first), 2 (second) or 0 (tie)")
    if -1.0 in numbers:
        return _coded({1.0: 1.0, -1.0: 0.0, 0.0: 0.5}, "1 (first), -1 (second) or 0 (tie)")

    def as_share(_first: str, _second: str, winner: str) -> float:
        number = 0.5 if winner.casefold() in _TIE else _number(winner)
        if number is None or not 0.0 <= number <= 1.0:
            raise ValueError(f"{winner!r} is not a share of the win from 0 (second item) to 1 (first item)")
        return number

    return as_share


def _coded(shares: dict[float, float], codes: str) -> Reading:
    def coded(_first: str, _second: str, winner: str) -> float:
        number = _number(winner)
        if winner.casefold() in _TIE:
            return 0.5
        if number not in shares:
            raise ValueError(f"the winner {winner!r} is not {codes}")
        return shares[number]

    return coded


def _number(cell: str) -> float | None:
    folded = cell.casefold()
    if folded in _TRUE | _FALSE:
        return float(folded in _TRUE)
    try:
        number = float(folded.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None

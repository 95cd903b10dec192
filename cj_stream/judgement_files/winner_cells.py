"""What the winner column of a file says: an item, a side, or a number."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cj_stream.judgement_files.columns import THINGS

_LEFT = {"left", "l", "a", "1", "first", "home", "links", "gauche"}
_RIGHT = {"right", "r", "b", "2", "second", "away", "rechts", "droite"}
_SIDES = _LEFT | _RIGHT
_TIE = {"tie", "tied", "draw", "drawn", "equal", "same", "both", "neither", "no preference", "tie (bothbad)", "="}
_TRUE, _FALSE = {"true", "yes", "y", "t"}, {"false", "no", "n", "f"}

# From this share of winners on that are one of the two items, the column holds items, and the others are mistakes;
# so it is with numbers, and with sides.
_MOST = 0.8
_SECOND = 2.0
_READ_AS_SHARE = "The winner's column was read as the win of the first item: 1 the first won, 0 the second."


class WinnerCells(NamedTuple):
    """The cells of a judgement that say who won."""

    first: str
    second: str
    winner: str


class WinnerReading(NamedTuple):
    """How to read the winner cell.

    Attributes:
        win: of the first item's cell, the second item's and the winner's, the share of the win that goes to the first
            item; raises ValueError for a cell that says nothing.
        note: what a reader should know of it, because it could have been meant the other way round.

    """

    win: Callable[[str, str, str], float]
    note: str = ""


def reading_of(rows: Sequence[WinnerCells], share: bool) -> WinnerReading:
    """Return how to read the winner cells.

    Names of items come before words and numbers: those count only when the column as a whole cannot be names.

    Args:
        rows: all rows of the file.
        share: the heading says that the column holds the win of the first item.

    """
    told = [row for row in rows if row.winner and row.winner.casefold() not in _TIE]

    def mostly(count: int) -> bool:
        return count >= _MOST * len(told)

    named = mostly(sum(row.winner in row[:2] for row in told))
    numbers = [number_of(row.winner) for row in told]
    if share or (not named and mostly(sum(number is not None and -1.0 <= number <= _SECOND for number in numbers))):
        return _numeric(set(numbers), share)
    sided = not named and mostly(sum(_side(row.winner) is not None for row in told))
    return WinnerReading(_by_side if sided else _by_name)


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
    side = 0.5 if winner.casefold() in _TIE else _side(winner)
    if side is None:
        raise ValueError(f"the winner {winner!r} is neither left nor right nor a tie")
    return side


def _side(cell: str) -> float | None:
    """Return the win of the first item for Left, b, Essay A, script_2 and so on; None for anything else."""
    words = cell.casefold().replace("_", " ").replace("-", " ").split()
    sides = [word for word in words if word not in THINGS]
    if len(sides) != 1 or sides[0] not in _SIDES:
        return None
    return float(sides[0] in _LEFT)


def _numeric(numbers: set[float | None], share: bool) -> WinnerReading:
    if not share and _SECOND in numbers:
        return _coded({1.0: 1.0, 2.0: 0.0, 0.0: 0.5, 0.5: 0.5, 1.5: 0.5}, "1 (first), 2 (second) or 0 (tie)")
    if -1.0 in numbers:
        return _coded({1.0: 1.0, -1.0: 0.0, 0.0: 0.5}, "1 (first), -1 (second) or 0 (tie)")

    def as_share(_first: str, _second: str, winner: str) -> float:
        number = 0.5 if winner.casefold() in _TIE else number_of(winner)
        if number is None or not 0.0 <= number <= 1.0:
            raise ValueError(f"{winner!r} is not a share of the win from 0 (second item) to 1 (first item)")
        return number

    return WinnerReading(as_share, "" if share else _READ_AS_SHARE)


def _coded(shares: dict[float, float], codes: str) -> WinnerReading:
    def coded(_first: str, _second: str, winner: str) -> float:
        number = number_of(winner)
        if winner.casefold() in _TIE:
            return 0.5
        if number not in shares:
            raise ValueError(f"the winner {winner!r} is not {codes}")
        return shares[number]

    return WinnerReading(coded)


def number_of(cell: str) -> float | None:
    """Return the number in a cell, 1 and 0 for true and false, None when there is none."""
    folded = cell.casefold()
    if folded in _TRUE | _FALSE:
        return float(folded in _TRUE)
    try:
        number = float(folded.replace(",", "."))
    except ValueError:
        return None
    return number if math.isfinite(number) else None

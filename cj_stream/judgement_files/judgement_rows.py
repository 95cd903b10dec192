"""What one row of a file says: a judgement, several of them where the file counts, or why it says nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from cj_stream.judgement_files.columns import Columns
from cj_stream.judgement_files.winner_cells import WinnerCells, number_of

ROWS_LEFT_OUT = 3
"""The exit code when there is a result, but rows of the file could not be used."""
_MOST_OF_A_ROW = 100_000
_NO_NUMBER = {"", "na", "n/a", "nan"}


class Problem(NamedTuple):
    """A row that could not be used: its line in the file, and why."""

    line: int
    text: str


class Cells(NamedTuple):
    """The cells of one judgement; ``share`` is the win of the first item, None if the winner's cell says who won."""

    line: int
    judge: str
    row: WinnerCells
    share: float | None


def judgements_of(line: int, row: list[str], columns: Columns) -> list[Cells]:
    """Return the judgements that a row stands for: one, or as many as it counts.

    Raises:
        ValueError: it cannot be used; the text says why.

    """
    shares: list[float | None] = list(_counted_wins(row, columns)) if columns.wins else _told_wins(row, columns)
    if not shares:
        return []  # a count of nothing: whatever else the row says, it claims no judgement
    _check(row, columns)
    told = WinnerCells(_cell(row, columns.first), _cell(row, columns.second), _cell(row, columns.winner))
    judge = _cell(row, columns.judge)
    return [Cells(line, judge, told, share) for share in shares]


def _told_wins(row: list[str], columns: Columns) -> list[float | None]:
    times = 1.0 if columns.times is None else _count(row, columns.times)
    if times % 1.0:
        raise ValueError(f"{_cell(row, columns.times)!r} judgements are not a whole number")
    return [1.0 if columns.winner is None else None] * int(times)


def _counted_wins(row: list[str], columns: Columns) -> Iterator[float]:
    """Yield the win of the first item for each judgement; half a win on both sides is a tie, as is usual in tables."""
    first, second, *ties = (_count(row, place) for place in columns.wins)
    if (first % 1.0, second % 1.0) not in {(0.0, 0.0), (0.5, 0.5)} or any(number % 1.0 for number in ties):
        raise ValueError("the numbers of wins are not whole; a tie may be half a win on both sides")
    yield from [1.0] * int(first)
    yield from [0.0] * int(second)
    yield from [0.5] * int(sum(ties) + (first % 1.0 > 0.0))


def _count(row: list[str], place: int) -> float:
    cell = _cell(row, place)
    number = 0.0 if cell.casefold() in _NO_NUMBER else number_of(cell)
    if number is None or not 0.0 <= number <= _MOST_OF_A_ROW:
        raise ValueError(f"{cell!r} is not a number of judgements from 0 to {_MOST_OF_A_ROW}")
    return number


def _check(row: list[str], columns: Columns) -> None:
    told = columns.winner is not None or columns.wins
    names = ("first item", "second item") if told else ("winning item", "losing item")
    if any(cell.strip() for cell in row[columns.width :]):
        raise ValueError(f"has {len(row)} cells, the heading has {columns.width}")
    for name, place in ((names[0], columns.first), (names[1], columns.second), ("winner", columns.winner)):
        if place is not None and not _cell(row, place):
            raise ValueError(f"the {name} is missing{_about_quotes(row)}")
    if _cell(row, columns.first) == _cell(row, columns.second):
        raise ValueError(f"{_cell(row, columns.first)!r} is compared with itself")


def _about_quotes(row: list[str]) -> str:
    lines = sum(cell.count("\n") for cell in row)
    return f" (a quotation mark that is not closed may have taken in the {lines} lines below)" if lines else ""


def _cell(row: list[str], place: int | None) -> str:
    return row[place].strip() if place is not None and place < len(row) else ""

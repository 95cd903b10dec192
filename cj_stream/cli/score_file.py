"""Reading judgements from a CSV, whatever service exported it; rows that cannot be used are told with their lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cj_stream.cli.score_columns import EXPECTED, Columns, HeadingError, find_columns
from cj_stream.cli.score_winner import Row, reading_of
from cj_stream.scoring.data import Comparisons, Judges

_DELIMITERS = ",;\t|"
_LARGEST_CELL = 100_000_000


class Problem(NamedTuple):
    """A row that could not be used: its line in the file, and why."""

    line: int
    text: str


@dataclass(frozen=True, eq=False)
class Judgements:
    """The judgements of a file.

    Attributes:
        items: names of the items, sorted: the indices of ``comparisons``.
        comparisons: the comparisons, in the order of the file.
        judges: who made them; None when the file does not say.
        ordered: whether the file says which item was presented first.
        problems: the rows left out.
        notes: what else a reader should know.

    """

    items: tuple[str, ...]
    comparisons: Comparisons
    judges: Judges | None
    ordered: bool
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


class _Cells(NamedTuple):
    line: int
    judge: str
    row: Row


def read_judgements(content: bytes, extra_items: tuple[str, ...] = ()) -> Judgements:
    """Read a CSV of judgements; ``extra_items`` are items that need not occur in it.

    Raises:
        ValueError: the file as a whole cannot be read; the text says why.

    """
    text, notes = _decoded(content)
    table = _Table(text)
    cells, problems = _usable(table)
    reading = reading_of([cell.row for cell in cells], table.columns.share)
    kept, shares = [], []
    for cell in cells:
        try:
            share = 1.0 if table.columns.winner is None else reading(*cell.row)
        except ValueError as error:
            problems.append(Problem(cell.line, str(error)))
        else:
            kept.append(cell)
            shares.append(share)
    if not kept:
        told = "; ".join(f"line {problem.line}: {problem.text}" for problem in sorted(problems)[:3])
        raise ValueError(f"no row holds a judgement{' (' + told + ')' if told else ''}")
    items = tuple(sorted({name for cell in kept for name in cell.row[:2]}.union(extra_items)))
    return Judgements(
        items,
        _comparisons(items, kept, shares),
        None if table.columns.judge is None else _judges(kept),
        table.columns.winner is not None,
        tuple(sorted(problems)),
        notes,
    )


def _decoded(content: bytes) -> tuple[str, tuple[str, ...]]:
    if content[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return content.decode("utf-16", errors="replace"), ()
    try:
        return content.decode("utf-8-sig"), ()
    except UnicodeDecodeError:
        note = "The file is not UTF-8: it was read as Windows-1252. Save it as UTF-8 if names look wrong."
        return content.decode("cp1252", errors="replace"), (note,)


class _Table:
    """The rows of a delimited text, with the columns that its first row names."""

    def __init__(self, text: str) -> None:
        first_line, _, rest = text.partition("\n")
        self._skipped = 0
        delimiters = _DELIMITERS
        if first_line.strip().casefold().startswith("sep=") and len(first_line.strip()) > len("sep="):
            text, delimiters, self._skipped = rest, first_line.strip()[4], 1  # a hint to Excel
        if not text.strip():
            raise ValueError("the file is empty")
        if "\0" in text:
            raise ValueError("the file is not text: export the judgements as CSV")
        csv.field_size_limit(_LARGEST_CELL)
        self.columns, self._delimiter = _recognized(text, delimiters)
        self._text = text

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield each row below the headings with the line it starts in; blank ones are left out."""
        reader = csv.reader(io.StringIO(self._text, newline=""), delimiter=self._delimiter)
        line, headings_seen = 1, False
        for row in reader:
            if any(cell.strip() for cell in row):
                if headings_seen:
                    yield line + self._skipped, row
                headings_seen = True
            line = reader.line_num + 1


def _recognized(text: str, delimiters: str) -> tuple[Columns, str]:
    errors = []
    for delimiter in delimiters:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        headings = next((row for row in reader if any(cell.strip() for cell in row)), [])
        try:
            return find_columns(headings), delimiter
        except HeadingError as error:
            errors.append((len(headings), str(error)))
    raise ValueError(max(errors)[1] if errors else f"needed are the columns {EXPECTED}")


def _usable(table: _Table) -> tuple[list[_Cells], list[Problem]]:
    cells, problems = [], []
    for line, row in table.rows():
        fault = _fault(row, table.columns)
        if fault:
            problems.append(Problem(line, fault))
        else:
            cells.append(_picked(line, row, table.columns))
    return cells, problems


def _fault(row: list[str], columns: Columns) -> str | None:
    names = ("first item", "second item") if columns.winner is not None else ("winning item", "losing item")
    needed = {names[0]: columns.first, names[1]: columns.second, "winner": columns.winner}
    if any(cell.strip() for cell in row[columns.width :]):
        return f"has {len(row)} cells, the heading has {columns.width}"
    for name, place in needed.items():
        if place is not None and (place >= len(row) or not row[place].strip()):
            hint = " (a quotation mark may not be closed)" if any("\n" in cell for cell in row) else ""
            return f"the {name} is missing{hint}"
    if row[columns.first].strip() == row[columns.second].strip():
        return f"{row[columns.first].strip()!r} is compared with itself"
    return None


def _picked(line: int, row: list[str], columns: Columns) -> _Cells:
    judge = "" if columns.judge is None or columns.judge >= len(row) else row[columns.judge].strip()
    winner = "" if columns.winner is None else row[columns.winner].strip()
    return _Cells(line, judge, Row(row[columns.first].strip(), row[columns.second].strip(), winner))


def _comparisons(items: tuple[str, ...], kept: list[_Cells], shares: list[float]) -> Comparisons:
    index = {name: i for i, name in enumerate(items)}
    first = np.array([index[cell.row.first] for cell in kept])
    second = np.array([index[cell.row.second] for cell in kept])
    return Comparisons(len(items), first, second, np.array(shares))


def _judges(kept: list[_Cells]) -> Judges:
    names = tuple(sorted({cell.judge for cell in kept}))
    index = {name: i for i, name in enumerate(names)}
    return Judges(names, np.array([index[cell.judge] for cell in kept]))

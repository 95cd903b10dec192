"""Reading judgements from a CSV, whatever service exported it; rows that cannot be used are told with their lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cj_stream.judgement_files.columns import EXPECTED, Columns, HeadingError, find_columns
from cj_stream.judgement_files.judgement_rows import Cells, Problem, judgements_of
from cj_stream.judgement_files.winner_cells import reading_of
from cj_stream.scoring.estimation.data import Comparisons, Judges

_DELIMITERS = ",;\t|"
_LARGEST_CELL = 100_000_000


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
            share = reading.win(*cell.row) if cell.share is None else cell.share
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
        table.columns.ordered,
        tuple(sorted(problems)),
        (*notes, *table.notes(), *filter(None, [reading.note])),
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
            raise ValueError("the file is not text that can be read: save the judgements as CSV, in UTF-8")
        csv.field_size_limit(_LARGEST_CELL)
        self.columns, self._headings, self._delimiter = _recognized(text, delimiters)
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

    def notes(self) -> Iterator[str]:
        """Yield what a reader should know of how the columns were understood."""
        if self.columns.times is not None:
            name = self._headings[self.columns.times].strip()
            yield f"The column {name!r} was read as how many judgements a row stands for."


def _recognized(text: str, delimiters: str) -> tuple[Columns, list[str], str]:
    errors = []
    for delimiter in delimiters:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        headings = next((row for row in reader if any(cell.strip() for cell in row)), [])
        try:
            return find_columns(headings), headings, delimiter
        except HeadingError as error:
            errors.append((len(headings), str(error)))
    if text.lstrip()[0] in "[{":
        raise ValueError(f"the file looks like JSON: save it as CSV with the columns {EXPECTED}")
    raise ValueError(max(errors)[1] if errors else f"needed are the columns {EXPECTED}")


def _usable(table: _Table) -> tuple[list[Cells], list[Problem]]:
    cells: list[Cells] = []
    problems = []
    for line, row in table.rows():
        try:
            cells += judgements_of(line, row, table.columns)
        except ValueError as error:
            problems.append(Problem(line, str(error)))
    return cells, problems


def _comparisons(items: tuple[str, ...], kept: list[Cells], shares: list[float]) -> Comparisons:
    index = {name: i for i, name in enumerate(items)}
    first = np.array([index[cell.row.first] for cell in kept])
    second = np.array([index[cell.row.second] for cell in kept])
    return Comparisons(len(items), first, second, np.array(shares))


def _judges(kept: list[Cells]) -> Judges:
    names = tuple(sorted({cell.judge for cell in kept}))
    index = {name: i for i, name in enumerate(names)}
    return Judges(names, np.array([index[cell.judge] for cell in kept]))

"""The comparisons of a batch, in pages: a change copies one page and the list of pages, whatever the batch's size.

After every commit it is asked when the first attempt that awaits its callback falls due. Each page remembers that of
its own rows, so only pages that have changed since are looked through.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import inf

import msgspec

from cj_stream.domain.records import Comparison, ComparisonStatus

PAGE = 64
"""Rows in every page but the last: 20,000 comparisons are 313 pages."""


class _Page(msgspec.Struct, eq=False, gc=False):
    """Some comparisons in a row. ``due`` is found when it is first asked for; the rows never change."""

    rows: tuple[Comparison, ...]
    due: float | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Page) and self.rows == other.rows

    def __hash__(self) -> int:
        return hash(self.rows)

    def first_due(self, deadline: float) -> float:
        if self.due is None:
            accepted = ComparisonStatus.ACCEPTED
            self.due = min([row.due_at(deadline) for row in self.rows if row.status is accepted], default=inf)
        return self.due


class ComparisonList(msgspec.Struct, frozen=True, gc=False):
    """An immutable list of comparisons; the one at ``i`` has the index ``i``."""

    pages: tuple[_Page, ...] = ()
    count: int = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Comparison:
        if index < 0:
            raise IndexError(f"no comparison has the index {index}")
        return self.pages[index // PAGE].rows[index % PAGE]

    def __iter__(self) -> Iterator[Comparison]:
        for page in self.pages:
            yield from page.rows

    def extended(self, count: int) -> ComparisonList:
        """Return the list with ``count`` more comparisons at its end, which are to be submitted."""
        full, rest = divmod(self.count, PAGE)
        begun = self.pages[full].rows if rest else ()
        rows = (*begun, *(Comparison(index=index) for index in range(self.count, self.count + count)))
        pages = (_Page(rows[at : at + PAGE]) for at in range(0, len(rows), PAGE))
        return ComparisonList((*self.pages[:full], *pages), self.count + count)

    def replaced(self, rows: Iterable[Comparison]) -> ComparisonList:
        """Return the list with these rows in the place of those with the same index."""
        opened: dict[int, list[Comparison]] = {}
        for row in rows:
            number, place = divmod(row.index, PAGE)
            if number not in opened:
                opened[number] = list(self.pages[number].rows)
            opened[number][place] = row
        pages = list(self.pages)
        for number, changed in opened.items():
            pages[number] = _Page(tuple(changed))
        return ComparisonList(tuple(pages), self.count)

    def first_due(self, deadline: float) -> float:
        """Return when the first attempt that awaits its callback falls due, infinity when none does.

        ``deadline`` in seconds is that of the batch, the same at every call.
        """
        return min([page.first_due(deadline) for page in self.pages], default=inf)

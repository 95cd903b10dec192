from __future__ import annotations

from math import inf
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cj_stream.domain.comparison_list import PAGE, ComparisonList
from cj_stream.domain.records import Comparison, ComparisonStatus

rows_of_a_change = st.tuples(
    st.sampled_from(ComparisonStatus), st.none() | st.floats(0, 1e9), st.lists(st.floats(0, 1), max_size=4)
)


DEADLINE = 60.0


def planned(count: int) -> list[Comparison]:
    return [Comparison(index=index) for index in range(count)]


def first(rows: list[Comparison]) -> float:
    return min((row.due_at(DEADLINE) for row in rows if row.status is ComparisonStatus.ACCEPTED), default=inf)


@given(waves=st.lists(st.integers(1, 2 * PAGE), min_size=1, max_size=4), changes=st.lists(rows_of_a_change))
def test_a_list_in_pages_is_a_list_and_what_was_held_before_stays_as_it_was(
    waves: list[int], changes: list[tuple[ComparisonStatus, float | None, list[float]]]
) -> None:
    found, rows = ComparisonList(), list[Comparison]()
    for count in waves:
        found = found.extended(count)
        rows += planned(len(rows) + count)[len(rows) :]
    held = [(found, list(rows))]
    for status, at, places in changes:
        changed = {int(place * (len(rows) - 1)) for place in places}
        new = [Comparison(index=index, status=status, submitted_at=at) for index in changed]
        found = found.replaced(new)
        for row in new:
            rows[row.index] = row
        held.append((found, list(rows)))
    for known, expected in held:
        assert (list(known), len(known)) == (expected, len(expected))
        assert list(reversed(known)) == expected[::-1]
        assert known.first_due(DEADLINE) == first(expected)


def test_what_is_due_first_is_known_after_each_of_many_answers_in_any_order() -> None:
    rows = [Comparison(index=i, status=ComparisonStatus.ACCEPTED, submitted_at=float(i % 77)) for i in range(500)]
    found = ComparisonList().extended(500).replaced(rows)
    order = list(range(500))
    Random(1).shuffle(order)
    for index in order:
        assert found.first_due(DEADLINE) == first(list(found))
        found = found.replaced([Comparison(index=index, status=ComparisonStatus.JUDGED)])
    assert found.first_due(DEADLINE) == inf


def test_lists_are_equal_when_their_rows_are_whether_or_not_they_were_asked_what_is_due() -> None:
    asked = ComparisonList().extended(3)
    asked.first_due(DEADLINE)
    assert asked == ComparisonList().extended(3)
    assert hash(asked) == hash(ComparisonList().extended(3))
    assert asked != ComparisonList().extended(4)
    assert asked != asked.replaced([Comparison(index=1, attempt=2)])


@pytest.mark.parametrize("index", [-1, 3, 1000])
def test_there_is_nothing_beyond_either_end(index: int) -> None:
    with pytest.raises(IndexError):
        ComparisonList().extended(3)[index]

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cj_stream.domain.index_set import IndexSet, index_range

indexes = st.sets(st.integers(0, 300) | st.integers(0, 20_000))


def made_of(members: set[int]) -> IndexSet:
    found = IndexSet()
    for index in members:
        found = found.toggled(index)
    return found


@given(members=indexes, other=indexes, index=st.integers(0, 300))
def test_an_index_set_behaves_like_a_set_of_its_members(members: set[int], other: set[int], index: int) -> None:
    found = made_of(members)
    assert list(found) == sorted(members)
    assert (len(found), bool(found), index in found) == (len(members), bool(members), index in members)
    assert found == members
    assert members == found
    assert (found == other) == (members == other)
    assert found & other == members & other
    assert other | found == members | other
    assert found.union_of(made_of(other)) == members | other
    assert found.reaches(index) == any(member >= index for member in members)
    assert (hash(found), repr(found)) == (hash(made_of(members)), f"IndexSet({sorted(members)})")


@given(members=indexes, index=st.integers(0, 20_000))
def test_toggling_leaves_the_set_as_it_was_and_twice_is_nothing(members: set[int], index: int) -> None:
    found = made_of(members)
    assert found.toggled(index) == members ^ {index}
    assert found.toggled(index).toggled(index) == found == members


@given(first=st.integers(0, 500), count=st.integers(0, 500))
def test_a_range_of_indexes(first: int, count: int) -> None:
    assert index_range(first, count) == set(range(first, first + count))


def test_nothing_but_an_index_is_in_an_index_set() -> None:
    found = index_range(0, 8)
    assert 3 in found
    assert [member for member in (-1, "3", None, 8) if member in found] == []

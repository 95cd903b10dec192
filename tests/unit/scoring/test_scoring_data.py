from __future__ import annotations

import numpy as np
import pytest

from cj_stream.scoring.estimation.data import Comparisons


def test_comparisons_and_wins_are_counted_for_both_essays() -> None:
    data = Comparisons.from_triples(4, [(0, 1, 1), (1, 2, 0.5), (2, 0, 0.25)])
    assert len(data) == 3
    assert data.comparisons_per_item().tolist() == [2, 2, 2, 0]
    assert data.wins_per_item().tolist() == [1.75, 0.5, 0.75, 0]


def test_no_comparisons_are_valid() -> None:
    data = Comparisons.from_triples(3, [])
    assert len(data) == 0
    assert data.comparisons_per_item().tolist() == [0, 0, 0]
    assert data.wins_per_item().tolist() == [0, 0, 0]


def test_the_arrays_are_copies_that_cannot_be_changed() -> None:
    wins = np.array([1.0])
    data = Comparisons(2, np.array([0]), np.array([1]), wins)
    wins[0] = 0.0
    assert data.first_wins[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        data.first_wins[0] = 0.5


@pytest.mark.parametrize(
    ("n", "triples", "message"),
    [
        (0, [], "at least 1 item"),
        (2, [(0, 1, 1), (0, 2, 1)], "comparison 1: second must be an index from 0 to 1, not 2"),
        (2, [(-1, 1, 1)], "comparison 0: first must be an index from 0 to 1, not -1"),
        (2, [(1, 1, 1)], "comparison 0: an item cannot be compared with itself, not 1"),
        (2, [(0, 1, 1.5)], "comparison 0: first_wins must be from 0 to 1, not 1.5"),
        (2, [(0, 1, float("nan"))], "first_wins must be from 0 to 1, not nan"),
        (2, [(0.5, 1, 1)], "first holds float64 values"),
    ],
)
def test_a_bad_comparison_is_refused_with_its_place_and_reason(
    n: int, triples: list[tuple[int, int, float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Comparisons.from_triples(n, triples)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        Comparisons(3, np.array([0, 1]), np.array([1]), np.array([1.0]))


def test_arrays_of_more_than_one_dimension_are_refused() -> None:
    with pytest.raises(ValueError, match="first has 2 dimensions"):
        Comparisons(3, np.array([[0, 1]]), np.array([1]), np.array([1.0]))

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cj_stream.scoring.estimation.data import Booleans, Comparisons
from cj_stream.scoring.estimation.graph import components, strong_components

Graph = tuple[int, list[tuple[int, int, float]]]


def counts(n: int, triples: list[tuple[int, int, float]]) -> tuple[int, int]:
    data = Comparisons.from_triples(n, triples)
    return components(data).total, strong_components(data).total


def test_without_comparisons_every_essay_is_alone() -> None:
    assert counts(3, []) == (3, 3)


def test_a_chain_of_wins_is_connected_but_not_strongly() -> None:
    assert counts(3, [(0, 1, 1), (1, 2, 1)]) == (1, 3)


def test_a_circle_of_wins_is_strongly_connected() -> None:
    assert counts(3, [(0, 1, 1), (1, 2, 1), (0, 2, 0)]) == (1, 1)


def test_a_tie_counts_as_a_win_for_both() -> None:
    assert counts(3, [(0, 1, 0.5), (1, 2, 0.9)]) == (1, 1)


def test_two_groups_never_compared_are_two_components() -> None:
    assert counts(4, [(0, 1, 0.5), (2, 3, 1)]) == (2, 3)


def test_a_chain_of_two_thousand_essays_needs_no_recursion() -> None:
    assert counts(2000, [(i, i + 1, 1) for i in range(1999)]) == (1, 2000)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    n = draw(st.integers(2, 9))
    items = st.integers(0, n - 1)
    pairs = st.tuples(items, items).filter(lambda pair: pair[0] != pair[1])
    return n, [
        (i, j, w) for (i, j), w in draw(st.lists(st.tuples(pairs, st.sampled_from([0.0, 0.5, 1.0])), max_size=20))
    ]


@settings(deadline=None, print_blob=True)
@given(graphs())
def test_the_counts_agree_with_reachability(graph: Graph) -> None:
    n, triples = graph
    beats = np.eye(n, dtype=bool)
    for i, j, share in triples:
        beats[i, j] |= share > 0
        beats[j, i] |= share < 1

    def classes(relation: Booleans) -> int:
        reach = np.linalg.matrix_power(relation.astype(int), n) > 0
        return len({tuple(row) for row in (reach & reach.T).tolist()})

    assert counts(n, triples) == (classes(beats | beats.T), classes(beats))

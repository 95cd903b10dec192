"""Random perfect matchings: every essay once per round, no pair twice."""

from __future__ import annotations

import numpy as np

from cj_stream.scoring.estimation.data import Booleans, Floats, Integers

Pair = tuple[int, int]

# A random greedy matching that cannot be completed is thrown away this many times before a smaller one is taken.
_ATTEMPTS = 16


def random_matchings(count: int, free: Booleans, appearances: Integers, rng: np.random.Generator) -> list[Pair]:
    """Draw ``count`` pairs, or all free ones if these are fewer, as successive random matchings without repeats.

    While the free pairs allow it, every round holds every essay once; with an odd number, one that has appeared most
    often sits out. When they allow no perfect matching, a round is the largest matching found, so that in the end
    every free pair is drawn.

    Args:
        count: number of pairs wanted.
        free: (n, n) symmetric, which pairs may be drawn.
        appearances: (n,) how often each essay has appeared before.
        rng: source of randomness.

    """
    free, appearances = free.copy(), appearances.copy()
    pairs: list[Pair] = []
    while len(pairs) < count and free.any():
        matching = _largest_matching(free, appearances, rng)[: count - len(pairs)]
        for i, j in matching:
            free[i, j] = free[j, i] = False
            appearances[[i, j]] += 1
        pairs += matching
    return pairs


def _largest_matching(free: Booleans, appearances: Integers, rng: np.random.Generator) -> list[Pair]:
    perfect = int(free.any(axis=1).sum()) // 2
    best: list[Pair] = []
    for attempt in range(_ATTEMPTS):
        # In the later attempts everybody may play: a full round matters more than who sits out.
        order = _fewest_appearances_first(appearances, rng, one_rests=attempt < _ATTEMPTS // 2)
        matching = _Matching(free, appearances, order, rng).pairs()
        best = max(best, matching, key=len)
        if len(best) == perfect:
            break
    return best


def _fewest_appearances_first(appearances: Integers, rng: np.random.Generator, *, one_rests: bool) -> Integers:
    n = len(appearances)
    shuffle: Floats = rng.random(n)
    order: Integers = np.lexsort((shuffle, appearances))
    return order[:-1] if one_rests and n % 2 else order


class _Matching:
    """A maximal matching among the essays in ``order``, repaired where two essays were left over."""

    def __init__(self, free: Booleans, appearances: Integers, order: Integers, rng: np.random.Generator) -> None:
        self._free = free
        self._appearances = appearances
        self._order = order
        self._rng = rng
        self._single = np.zeros(len(free), dtype=np.bool_)
        self._single[order] = True
        self._partner = np.full(len(free), -1)
        for essay in order:
            self._join_a_single(essay)
        self._repair()

    def pairs(self) -> list[Pair]:
        """Return the pairs, those of the essays first in the order first."""
        pairs, listed = [], set()
        for essay in self._order.tolist():
            partner = int(self._partner[essay])
            if partner >= 0 and essay not in listed:
                pairs.append((essay, partner))
                listed.add(partner)
        return pairs

    def _join(self, i: int, j: int) -> None:
        self._partner[i], self._partner[j] = j, i
        self._single[[i, j]] = False

    def _join_a_single(self, essay: int) -> None:
        if self._single[essay]:
            candidates = np.flatnonzero(self._free[essay] & self._single)
            if len(candidates):
                # Those behind first, so that a round cut short still helps them.
                counts = self._appearances[candidates]
                self._join(essay, self._rng.choice(candidates[counts == counts.min()]))

    def _repair(self) -> None:
        left_over = [essay for essay in self._order.tolist() if self._single[essay]]
        for i in left_over:
            for j in left_over:
                if i != j and self._single[i] and self._single[j]:
                    self._split_a_pair_for(i, j)

    def _split_a_pair_for(self, i: int, j: int) -> None:
        """Replace some pair (a, b) by (i, a) and (j, b): an augmenting path of length three."""
        a = np.flatnonzero(self._partner >= 0)
        b = self._partner[a]
        possible = np.flatnonzero(self._free[i, a] & self._free[j, b])
        if len(possible):
            chosen = self._rng.choice(possible)
            self._join(i, int(a[chosen]))
            self._join(j, int(b[chosen]))

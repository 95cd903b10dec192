"""Which pairs to compare next, and in which order to present each pair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cj_stream.scoring.d_optimal import d_optimal_pairs
from cj_stream.scoring.data import Booleans, Integers
from cj_stream.scoring.fit import Fit
from cj_stream.scoring.matching import random_matchings


def plan_pairs(
    n: int, count: int, history: Sequence[tuple[int, int]], fit: Fit | None, seed: int
) -> list[tuple[int, int]]:
    """Plan ``count`` pairs never compared before, or all that are left if these are fewer.

    Without a fit: random perfect matchings. With one: the pairs from which the scores gain most. The order within a
    pair keeps each essay first about as often as second. The same arguments give the same plan.

    Args:
        n: number of essays, the indices 0 .. n - 1.
        count: number of pairs wanted.
        history: all pairs (first, second) planned before, those in flight included; none is planned again.
        fit: the scores so far, or None when there are none to go by.
        seed: seed of the random generator, not negative.

    Returns:
        Ordered pairs (first, second); empty when every pair has been used.

    Raises:
        ValueError: an argument is out of its range; the message says which.

    """
    _check(n, count, fit)
    before = _history(n, history)
    rng = np.random.Generator(np.random.PCG64(seed))
    free = _free(n, before)
    count = min(count, int(free.sum()) // 2)
    if fit is None:
        pairs = random_matchings(count, free, np.bincount(before.ravel(), minlength=n), rng)
    else:
        pairs = d_optimal_pairs(count, free, fit, rng)
    return _in_balanced_order(n, pairs, before, rng)


def _check(n: int, count: int, fit: Fit | None) -> None:
    if n < 1:
        raise ValueError(f"n is {n}: there must be at least 1 essay")
    if count < 0:
        raise ValueError(f"count is {count}: it must not be negative")
    if fit is not None and fit.n != n:
        raise ValueError(f"the fit has {fit.n} essays, but n is {n}")
    if fit is not None and not (np.isfinite(fit.theta).all() and np.isfinite(fit.covariance).all()):
        raise ValueError("the fit holds scores or covariances that are not finite: plan without it")


def _history(n: int, history: Sequence[tuple[int, int]]) -> Integers:
    pairs = np.array(history, dtype=np.int64).reshape(-1, 2)
    wrong = (pairs < 0).any(axis=1) | (pairs >= n).any(axis=1) | (pairs[:, 0] == pairs[:, 1])
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"history[{row}] is {tuple(pairs[row].tolist())}: not two different indices below {n}")
    return pairs


def _free(n: int, before: Integers) -> Booleans:
    free = ~np.eye(n, dtype=np.bool_)
    free[before[:, 0], before[:, 1]] = False
    free[before[:, 1], before[:, 0]] = False
    return free


def _in_balanced_order(
    n: int, pairs: list[tuple[int, int]], before: Integers, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Put first, in each pair, the essay whose first places exceed its second places by less; ties by chance."""
    excess = (np.bincount(before[:, 0], minlength=n) - np.bincount(before[:, 1], minlength=n)).tolist()
    coins = rng.integers(2, size=len(pairs)).tolist()
    ordered = []
    for (i, j), coin in zip(pairs, coins, strict=True):
        i_first = coin == 1 if excess[i] == excess[j] else excess[i] < excess[j]
        first, second = (i, j) if i_first else (j, i)
        excess[first] += 1
        excess[second] -= 1
        ordered.append((first, second))
    return ordered

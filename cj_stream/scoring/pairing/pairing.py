"""Which pairs to compare next, and in which order to present each pair."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np

from cj_stream.scoring.estimation.data import Booleans, Integers
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.pairing.d_optimal import d_optimal_pairs
from cj_stream.scoring.pairing.matching import Pair, random_matchings
from cj_stream.scoring.pairing.neighbours import neighbour_pairs

# Up to this many essays every pick takes into account all that were made before it, which costs n^2 a pick.
SINGLE_PICK_ESSAYS = 60
# Adaptive pairs chosen from less than this make the learnt spread of the scores collapse, and with it reliability.
MIN_RANDOM_ROUNDS = 3


class PairingPolicy(StrEnum):
    """How the pairs of a batch are chosen."""

    ADAPTIVE = "adaptive"
    """Random matchings first, then the pairs from which the scores gain most."""
    RANDOM = "random"
    """Random matchings throughout."""


def plan_pairs(
    n: int,
    count: int,
    history: Sequence[Pair],
    fit: Fit | None,
    seed: int,
    *,
    pending: Sequence[Pair] = (),
    judgements_per_pair: int = 1,
) -> list[Pair]:
    """Plan ``count`` pairs, or all that are left if these are fewer.

    Without a fit: random perfect matchings. With one: the pairs from which the scores gain most, those in flight taken
    as if they had verdicts, so that it makes no difference whether pairs are planned one at a time or many. A pair is
    repeated only when all pairs have been compared equally often, and then in the other order. Otherwise the order
    within a pair keeps each essay first about as often as second. The same arguments give the same plan.

    Args:
        n: number of essays, the indices 0 .. n - 1.
        count: number of pairs wanted.
        history: all pairs (first, second) planned before, oldest first, those in flight included.
        fit: the scores so far, or None when there are none to go by.
        seed: seed of the random generator, not negative.
        pending: those of ``history`` whose verdicts are awaited and not in ``fit``.
        judgements_per_pair: how often a pair may be planned in all; at least 1.

    Returns:
        Ordered pairs (first, second); empty when every pair has been used up.

    Raises:
        ValueError: an argument is out of its range; the message says which.

    """
    _check(n, count, fit, judgements_per_pair)
    before, awaited = _indices(n, history, "history"), _indices(n, pending, "pending")
    rng = np.random.Generator(np.random.PCG64(seed))
    pairs: list[Pair] = []
    while len(pairs) < count:
        planned = np.concatenate((before, np.array(pairs, dtype=np.int64).reshape(-1, 2)))
        free = _free(n, planned, judgements_per_pair)
        wanted = min(count - len(pairs), int(free.sum()) // 2)
        if not wanted:
            break
        pairs += _chosen(wanted, free, fit, planned, np.concatenate((awaited, planned[len(before) :])), rng)
    return _in_order(n, pairs, before, rng)


def _chosen(
    count: int, free: Booleans, fit: Fit | None, planned: Integers, pending: Integers, rng: np.random.Generator
) -> list[Pair]:
    if fit is None:
        return random_matchings(count, free, np.bincount(planned.ravel(), minlength=len(free)), rng)
    choose = d_optimal_pairs if fit.n <= SINGLE_PICK_ESSAYS else neighbour_pairs
    return choose(count, free, fit, pending, rng)


def _check(n: int, count: int, fit: Fit | None, judgements_per_pair: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}: there must be at least 1 essay")
    if count < 0:
        raise ValueError(f"count is {count}: it must not be negative")
    if judgements_per_pair < 1:
        raise ValueError(f"judgements_per_pair is {judgements_per_pair}: it must be at least 1")
    if fit is not None and fit.n != n:
        raise ValueError(f"the fit has {fit.n} essays, but n is {n}")
    if fit is not None and not (np.isfinite(fit.theta).all() and np.isfinite(fit.covariance).all()):
        raise ValueError("the fit holds scores or covariances that are not finite: plan without it")


def _indices(n: int, pairs: Sequence[Pair], name: str) -> Integers:
    array = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    wrong = (array < 0).any(axis=1) | (array >= n).any(axis=1) | (array[:, 0] == array[:, 1])
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{name}[{row}] is {tuple(array[row].tolist())}: not two different indices below {n}")
    return array


def _free(n: int, planned: Integers, judgements_per_pair: int) -> Booleans:
    """(n, n) the pairs planned least often, unless that is already as often as allowed."""
    times = np.bincount(planned @ (n, 1), minlength=n * n).reshape(n, n)
    times += times.T
    np.fill_diagonal(times, judgements_per_pair)
    least = times.min()
    free: Booleans = times == least
    return free if least < judgements_per_pair else np.zeros_like(free)


def _in_order(n: int, pairs: list[Pair], before: Integers, rng: np.random.Generator) -> list[Pair]:
    """Present a repeated pair the other way round, and first, in a new one, the essay that has been second more.

    Ties are broken by chance.
    """
    excess = (np.bincount(before[:, 0], minlength=n) - np.bincount(before[:, 1], minlength=n)).tolist()
    latest = {frozenset(pair): pair for pair in map(tuple, before.tolist())}
    ordered: list[Pair] = []
    for (i, j), coin in zip(pairs, rng.integers(2, size=len(pairs)).tolist(), strict=True):
        first_before = latest.get(frozenset((i, j)), (None, None))[0]
        if first_before is not None:
            i_first = first_before == j
        else:
            i_first = coin == 1 if excess[i] == excess[j] else excess[i] < excess[j]
        first, second = (i, j) if i_first else (j, i)
        latest[frozenset((i, j))] = (first, second)
        excess[first] += 1
        excess[second] -= 1
        ordered.append((first, second))
    return ordered

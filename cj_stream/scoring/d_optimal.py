"""Adaptive pairs: those from which the scores, taken together, are expected to gain most information."""

from __future__ import annotations

import math

import numpy as np

from cj_stream.scoring.data import Booleans, Floats, Integers
from cj_stream.scoring.fit import Fit

# Up to this many essays the covariance is updated after every pick; above it after a block of disjoint pairs, because
# an update costs n^2. Disjoint pairs tell little about each other: no loss was measured at 100 essays.
SINGLE_PICK_ESSAYS = 60
# Keeps a pair of no measurable information eligible: it is still the best when it is the only one left.
_TINY = 1e-12


def d_optimal_pairs(count: int, free: Booleans, fit: Fit, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Choose ``count`` of the free pairs, greedily by the expected drop of the log determinant of the covariance.

    A pick with expected information w = E[p (1 - p)] on the difference d gains log(1 + w Var(d)), and lowers the
    covariance as if it had been made, outcome unknown (D-optimal design: Chaloner and Verdinelli 1995). An essay is
    picked at most twice as often as the average, at least twice, as long as that leaves any pair.

    Args:
        count: number of pairs, at most the number of free ones.
        free: (n, n) symmetric, which pairs may be chosen.
        fit: scores of the n essays and their covariance, finite.
        rng: breaks ties.

    """
    n = fit.n
    covariance, weight = fit.covariance, _expected_information(fit, free, rng)
    load, cap = np.zeros(n, dtype=np.int64), max(2, math.ceil(4 * count / n))
    block_size = 1 if n <= SINGLE_PICK_ESSAYS else n // 4
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        gain = _difference_variance(covariance)
        gain *= weight
        gain[load >= cap] = 0.0
        gain[:, load >= cap] = 0.0
        block = _best_disjoint(gain, min(block_size, count - len(chosen)))
        if not block:
            cap *= 2  # only essays at the cap have free pairs left
            continue
        i, j = np.array(block).T
        covariance = _after(covariance, i, j, weight[i, j])
        weight[i, j] = weight[j, i] = 0.0
        load[i] += 1
        load[j] += 1
        chosen += block
    return chosen


def _expected_information(fit: Fit, free: Booleans, rng: np.random.Generator) -> Floats:
    """E[p (1 - p)] of every free pair, 0 for the others.

    The average over the uncertainty of the difference uses the logistic-normal approximation of MacKay (1992).
    """
    slope = 1.0 / np.sqrt(1.0 + np.pi / 8.0 * _difference_variance(fit.covariance))
    tangent = np.tanh(0.5 * slope * (fit.theta[:, None] - fit.theta[None, :]))
    information = np.maximum(0.25 * slope * (1.0 - tangent**2), _TINY)
    ties = 1.0 + 1e-9 * rng.random(fit.n)
    return information * ties[:, None] * ties * free


def _difference_variance(covariance: Floats) -> Floats:
    variance = np.diag(covariance)
    difference: Floats = -2.0 * covariance
    difference += variance[:, None]
    difference += variance
    return np.maximum(difference, _TINY, out=difference)


def _best_disjoint(gain: Floats, size: int) -> list[tuple[int, int]]:
    """Let essays choose the best partner still available, those with most to gain first, up to ``size`` pairs.

    The first pair is the one with the largest gain of all.
    """
    available = np.ones(len(gain))
    pairs: list[tuple[int, int]] = []
    for i in np.argsort(-gain.max(axis=1), kind="stable").tolist():
        if len(pairs) == size:
            break
        if available[i]:
            offers = gain[i] * available
            j = int(offers.argmax())
            if offers[j] > 0.0:
                available[[i, j]] = 0.0
                pairs.append((i, j))
    return pairs


def _after(covariance: Floats, i: Integers, j: Integers, information: Floats) -> Floats:
    """Covariance after comparisons of the pairs (i, j) with the given information (Woodbury identity)."""
    columns = covariance[:, i] - covariance[:, j]
    inner = columns[i] - columns[j]
    inner[np.diag_indices(len(i))] += 1.0 / information
    lowered: Floats = covariance - columns @ np.linalg.inv(inner) @ columns.T
    return lowered

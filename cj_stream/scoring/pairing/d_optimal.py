"""Adaptive pairs for small batches: those from which the scores, taken together, are expected to gain most."""

from __future__ import annotations

import math

import numpy as np

from cj_stream.scoring.estimation.data import Booleans, Floats, Integers
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.pairing.information import (
    covariance_after,
    covariance_with_pending,
    difference_variance,
    expected_information,
)


def d_optimal_pairs(
    count: int, free: Booleans, fit: Fit, pending: Integers, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Choose ``count`` of the free pairs, greedily by the expected drop of the log determinant of the covariance.

    A pick with expected information w = E[p (1 - p)] on the difference d gains log(1 + w Var(d)), and lowers the
    covariance as if it had been made, outcome unknown (D-optimal design: Chaloner and Verdinelli 1995). Pending pairs
    are picks made before, so it is the same plan whether asked for at once or bit by bit. An essay is picked at most
    twice as often as the average, at least twice, as long as that leaves any pair.

    Args:
        count: number of pairs, at most the number of free ones.
        free: (n, n) symmetric, which pairs may be chosen.
        fit: scores of the n essays and their covariance, finite.
        pending: (m, 2) pairs whose verdicts are awaited.
        rng: breaks ties.

    """
    n, covariance = fit.n, covariance_with_pending(fit, pending)
    weight = _expected_information(fit, rng) * free
    load, cap = np.bincount(pending.ravel(), minlength=n), max(2, math.ceil(4 * (count + len(pending)) / n))
    chosen: list[tuple[int, int]] = []
    while len(chosen) < count:
        gain = difference_variance(covariance)
        gain *= weight
        gain[load >= cap] = 0.0
        gain[:, load >= cap] = 0.0
        i, j = divmod(int(gain.argmax()), n)
        if not gain[i, j]:
            cap *= 2  # only essays at the cap have free pairs left
            continue
        covariance = covariance_after(covariance, np.array([i]), np.array([j]), weight[i, j])
        weight[i, j] = weight[j, i] = 0.0
        load[[i, j]] += 1
        chosen.append((i, j))
    return chosen


def _expected_information(fit: Fit, rng: np.random.Generator) -> Floats:
    information = expected_information(fit.theta[:, None] - fit.theta[None, :], difference_variance(fit.covariance))
    ties = 1.0 + 1e-9 * rng.random(fit.n)
    return information * ties[:, None] * ties

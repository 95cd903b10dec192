"""What a comparison is expected to tell, before it is made, and how it will narrow the scores."""

from __future__ import annotations

import numpy as np

from cj_stream.scoring.estimation.data import Floats, Integers
from cj_stream.scoring.estimation.fit import Fit

# Keeps a pair of no measurable information eligible: it is still the best when it is the only one left.
TINY = 1e-12
# Pairs in flight are taken into account this many at a time, which bounds the memory for it.
_BLOCK = 500


def expected_information(difference: Floats, variance: Floats) -> Floats:
    """E[p (1 - p)] of comparisons between items whose scores differ by ``difference`` with ``variance``.

    The average over the uncertainty uses the logistic-normal approximation of MacKay (1992). Any shape; never 0.
    """
    slope = 1.0 / np.sqrt(1.0 + np.pi / 8.0 * variance)
    tangent = np.tanh(0.5 * slope * difference)
    return np.maximum(0.25 * slope * (1.0 - tangent**2), TINY)


def difference_variance(covariance: Floats) -> Floats:
    """(n, n) variances of all differences between items, from their (n, n) ``covariance``."""
    variance = np.diag(covariance)
    difference: Floats = -2.0 * covariance
    difference += variance[:, None]
    difference += variance
    return np.maximum(difference, TINY, out=difference)


def covariance_after(covariance: Floats, i: Integers, j: Integers, information: Floats) -> Floats:
    """(n, n) covariance after comparisons of the pairs (i, j) with the given information (Woodbury identity)."""
    columns = covariance[:, i] - covariance[:, j]
    inner = columns[i] - columns[j]
    inner[np.diag_indices(len(i))] += 1.0 / information
    lowered: Floats = covariance - columns @ np.linalg.solve(inner, columns.T)
    return lowered


def covariance_with_pending(fit: Fit, pending: Integers) -> Floats:
    """(n, n) covariance once the ``pending`` comparisons (m, 2) have verdicts, whatever these will be."""
    covariance = fit.covariance
    for start in range(0, len(pending), _BLOCK):
        i, j = pending[start : start + _BLOCK].T
        variance = fit.covariance[i, i] + fit.covariance[j, j] - 2.0 * fit.covariance[i, j]
        covariance = covariance_after(covariance, i, j, expected_information(fit.theta[i] - fit.theta[j], variance))
    return covariance

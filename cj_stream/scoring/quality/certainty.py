"""How certain the grades are that given boundaries on the scale would cut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cj_stream.scoring.estimation.data import Floats
from cj_stream.scoring.estimation.fit import Fit

_SMALLEST_VARIANCE = 1e-300


def classification_accuracy(fit: Fit, levels: Sequence[float] = (), marks: Sequence[int] = ()) -> float | None:
    """Return the expected share of items that get the right grade (Rudner 2005), normal approximation.

    Each item is given its most probable grade, and the probabilities are averaged over the items. An item that marks a
    boundary is left out: it stands where it stands. None without boundaries.

    Args:
        fit: scores and their covariance.
        levels: boundaries as points on the centred scale, logits.
        marks: boundaries as indices of the items that mark them.

    """
    graded = np.setdiff1d(np.arange(fit.n), marks)
    if not (len(levels) + len(marks) and len(graded)):
        return None
    above = [chance_above_level(fit, level) for level in levels] + [chance_above_item(fit, mark) for mark in marks]
    from_lowest = sorted(above, key=lambda probabilities: -float(probabilities.sum()))
    edges = np.vstack((np.ones(fit.n), *from_lowest, np.zeros(fit.n)))
    return float((edges[:-1] - edges[1:]).max(axis=0)[graded].mean())


def chance_above_level(fit: Fit, level: float) -> Floats:
    """(n,) probability that each item is truly above a point of the scale, logits; normal approximation."""
    return _normal_share(fit.theta - level, np.diag(fit.covariance))


def chance_above_item(fit: Fit, item: int) -> Floats:
    """(n,) probability that each item is truly better than this one, of which it says .5; normal approximation."""
    variance = np.diag(fit.covariance)
    shared = fit.covariance[:, item]
    return _normal_share(fit.theta - fit.theta[item], variance + variance[item] - 2.0 * shared)


def _normal_share(difference: Floats, variance: Floats) -> Floats:
    """(n,) probability that a normal variable of this mean and variance is positive."""
    standardized = difference / np.sqrt(np.maximum(variance, _SMALLEST_VARIANCE))
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in standardized.tolist()])

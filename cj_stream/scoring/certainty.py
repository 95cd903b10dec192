"""How certain the grades are that given boundaries on the scale would cut."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cj_stream.scoring.data import Floats
from cj_stream.scoring.fit import Fit


def classification_accuracy(fit: Fit, boundaries: Sequence[float | int]) -> float:
    """Return the expected share of items whose grade is the right one (Rudner 2005), normal approximation.

    Each item is given the grade between the boundaries its score lies between; the probability that its true score
    lies there too is averaged over the items. An item that marks a boundary is left out: it is where it is.

    Args:
        fit: scores and their covariance.
        boundaries: each a point on the centred scale, logits (a float), or the index of the item that marks it (an
            int); in any order, at least one.

    Raises:
        ValueError: there is no boundary, or an index is not that of an item.

    """
    if not boundaries:
        raise ValueError("there are no boundaries: give at least one")
    wrong = [boundary for boundary in boundaries if isinstance(boundary, int) and not 0 <= boundary < fit.n]
    if wrong:
        raise ValueError(f"boundary {wrong[0]} is not the index of one of {fit.n} items")
    above = np.array(sorted((_probability_above(fit, boundary) for boundary in boundaries), key=lambda row: -row.mean()))
    edges = np.vstack((np.ones(fit.n), above, np.zeros(fit.n)))
    in_grade = (edges[:-1] - edges[1:]).max(axis=0)  # the most probable grade is the one its score lies in
    judged = np.setdiff1d(np.arange(fit.n), [boundary for boundary in boundaries if isinstance(boundary, int)])
    return float(in_grade[judged].mean()) if len(judged) else 1.0


def _probability_above(fit: Fit, boundary: float | int) -> Floats:
    """(n,) probability that the true score of each item lies above the boundary."""
    variance = np.diag(fit.covariance)
    level = float(boundary)
    if isinstance(boundary, int):
        variance = variance + variance[boundary] - 2.0 * fit.covariance[:, boundary]
        level = float(fit.theta[boundary])
    standardized = (fit.theta - level) / np.sqrt(np.maximum(variance, 1e-300))
    return np.array([0.5 * math.erfc(-value / math.sqrt(2.0)) for value in standardized.tolist()])

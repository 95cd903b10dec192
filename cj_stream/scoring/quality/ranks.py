"""How sure the ranks are: draws from the distribution of the scores."""

from __future__ import annotations

import numpy as np

from cj_stream.scoring.estimation.data import Integers
from cj_stream.scoring.estimation.fit import Fit

DRAWS = 2000


def rank_intervals(fit: Fit, *, level: float = 0.95, seed: int = 0) -> Integers:
    """(n, 2) best and worst rank of each item that leave out (1 - level) / 2 of the draws on either side.

    The draws are of N(theta, covariance), 2,000 of them; the same seed gives the same intervals.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    values, vectors = np.linalg.eigh(fit.covariance)
    spread = vectors * np.sqrt(np.maximum(values, 0.0))
    draws = fit.theta + rng.standard_normal((DRAWS, fit.n)) @ spread.T
    order = np.argsort(-draws, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.broadcast_to(np.arange(1, fit.n + 1), order.shape), axis=1)
    tail = 0.5 * (1.0 - level)
    low = np.quantile(ranks, tail, axis=0, method="inverted_cdf")
    high = np.quantile(ranks, 1.0 - tail, axis=0, method="inverted_cdf")
    return np.column_stack((low, high)).astype(np.int64)

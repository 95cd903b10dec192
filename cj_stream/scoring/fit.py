"""The result of an estimation: scores, their uncertainty, and what they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.data import Floats, Integers

_NORMAL_QUANTILE_975 = 1.959963984540054


class PositionBias(NamedTuple):
    """Advantage of being presented first, and its standard error, in logits."""

    estimate: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Fit:
    """Scores of ``n`` items on the logit scale.

    Attributes:
        theta: (n,) scores with sum zero.
        covariance: (n, n) covariance of the centred scores; needed whole for differences.
        prior_sd: standard deviation of the prior under which ``theta`` was estimated.
        prior_sd_eb: the width that the data support, without the floor; ``reliability`` rests on it.
        position_bias: advantage of the first presented item; None when it was not estimated.
        reliability: EAP reliability, formula ``reliability.EAP_RELIABILITY_FORMULA``; NaN for one item.
        separation_reliability: SSR, formula ``reliability.SEPARATION_RELIABILITY_FORMULA``; NaN when undefined.
        comparisons_per_item: (n,) number of comparisons of each item.
        wins_per_item: (n,) wins, fractions counted as such.
        components: connected components of the comparison graph. More than 1: only the prior relates them.
        strong_components: strongly connected components of "has beaten". More than 1: without the prior some
            differences would be infinite.
        converged: the last Newton step was below the tolerance.
        iterations: Newton steps of the final estimate.

    """

    theta: Floats
    covariance: Floats
    prior_sd: float
    prior_sd_eb: float
    position_bias: PositionBias | None
    reliability: float
    separation_reliability: float
    comparisons_per_item: Integers
    wins_per_item: Floats
    components: int
    strong_components: int
    converged: bool
    iterations: int

    @property
    def n(self) -> int:
        """Number of items."""
        return len(self.theta)

    @property
    def standard_error(self) -> Floats:
        """(n,) standard errors of the centred scores, from the full covariance."""
        return np.sqrt(np.maximum(np.diag(self.covariance), 0.0))

    @property
    def interval95(self) -> Floats:
        """(n, 2) lower and upper ends of the 95% intervals, normal approximation."""
        reach = _NORMAL_QUANTILE_975 * self.standard_error
        return np.column_stack((self.theta - reach, self.theta + reach))

    @property
    def ranks(self) -> Integers:
        """(n,) ranks 1 (best) .. n, each given once: equal scores are ranked by index, lower index first."""
        ranks = np.empty(self.n, dtype=np.int64)
        ranks[np.argsort(-self.theta, kind="stable")] = np.arange(1, self.n + 1)
        return ranks

    def difference_se(self, i: int, j: int) -> float:
        """Return the standard error of ``theta[i] - theta[j]``."""
        variance = self.covariance[i, i] + self.covariance[j, j] - 2.0 * self.covariance[i, j]
        return math.sqrt(max(float(variance), 0.0))

    def probability_better(self, i: int, j: int) -> float:
        """Return the posterior probability that item i is truly better than item j, normal approximation."""
        error = self.difference_se(i, j)
        if error == 0.0:
            return 0.5
        return 0.5 * math.erfc(-float(self.theta[i] - self.theta[j]) / (error * math.sqrt(2.0)))

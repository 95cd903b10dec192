"""The result of an estimation: scores, their uncertainty, and what they rest on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Floats, Integers

_NORMAL_QUANTILE_975 = 1.959963984540054


class Estimator(StrEnum):
    """How scores are estimated from comparisons."""

    MAP = "map"
    """Maximum a posteriori under a Gaussian prior: finite on every graph, the service's own."""
    MLE = "mle"
    """Maximum likelihood; exists only where every group of items has lost to, and beaten, another."""
    FIRTH = "firth"
    """Bias-reduced maximum likelihood; exists on every connected graph."""
    NMM = "nmm"
    """Win totals adjusted by .3 at both ends, as scales in the style of No More Marking are published."""


class PositionBias(NamedTuple):
    """Advantage of being presented first, and its standard error, in logits."""

    estimate: float
    standard_error: float


@dataclass(frozen=True, eq=False)
class Fit:
    """Scores of ``n`` items on the logit scale.

    Attributes:
        theta: (n,) scores; with sum zero, or on the scale of the anchors when there are any.
        covariance: (n, n) covariance of the scores, needed whole for differences; 0 for anchors. Of the estimator
            ``nmm`` only the diagonal is there, by its convention.
        prior_sd: standard deviation of the prior under which ``theta`` was estimated; infinite when there was none.
        prior_sd_eb: the width that the data support, without the floor.
        position_bias: advantage of the first presented item; None when it was not estimated.
        reliability: EAP reliability of the comparisons, formula ``reliability.EAP_RELIABILITY_FORMULA``, whatever the
            estimator and the anchors; NaN for one item.
        separation_reliability: SSR of ``theta``, anchors left out, formula
            ``reliability.SEPARATION_RELIABILITY_FORMULA``; NaN when undefined.
        comparisons_per_item: (n,) number of comparisons of each item.
        wins_per_item: (n,) wins, fractions counted as such.
        components: connected components of the comparison graph. More than 1: only the prior relates them.
        strong_components: strongly connected components of "has beaten". More than 1: without the prior some
            differences would be infinite.
        converged: the last Newton step was below the tolerance.
        iterations: steps of the final estimate.
        estimator: how ``theta`` was estimated.
        anchored: (k,) items whose score was held.

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
    estimator: Estimator = Estimator.MAP
    anchored: tuple[int, ...] = ()

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

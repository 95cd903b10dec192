"""How much of the spread of the scores is real: each coefficient under its own name, with its formula."""

from __future__ import annotations

import math

from cj_stream.scoring.estimation.data import Floats

EAP_RELIABILITY_FORMULA = "v / (v + mean(SE^2)), v = variance of the posterior means"
SEPARATION_RELIABILITY_FORMULA = "1 - mean(SE^2) / var(theta)"
SEPARATION_RATIO_FORMULA = "G^2 / (1 + G^2), G = SD(theta) / RMSE"

_SMALLEST_GROUP = 2  # one item has no spread


def eap_reliability(theta: Floats, covariance: Floats) -> float:
    """Share of the variance of the true scores that the posterior means carry, 0 .. 1 (Adams 2005).

    By the law of total variance v + mean(SE^2) is the expected spread of the true scores, so it is right for scores
    shrunk by a prior whose width was learnt from the same data, and only for those. NaN for fewer than two items.

    Args:
        theta: (n,) posterior means under the empirical-Bayes prior, logits.
        covariance: (n, n) their posterior covariance.

    """
    if len(theta) < _SMALLEST_GROUP:
        return float("nan")
    variance = _variance(theta, len(theta))
    return variance / (variance + _mean_square_error(covariance))


def separation_reliability(theta: Floats, covariance: Floats) -> float:
    """Scale separation reliability (Andrich 1982; Bramley 2015). Reads too high after adaptive pairing.

    At most 1, negative when the errors exceed the spread. NaN for fewer than two items, or when all scores are equal.

    Args:
        theta: (n,) scores, logits.
        covariance: (n, n) their covariance.

    """
    if len(theta) < _SMALLEST_GROUP or theta.min() == theta.max():
        return float("nan")
    return 1.0 - _mean_square_error(covariance) / _variance(theta, len(theta) - 1)


def separation_ratio_reliability(theta: Floats, covariance: Floats) -> float:
    """Return the other coefficient that is called SSR (Bisson and others 2016): about .5 even on coin flips.

    For comparison with publications that use it. Arguments and NaN as for `separation_reliability`.
    """
    if len(theta) < _SMALLEST_GROUP or theta.min() == theta.max():
        return float("nan")
    variance = _variance(theta, len(theta) - 1)
    return variance / (variance + _mean_square_error(covariance))


def separation(reliability: float) -> float:
    """Return the spread of the true scores in units of their error (Wright and Masters 1982, page 92).

    0 when the errors explain all of the spread, NaN for a reliability that is.
    """
    if math.isnan(reliability):
        return reliability
    positive = max(reliability, 0.0)
    return math.sqrt(positive / (1.0 - positive)) if positive < 1.0 else math.inf


def strata(separation_index: float) -> float:
    """Return how many levels the scores tell apart, three errors of one wide (Wright and Masters 1982, page 106)."""
    return (4.0 * separation_index + 1.0) / 3.0


def _variance(theta: Floats, divisor: int) -> float:
    deviation = theta - theta.sum() / len(theta)
    return float(deviation @ deviation) / divisor


def _mean_square_error(covariance: Floats) -> float:
    return float(covariance.diagonal().sum()) / len(covariance)

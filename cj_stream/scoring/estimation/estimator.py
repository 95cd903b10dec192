"""The service's estimate: maximum a posteriori under a Gaussian prior whose width is learnt from the data."""

from __future__ import annotations

import math

import numpy as np

from cj_stream.scoring.estimation.data import Anchors, Comparisons, Floats
from cj_stream.scoring.estimation.evidence import bounded
from cj_stream.scoring.estimation.fit import Estimator, Fit, PositionBias
from cj_stream.scoring.estimation.graph import components, strong_components
from cj_stream.scoring.estimation.likelihood import Likelihood
from cj_stream.scoring.estimation.newton import Mode, maximize
from cj_stream.scoring.estimation.reliability import eap_reliability, separation_reliability
from cj_stream.scoring.estimation.width import Width, find_width

# A prior narrower than this pulls chain-like graphs too close together; as a floor it cost least in replications.
PRIOR_SD_FLOOR = 2.0
# Squared length of the last Newton step in standard errors: the reliability is then right to six digits.
_RELIABILITY_TOLERANCE = 1e-5


def map_estimate(
    data: Comparisons, *, prior_sd: float | None = None, position: bool = False, anchors: Anchors | None = None
) -> Fit:
    """Estimate the Bradley-Terry scores with their full covariance. Finite on every graph, even without comparisons.

    Args:
        data: the comparisons.
        prior_sd: standard deviation of the Gaussian prior on the scores, logits. None: max(2, s_eb), where s_eb
            maximizes the Laplace approximation of the marginal likelihood times a log-normal hyperprior.
        position: also estimate an advantage of being presented first, prior N(0, 1).
        anchors: items whose scores are held; the others are placed on their scale.

    Raises:
        ValueError: ``prior_sd`` is not a positive finite number, or an anchor is not an item.

    """
    _check(data, prior_sd, anchors)
    search = find_width(data, position)
    near = search.found if search.found.prior_sd > PRIOR_SD_FLOOR else search.median
    sd = near.prior_sd if prior_sd is None else prior_sd
    likelihood = _likelihood(data, sd, position, anchors)
    mode = maximize(likelihood, near.near if anchors is None else likelihood.start())
    covariance = likelihood.covariance(mode.probability)
    reliability = reliability_at(data, search.sceptical, position)
    return assembled(likelihood, mode, covariance, Estimator.MAP, search.found.prior_sd, reliability)


def map_scores(data: Comparisons, prior_sd: float, *, position: bool = False, anchors: Anchors | None = None) -> Floats:
    """Estimate the scores (n,) alone, under a prior of known width: what `map_estimate` gives, without uncertainty.

    Takes time in proportion to the comparisons, where the covariance takes the cube of the items.

    Raises:
        ValueError: as `map_estimate` does.

    """
    _check(data, prior_sd, anchors)
    likelihood = _likelihood(data, prior_sd, position, anchors)
    return _placed(likelihood, maximize(likelihood, likelihood.start()))


def reliability_at(data: Comparisons, width: Width, position: bool) -> float:
    """Return the EAP reliability under a prior of this width, from first-order posterior means.

    At most one half without evidence that the items differ at all.
    """
    likelihood = _likelihood(data, width.prior_sd, position, None)
    mode = maximize(likelihood, width.near, _RELIABILITY_TOLERANCE)
    covariance = likelihood.covariance(mode.probability)
    means = mode.parameters + likelihood.mean_beyond_mode(mode.probability, covariance)
    reliability = eap_reliability(means[: data.n], covariance[: data.n, : data.n])
    return bounded(reliability, likelihood, mode)


def assembled(
    likelihood: Likelihood, mode: Mode, covariance: Floats, estimator: Estimator, prior_sd_eb: float, reliability: float
) -> Fit:
    """Put a fit together from the top of a likelihood and the covariance (size, size) of the parameters there."""
    data, n, anchors = likelihood.data, likelihood.data.n, likelihood.anchors
    theta, of_scores, strong = _placed(likelihood, mode), covariance[:n, :n], strong_components(data).total
    return Fit(
        theta=theta,
        covariance=of_scores,
        prior_sd=likelihood.precision**-0.5 if likelihood.precision else math.inf,
        prior_sd_eb=prior_sd_eb,
        position_bias=_position_bias(mode, covariance) if likelihood.position else None,
        reliability=reliability,
        separation_reliability=_separation_reliability(theta, of_scores, anchors),
        comparisons_per_item=data.comparisons_per_item(),
        wins_per_item=data.wins_per_item(),
        components=components(data).total if strong > 1 else 1,
        strong_components=strong,
        converged=mode.converged,
        iterations=mode.iterations,
        estimator=estimator,
        anchored=() if anchors is None else tuple(anchors.items.tolist()),
    )


def _position_bias(mode: Mode, covariance: Floats) -> PositionBias:
    return PositionBias(float(mode.parameters[-1]), math.sqrt(max(float(covariance[-1, -1]), 0.0)))


def _separation_reliability(theta: Floats, covariance: Floats, anchors: Anchors | None) -> float:
    if anchors is None:
        return separation_reliability(theta, covariance)
    free = np.setdiff1d(np.arange(len(theta)), anchors.items)
    return separation_reliability(theta[free], covariance[np.ix_(free, free)])


def _placed(likelihood: Likelihood, mode: Mode) -> Floats:
    theta = mode.parameters[: likelihood.data.n]
    return theta - theta.mean() if likelihood.anchors is None else theta


def _likelihood(data: Comparisons, prior_sd: float, position: bool, anchors: Anchors | None) -> Likelihood:
    return Likelihood(data, prior_sd**-2, position, float(position), anchors)


def _check(data: Comparisons, prior_sd: float | None, anchors: Anchors | None) -> None:
    if prior_sd is not None and not (math.isfinite(prior_sd) and prior_sd > 0):
        raise ValueError(f"prior_sd is {prior_sd}: it must be a positive finite number of logits, or None")
    if anchors is not None:
        anchors.check(data.n)

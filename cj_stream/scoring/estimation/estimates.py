"""All estimators behind one function; the service itself uses `estimator.map_estimate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cj_stream.scoring.estimation.data import Anchors, Comparisons, Floats, sum_per_item
from cj_stream.scoring.estimation.estimator import assembled, map_estimate, reliability_at
from cj_stream.scoring.estimation.existence import (
    NoEstimateError,
    Obstacle,
    Reason,
    unbounded,
    unbounded_order,
    uncompared,
    unlinked,
)
from cj_stream.scoring.estimation.firth import maximize_firth
from cj_stream.scoring.estimation.fit import Estimator, Fit
from cj_stream.scoring.estimation.graph import components
from cj_stream.scoring.estimation.likelihood import Likelihood
from cj_stream.scoring.estimation.newton import Mode, maximize
from cj_stream.scoring.estimation.width import find_width

NMM_EPSILON = 0.3
"""What the win totals are kept away from none and from all by, in wins."""
# Too little to be seen in the scores, but systems of equations keep a solution where the scores have none.
_LINKED_PRECISION, _UNLINKED_PRECISION = 1e-12, 1e-8
# Variance of a verdict so certain that it places nothing; the adjusted totals of thousands of wins still need more.
_CERTAIN = 1e-7


def estimate(
    data: Comparisons,
    estimator: Estimator = Estimator.MAP,
    *,
    position: bool = False,
    anchors: Anchors | None = None,
) -> Fit:
    """Estimate the scores.

    Args:
        data: the comparisons.
        estimator: which estimate.
        position: also estimate an advantage of being presented first. Its prior is N(0, 1) under ``map``; the others
            use none.
        anchors: items whose score is held; the others are placed on their scale.

    Raises:
        NoEstimateError: the data have no finite estimate of this kind; it says which items are to blame.
        ValueError: an anchor is not an item.

    """
    if anchors is not None:
        anchors.check(data.n)
    if estimator is Estimator.MAP:
        return map_estimate(data, position=position, anchors=anchors)
    likelihood = Likelihood(data, position=position, anchors=anchors)
    _refuse(estimator, _OBSTACLES[estimator](likelihood), data.n)
    mode = _MODES[estimator](likelihood)
    covariance = _diagonal if estimator is Estimator.NMM else Likelihood.covariance
    search = find_width(data, position)
    reliability = reliability_at(data, search.sceptical, position)
    spread = covariance(likelihood, mode.probability)
    return assembled(likelihood, mode, spread, estimator, search.found.prior_sd, reliability)


def _refuse(estimator: Estimator, obstacles: Sequence[Obstacle], n: int) -> None:
    """Raise NoEstimateError unless the estimate exists."""
    if obstacles:
        raise NoEstimateError(estimator, obstacles, n)


def _mle_obstacles(likelihood: Likelihood) -> list[Obstacle]:
    data, anchors = likelihood.data, likelihood.anchors
    return unbounded(data, anchors) or (unbounded_order(data, anchors) if likelihood.position else [])


def _firth_obstacles(likelihood: Likelihood) -> list[Obstacle]:
    return unlinked(likelihood.data, likelihood.anchors) or _order_confounded(likelihood)


def _nmm_obstacles(likelihood: Likelihood) -> list[Obstacle]:
    return uncompared(likelihood.data) or _order_confounded(likelihood)


_OBSTACLES = {
    Estimator.MLE: _mle_obstacles,
    Estimator.FIRTH: _firth_obstacles,
    Estimator.NMM: _nmm_obstacles,
}


def _order_confounded(likelihood: Likelihood) -> list[Obstacle]:
    """Whether scores exist that make every first item better by the same: then the order effect is no other.

    The same as whether it would be infinite had every comparison been a tie.
    """
    if not likelihood.position:
        return []
    even = replace(likelihood.data, first_wins=np.full(len(likelihood.data), 0.5))
    return unbounded_order(even, likelihood.anchors)


def _maximize(likelihood: Likelihood) -> Mode:
    return maximize(likelihood, likelihood.start())


def _maximize_adjusted(likelihood: Likelihood) -> Mode:
    """Solve the equations for the adjusted totals; raise NoEstimateError if they have no finite solution."""
    mode = _maximize(_adjusted(likelihood))
    _refuse(Estimator.NMM, _unreachable(likelihood, mode), likelihood.data.n)
    return mode


def _unreachable(likelihood: Likelihood, mode: Mode) -> list[Obstacle]:
    """Return what has run away: groups that only certain verdicts link any more, or else the order effect."""
    data, anchors = likelihood.data, likelihood.anchors
    open_still = data.where(mode.probability * (1.0 - mode.probability) > _CERTAIN)
    apart = {obstacle.items for obstacle in unlinked(data, anchors)}
    groups = [obstacle.items for obstacle in unlinked(open_still, anchors) if obstacle.items not in apart]
    return [Obstacle(Reason.UNREACHABLE, group) for group in groups] or _order_confounded(
        replace(likelihood, data=open_still)
    )


_MODES = {Estimator.MLE: _maximize, Estimator.FIRTH: maximize_firth, Estimator.NMM: _maximize_adjusted}


def _adjusted(likelihood: Likelihood) -> Likelihood:
    """Move every total of wins W of N comparisons to eps + (N - 2 eps) W / N, and the total of first wins likewise.

    The adjusted totals of a group of linked items need not add up to its comparisons any more; what is missing is
    shared out evenly. Groups that nothing links have a mean of 0 each, which a tiny precision sees to.
    """
    data, pieces = likelihood.data, components(likelihood.data)
    share = data.wins_per_item() / data.comparisons_per_item()
    tilt = NMM_EPSILON * (1.0 - 2.0 * share)
    sizes = np.bincount(pieces.labels)
    tilt -= (np.bincount(pieces.labels, tilt) / sizes)[pieces.labels]
    if likelihood.position:
        tilt = np.append(tilt, NMM_EPSILON * (1.0 - 2.0 * data.first_wins.mean()))
    return replace(likelihood, tilt=tilt, precision=_LINKED_PRECISION if pieces.total == 1 else _UNLINKED_PRECISION)


def _diagonal(likelihood: Likelihood, probability: Floats) -> Floats:
    """Inverse of the curvature's diagonal: the errors of a score when all others were known."""
    data, information = likelihood.data, probability * (1.0 - probability)
    both = sum_per_item(data.first, information, data.n) + sum_per_item(data.second, information, data.n)
    diagonal = np.append(both, information.sum()) if likelihood.position else both
    return np.diag(likelihood.held_at_zero(1.0 / diagonal))

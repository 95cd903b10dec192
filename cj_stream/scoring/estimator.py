"""The estimate: maximum a posteriori under a Gaussian prior whose width is learnt from the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.data import Comparisons, Floats
from cj_stream.scoring.fit import Fit, PositionBias
from cj_stream.scoring.graph import count_components, count_strong_components
from cj_stream.scoring.posterior import Posterior
from cj_stream.scoring.reliability import eap_reliability, separation_reliability

# A prior narrower than this pulls chain-like graphs too close together; as a floor it cost least in replications.
PRIOR_SD_FLOOR = 2.0
# The hyperprior of the prior's width: log s ~ N(log 2, 1), in logits.
HYPERPRIOR_MEDIAN = 2.0
# Widths that are tried: 0.1 .. 10.8 logits, the hyperprior's median among them.
PRIOR_SD_GRID = HYPERPRIOR_MEDIAN * 1.4 ** np.arange(-9.0, 6.0)
_MEDIAN_INDEX = 9

MAX_ITERATIONS = 100
# Squared length of the last Newton step in standard errors. Convergence is quadratic: what remains is far smaller.
MODE_TOLERANCE = 1e-14
# The evidence is only compared between grid points.
GRID_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class _Mode:
    parameters: Floats
    converged: bool
    iterations: int


def map_estimate(data: Comparisons, *, prior_sd: float | None = None, position: bool = False) -> Fit:
    """Estimate the Bradley-Terry scores with their full covariance. Finite on every graph, even without comparisons.

    Args:
        data: the comparisons.
        prior_sd: standard deviation of the Gaussian prior on the scores, logits. None: max(2, s_eb), where s_eb
            maximizes the Laplace approximation of the marginal likelihood times a log-normal hyperprior. A very
            wide prior (1e4) gives the maximum likelihood estimate where that exists.
        position: also estimate an advantage of being presented first, prior N(0, 1).

    Raises:
        ValueError: ``prior_sd`` is not a positive finite number.

    """
    if prior_sd is not None and not (math.isfinite(prior_sd) and prior_sd > 0):
        raise ValueError(f"prior_sd is {prior_sd}: it must be a positive finite number of logits, or None")
    prior_sd_eb, near = _empirical_bayes(data, position)
    eb_posterior = Posterior(data, prior_sd_eb, position)
    eb_mode = _maximize(eb_posterior, near, MODE_TOLERANCE)
    used_sd = max(PRIOR_SD_FLOOR, prior_sd_eb) if prior_sd is None else prior_sd
    posterior = Posterior(data, used_sd, position)
    mode = eb_mode if used_sd == prior_sd_eb else _maximize(posterior, eb_mode.parameters, MODE_TOLERANCE)
    return _fit(posterior, mode, prior_sd_eb, _reliability(eb_posterior, eb_mode))


def _fit(posterior: Posterior, mode: _Mode, prior_sd_eb: float, reliability: float) -> Fit:
    data, n = posterior.data, posterior.data.n
    covariance = posterior.covariance(mode.parameters)
    theta = mode.parameters[:n] - mode.parameters[:n].mean()
    bias = PositionBias(float(mode.parameters[n]), math.sqrt(covariance[n, n])) if posterior.position else None
    return Fit(
        theta=theta,
        covariance=covariance[:n, :n],
        prior_sd=posterior.prior_sd,
        prior_sd_eb=prior_sd_eb,
        position_bias=bias,
        reliability=reliability,
        separation_reliability=separation_reliability(theta, covariance[:n, :n]),
        comparisons_per_item=data.comparisons_per_item(),
        wins_per_item=data.wins_per_item(),
        components=count_components(data),
        strong_components=count_strong_components(data),
        converged=mode.converged,
        iterations=mode.iterations,
    )


def _reliability(posterior: Posterior, mode: _Mode) -> float:
    n = posterior.data.n
    return eap_reliability(mode.parameters[:n], posterior.covariance(mode.parameters)[:n, :n])


def _empirical_bayes(data: Comparisons, position: bool) -> tuple[float, Floats]:
    """Find the width of the prior that the data support, and the mode at the nearest point of the grid.

    Climbs the grid from the hyperprior's median. Very few data sets have a second top, at a width far out; the near
    one is the cautious choice. Not by EM on the modes: that takes each mode for the truth, and the width collapses.
    """
    top, best = -1, _MEDIAN_INDEX
    points = {best: _evidence_at(best, data, position, np.zeros(data.n + int(position)))}
    while best != top:
        top = best
        for index in {max(top - 1, 0), min(top + 1, len(PRIOR_SD_GRID) - 1)} - points.keys():
            points[index] = _evidence_at(index, data, position, points[top].mode)
        best = max((index for index in points if abs(index - top) <= 1), key=lambda index: points[index].log_evidence)
    return _peak({index: points[index].log_evidence for index in points}, best), points[best].mode


class _GridPoint(NamedTuple):
    log_evidence: float
    mode: Floats


def _evidence_at(index: int, data: Comparisons, position: bool, start: Floats) -> _GridPoint:
    posterior = Posterior(data, float(PRIOR_SD_GRID[index]), position)
    mode = _maximize(posterior, start, GRID_TOLERANCE).parameters
    log_hyperprior = -0.5 * math.log(posterior.prior_sd / HYPERPRIOR_MEDIAN) ** 2
    return _GridPoint(posterior.log_evidence(mode) + log_hyperprior, mode)


def _peak(log_evidence: dict[int, float], best: int) -> float:
    """Width at the top of the parabola, in log width, through the best point of the grid and its neighbours."""
    if best in {0, len(PRIOR_SD_GRID) - 1}:
        return float(PRIOR_SD_GRID[best])
    left, top, right = (log_evidence[index] for index in (best - 1, best, best + 1))
    bend = left - 2.0 * top + right
    shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
    return float(PRIOR_SD_GRID[best] * (PRIOR_SD_GRID[1] / PRIOR_SD_GRID[0]) ** shift)


def _maximize(posterior: Posterior, start: Floats, tolerance: float) -> _Mode:
    """Climb to the mode by Newton's method with step halving; the log density is strictly concave."""
    parameters = start
    for iteration in range(1, MAX_ITERATIONS + 1):
        gradient = posterior.gradient(parameters)
        step = np.linalg.solve(posterior.curvature(parameters), gradient).astype(np.float64, copy=False)
        parameters = _climb(posterior, parameters, step)
        if gradient @ step <= tolerance:
            return _Mode(parameters, converged=True, iterations=iteration)
    return _Mode(parameters, converged=False, iterations=MAX_ITERATIONS)


def _climb(posterior: Posterior, parameters: Floats, step: Floats) -> Floats:
    height = posterior.log_density(parameters)
    slack = 1e-12 * (1.0 + abs(height))  # close to the top, a correct step is lost in the rounding of the density
    for _ in range(40):
        if posterior.log_density(parameters + step) >= height - slack:
            return parameters + step
        step = 0.5 * step
    return parameters

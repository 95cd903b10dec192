"""The width of the prior that the data themselves support (empirical Bayes): for the scores, and for reliability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Comparisons, Floats
from cj_stream.scoring.estimation.likelihood import Likelihood, skewness
from cj_stream.scoring.estimation.newton import Mode, conjugate_gradients, maximize

NARROWEST, WIDEST = 0.1, 10.0
# A search ends when the product of its next and its last error is below this: the width then errs by about 1e-4.
_TOLERANCE = 5e-4
_LONGEST_STEP = math.log(2.5)
_MAX_STEPS = 30
# Squared length, in standard errors, of the last Newton step to the mode at a width on trial.
_TRIAL_TOLERANCE = 1e-3
# From this many items on traces are estimated from random signs: exact ones take time in proportion to the items cubed.
ESTIMATED_ITEMS = 400
_PROBES, _PROBE_SEED, _PROBE_ACCURACY = 4, 19, 1e-2


class Hyperprior(NamedTuple):
    """What is thought of the prior's width s before there are data: log s ~ N(log ``median``, ``deviation``^2)."""

    median: float
    deviation: float

    def slope(self, log_width: float) -> float:
        """Return the derivative of the log density of log s."""
        return (math.log(self.median) - log_width) / self.deviation**2


OPEN = Hyperprior(2.0, 1.0)
"""For the scores: essays differ, and a width too small would pull them together. The search starts at its median."""
SCEPTICAL = Hyperprior(0.2, 1.5)
"""For their reliability: as likely as not there is next to no difference, so that coin flips do not seem reliable."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What is known at one width of the prior.

    Attributes:
        log_width: log of the prior's standard deviation in logits.
        mode: the top of the likelihood with this prior, to a thousandth of a standard error or better.
        drift: (size,) derivative of the mode with respect to the log width.
        mean_variance: mean posterior variance of the centred scores.
        slope: derivative of the log evidence with respect to the log width, without a hyperprior.

    """

    log_width: float
    mode: Mode
    drift: Floats
    mean_variance: float
    slope: float


# The last two; the first has none before it.
Trials = tuple[Trial | None, Trial]


class Width(NamedTuple):
    """A width of the prior, and scores close to the mode under it."""

    prior_sd: float
    near: Floats


class Search(NamedTuple):
    """The widths of interest: where the search starts, and what the data support under either hyperprior."""

    median: Width
    found: Width
    sceptical: Width


def find_width(data: Comparisons, position: bool) -> Search:
    """Find the widths with the largest evidence, 0.1 .. 10 logits.

    From the median of the open hyperprior to the next top of the evidence, by the secant method on its slope, and from
    there to the next top under the sceptical one. Very few data sets have a second top, at a width far out; the near
    one is the cautious choice. Not by EM on the modes: that takes each mode for the truth, and the width collapses.
    """
    start = Likelihood(data, OPEN.median**-2, position, float(position)).start()
    median = _trial(data, position, math.log(OPEN.median), start)
    trials, found = _top(data, position, (None, median), OPEN)
    _, sceptical = _top(data, position, trials, SCEPTICAL)
    return Search(Width(OPEN.median, median.mode.parameters), found, sceptical)


def _top(data: Comparisons, position: bool, trials: Trials, hyperprior: Hyperprior) -> tuple[Trials, Width]:
    """Go on from the last trials to the top of the evidence times the hyperprior; return the newest trials as well."""
    (before, now), low, high = trials, math.log(NARROWEST), math.log(WIDEST)
    for _ in range(_MAX_STEPS):
        rising = now.slope + hyperprior.slope(now.log_width) > 0.0
        low, high = (now.log_width, high) if rising else (low, now.log_width)
        step = _step(before, now, hyperprior, low, high)
        last_error = math.inf if before is None else step + now.log_width - before.log_width
        if step == 0.0 or abs(step * last_error) < _TOLERANCE:
            break
        before, now = now, _trial(data, position, now.log_width + step, now.mode.parameters + step * now.drift)
    return (before, now), Width(math.exp(now.log_width + step), now.mode.parameters + step * now.drift)


def _step(before: Trial | None, now: Trial, hyperprior: Hyperprior, low: float, high: float) -> float:
    """How far to go, in log width, within the bounds."""
    slope = now.slope + hyperprior.slope(now.log_width)
    step = slope / _first_bend(now, hyperprior)
    if before is not None:
        bend = (now.slope - before.slope) / (now.log_width - before.log_width) - hyperprior.deviation**-2
        step = -slope / bend if bend < 0.0 else step
    to = now.log_width + min(max(step, -_LONGEST_STEP), _LONGEST_STEP)
    if before is not None and not low < to < high and math.log(NARROWEST) < low and high < math.log(WIDEST):
        to = 0.5 * (low + high)
    return min(max(to, low), high) - now.log_width


def _first_bend(now: Trial, hyperprior: Hyperprior) -> float:
    # The slope falls by about as much as the data determine: the number of scores, less what the prior does.
    n, variance = len(now.drift), math.exp(2.0 * now.log_width)
    return max(n - n * now.mean_variance / variance, hyperprior.deviation**-2)


def _trial(data: Comparisons, position: bool, log_width: float, start: Floats) -> Trial:
    """Find the mode and the slope of the evidence at a width.

    The evidence is the Laplace approximation of the marginal likelihood (Tierney and Kadane 1986) of the scores of
    mean zero. The slope takes into account that the curvature changes with the mode.
    """
    likelihood = Likelihood(data, math.exp(-2.0 * log_width), position, float(position))
    mode = maximize(likelihood, start, _TRIAL_TOLERANCE)
    pull = likelihood.prior_pull(mode.parameters)
    pull[data.n :] = 0.0
    spread = _Spread(likelihood, mode)
    drift = spread.solve(2.0 * pull)
    trace, bending = spread.traces(skewness(mode.probability) * likelihood.contrast(drift))
    fit = float(pull @ mode.parameters) + likelihood.precision * trace - (data.n - 1)
    return Trial(log_width, mode, drift, trace / data.n, fit - 0.5 * bending)


class _Spread:
    """The posterior covariance at a mode: whole for few items, by products with random signs for many."""

    def __init__(self, likelihood: Likelihood, mode: Mode) -> None:
        self._likelihood, self._probability = likelihood, mode.probability
        dense = likelihood.data.n < ESTIMATED_ITEMS
        self._covariance = likelihood.covariance(mode.probability) if dense else None

    def solve(self, target: Floats) -> Floats:
        """Return the product of the covariance and ``target`` (size,)."""
        if self._covariance is not None:
            return self._covariance @ target
        return conjugate_gradients(self._likelihood, self._probability, target, _PROBE_ACCURACY)

    def traces(self, weights: Floats) -> tuple[float, float]:
        """Return the sum of the scores' variances, and the sum of the logits' variances times ``weights`` (m,)."""
        if self._covariance is None:
            return self._estimated_traces(weights)
        variance = np.diag(self._covariance)[: self._likelihood.data.n]
        return float(variance.sum()), float(weights @ self._likelihood.logit_variance(self._covariance))

    def _estimated_traces(self, weights: Floats) -> tuple[float, float]:
        # Random signs (Hutchinson 1990), the same at every width, so that the slope is a smooth function of it.
        n, rng = self._likelihood.data.n, np.random.Generator(np.random.PCG64(_PROBE_SEED))
        trace = weighted = 0.0
        for _ in range(_PROBES):
            signs = rng.choice((-1.0, 1.0), self._likelihood.size)
            signs[:n] -= signs[:n].mean()
            image = self.solve(signs)
            trace += float(signs[:n] @ image[:n]) / _PROBES
            products = self._likelihood.contrast(signs) * self._likelihood.contrast(image)
            weighted += float(weights @ products) / _PROBES
        return trace, weighted

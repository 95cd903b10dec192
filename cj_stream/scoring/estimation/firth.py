"""Bias-reduced maximum likelihood (Firth 1993)."""

from __future__ import annotations

import numpy as np

from cj_stream.scoring.estimation.data import Floats
from cj_stream.scoring.estimation.likelihood import Likelihood
from cj_stream.scoring.estimation.newton import Mode

_MAX_ITERATIONS = 200
# Squared length of the last step in standard errors. The convergence is linear: what remains is about as long.
_TOLERANCE = 1e-21
_HALVINGS = 30


def maximize_firth(likelihood: Likelihood) -> Mode:
    """Maximize the log likelihood plus half the log determinant of the information, by scoring.

    In an exponential family that is the likelihood times Jeffreys' prior, and the score equations are those of the
    likelihood with every outcome y replaced by y + h (1/2 - p), h the leverage of the comparison (Firth 1993, section
    3.1; Heinze and Schemper 2002). That is half a win for both sides, weighted by h: a step is one of Newton's with h
    held, so it counts every comparison 1 + h times. Finite wherever the information is not singular.
    """
    parameters = likelihood.start()
    height = _height(likelihood, parameters)
    for iteration in range(1, _MAX_ITERATIONS + 1):
        step, slope = _scoring_step(likelihood, parameters)
        parameters, height = _climb(likelihood, parameters, step, height)
        if slope <= _TOLERANCE:
            return Mode(parameters, likelihood.first_win_probability(parameters), converged=True, iterations=iteration)
    return Mode(parameters, likelihood.first_win_probability(parameters), converged=False, iterations=_MAX_ITERATIONS)


def _scoring_step(likelihood: Likelihood, parameters: Floats) -> tuple[Floats, float]:
    probability = likelihood.first_win_probability(parameters)
    covariance = likelihood.covariance(probability)
    leverage = probability * (1.0 - probability) * likelihood.logit_variance(covariance)
    gradient = likelihood.gradient(parameters, probability - leverage * (0.5 - probability))
    # With the information of the comparisons alone, steps overshoot for ever where a leverage is near 1.
    step = likelihood.covariance(probability, 1.0 + leverage) @ gradient
    return step, float(gradient @ step)


def _height(likelihood: Likelihood, parameters: Floats) -> float:
    curvature = likelihood.curvature(likelihood.first_win_probability(parameters))
    return likelihood.log_density(parameters) + 0.5 * float(np.linalg.slogdet(likelihood.of_free(curvature)).logabsdet)


def _climb(likelihood: Likelihood, parameters: Floats, step: Floats, height: float) -> tuple[Floats, float]:
    for _ in range(_HALVINGS):
        higher = _height(likelihood, parameters + step)
        if higher >= height - 1e-12 * (1.0 + abs(height)):
            return parameters + step, higher
        step = 0.5 * step
    return parameters, height

"""The top of a concave likelihood: Newton's method, its linear systems dense for few items, sparse for many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cj_stream.scoring.estimation.data import Floats, sum_per_item
from cj_stream.scoring.estimation.likelihood import Likelihood

# Squared length of the last Newton step in standard errors. Convergence is quadratic: what remains is far smaller.
MODE_TOLERANCE = 1e-11
MAX_ITERATIONS = 100
# From this many items on, conjugate gradients on the comparisons are faster than a dense factorization.
SPARSE_ITEMS = 150
_HIGHEST_ACCURACY = 1e-6
_HALVINGS = 40


@dataclass(frozen=True, eq=False)
class Mode:
    """Where the likelihood is largest.

    Attributes:
        parameters: (size,) theta, and the order effect if that is a parameter.
        probability: (m,) P(first wins) there.
        converged: the last Newton step was below the tolerance.
        iterations: Newton steps.

    """

    parameters: Floats
    probability: Floats
    converged: bool
    iterations: int


def maximize(likelihood: Likelihood, start: Floats, tolerance: float = MODE_TOLERANCE) -> Mode:
    """Climb to the top from ``start`` (size,), by Newton's method with step halving.

    ``tolerance`` is the squared length of the last step in standard errors.
    """
    parameters = start
    probability = likelihood.first_win_probability(parameters)
    gradient = likelihood.gradient(parameters, probability)
    for iteration in range(1, MAX_ITERATIONS + 1):
        step = newton_step(likelihood, probability, gradient)
        slope = float(gradient @ step)
        parameters, probability, gradient = _climb(likelihood, parameters, step, slope)
        if slope <= tolerance:
            return Mode(parameters, probability, converged=True, iterations=iteration)
    return Mode(parameters, probability, converged=False, iterations=MAX_ITERATIONS)


def newton_step(likelihood: Likelihood, probability: Floats, gradient: Floats) -> Floats:
    """Return the product of the inverse curvature and ``gradient`` (size,): 0 for what is held."""
    if likelihood.data.n >= SPARSE_ITEMS:
        # The closer to the top, the more exact: that keeps the convergence superlinear.
        return conjugate_gradients(likelihood, probability, gradient, min(0.1, float(np.abs(gradient).max())))
    curvature = likelihood.curvature(probability)
    if likelihood.anchors is None:
        return np.linalg.solve(curvature, gradient).astype(np.float64, copy=False)
    curvature = likelihood.of_free(curvature)
    step = np.zeros(likelihood.size)
    step[likelihood.free] = np.linalg.solve(curvature, gradient[likelihood.free])
    return step


def conjugate_gradients(likelihood: Likelihood, probability: Floats, target: Floats, accuracy: float) -> Floats:
    """Solve curvature @ x = ``target`` by conjugate gradients (Hestenes and Stiefel 1952), diagonal preconditioner.

    Args:
        likelihood: whose curvature, without anything added in the direction of the mean.
        probability: (m,) P(first wins) where the curvature is taken.
        target: (size,) 0 for what is held; of mean zero over the items when there are no anchors.
        accuracy: norm of what remains, relative to the target's, both preconditioned.

    """
    information = probability * (1.0 - probability)
    scale = _inverse_diagonal(likelihood, information)
    solution, residual = np.zeros_like(target), target.copy()
    if likelihood.anchors is None:
        residual[: likelihood.data.n] -= residual[: likelihood.data.n].mean()  # no more than rounding
    scaled = scale * residual
    direction, power = scaled, float(residual @ scaled)
    goal = power * max(accuracy, _HIGHEST_ACCURACY) ** 2
    for _ in range(2 * likelihood.size):
        if power <= goal:
            break
        image = likelihood.gather(information * likelihood.contrast(direction)) + likelihood.prior_pull(direction)
        length = power / float(direction @ likelihood.held_at_zero(image))
        solution += length * direction
        residual -= length * image
        scaled = scale * residual
        power, previous = float(residual @ scaled), power
        direction = scaled + (power / previous) * direction
    if likelihood.anchors is None:
        solution[: likelihood.data.n] -= solution[: likelihood.data.n].mean()
    return solution


def _inverse_diagonal(likelihood: Likelihood, information: Floats) -> Floats:
    n = likelihood.data.n
    both = np.concatenate((likelihood.data.first, likelihood.data.second))
    diagonal = sum_per_item(both, np.concatenate((information, information)), n) + likelihood.precision
    if likelihood.position:
        diagonal = np.append(diagonal, information.sum() + likelihood.position_precision)
    return likelihood.held_at_zero(1.0 / np.maximum(diagonal, np.finfo(np.float64).tiny))


def _climb(likelihood: Likelihood, parameters: Floats, step: Floats, slope: float) -> tuple[Floats, Floats, Floats]:
    """Return the next parameters, with their probabilities and gradient."""
    height = None
    for _ in range(_HALVINGS):
        higher = parameters + step
        probability = likelihood.first_win_probability(higher)
        gradient = likelihood.gradient(higher, probability)
        # Still rising at the end of the step, or all but level: then the end is higher, for the density is concave.
        if gradient @ step >= -0.1 * slope:
            return higher, probability, gradient
        if height is None:
            height = likelihood.log_density(parameters)
        # Close to the top, a correct step is lost in the rounding of the density.
        if likelihood.log_density(higher) >= height - 1e-12 * (1.0 + abs(height)):
            return higher, probability, gradient
        step, slope = 0.5 * step, 0.5 * slope
    probability = likelihood.first_win_probability(parameters)
    return parameters, probability, likelihood.gradient(parameters, probability)

"""The penalized likelihood of the Bradley-Terry model: gradient, curvature and covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cj_stream.scoring.estimation.data import Anchors, Comparisons, Floats, Integers, sum_per_item

# A matrix of this size is inverted in one go.
_LARGEST_BLOCK = 200


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Bradley-Terry likelihood (Bradley and Terry 1952), with or without a Gaussian prior.

    P(first wins) = 1 / (1 + exp(-(theta_first - theta_second + b))). The order effect b (Davidson and Beaver 1977, on
    the logit scale) is 0 unless ``position`` is set. Parameters are one vector: theta (n,), followed by b when
    ``position`` is set.

    The prior says that the scores scatter around their common mean with precision ``precision``, and nothing about
    where that mean is; of b it says N(0, 1 / ``position_precision``). Without anchors the data do not say where the
    mean is either: it is 0, and everything here is restricted to scores of mean zero. Anchors are scores that are
    known: they stay as given, and place the others.

    Attributes:
        data: the comparisons.
        precision: 1 / s^2, with s the prior's standard deviation of the scores in logits; 0 for no prior.
        position: whether b is a parameter.
        position_precision: precision of b's prior; 0 for none.
        anchors: items whose score is held, or None.
        tilt: (size,) what is added to the wins that were observed, or None.

    """

    data: Comparisons
    precision: float = 0.0
    position: bool = False
    position_precision: float = 0.0
    anchors: Anchors | None = None
    tilt: Floats | None = None

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.data.n + int(self.position)

    @property
    def free(self) -> Integers:
        """Indices of the parameters that are estimated."""
        everything = np.arange(self.size)
        return everything if self.anchors is None else np.setdiff1d(everything, self.anchors.items)

    def of_free(self, matrix: Floats) -> Floats:
        """Return the rows and columns of ``matrix`` (size, size) that belong to what is estimated."""
        return matrix if self.anchors is None else matrix[np.ix_(self.free, self.free)]

    def start(self) -> Floats:
        """Return parameters to start from, (size,): no differences, no order effect, anchors as given."""
        parameters = np.zeros(self.size)
        if self.anchors is not None:
            parameters[: self.data.n] = self.anchors.theta.mean()
            parameters[self.anchors.items] = self.anchors.theta
        return parameters

    def first_win_probability(self, parameters: Floats) -> Floats:
        """P(first wins) of each comparison, (m,)."""
        # Half a hyperbolic tangent is the logistic function without overflow.
        return 0.5 + 0.5 * np.tanh(0.5 * self.contrast(parameters))

    def contrast(self, vector: Floats) -> Floats:
        """(m,) the first item's entry minus the second's, plus b's: of the parameters, the logits."""
        difference: Floats = vector[self.data.first] - vector[self.data.second]
        return difference + vector[-1] if self.position else difference

    def gather(self, values: Floats) -> Floats:
        """(size,) sums of ``values`` (m,) per parameter, negative for the second item: the transpose of `contrast`."""
        # One more than the items: the last sum is b's, if there is one.
        sums = sum_per_item(self.data.first, values, self.size) - sum_per_item(self.data.second, values, self.size)
        if self.position:
            sums[-1] = values.sum()
        return sums

    def log_density(self, parameters: Floats) -> float:
        """Log of likelihood times prior, without the prior's constant."""
        logit = self.contrast(parameters)
        log_likelihood = self.data.first_wins @ logit - np.logaddexp(0.0, logit).sum()
        tilted = 0.0 if self.tilt is None else self.tilt @ parameters
        return float(log_likelihood + tilted - 0.5 * parameters @ self.prior_pull(parameters))

    def gradient(self, parameters: Floats, probability: Floats) -> Floats:
        """First derivatives of the log density, (size,); 0 for what is held."""
        gradient = self.gather(self.data.first_wins - probability)
        gradient -= self.prior_pull(parameters)
        if self.tilt is not None:
            gradient += self.tilt
        return self.held_at_zero(gradient)

    def held_at_zero(self, vector: Floats) -> Floats:
        """Set the entries of ``vector`` (size,) that belong to anchors to 0, in place, and return it."""
        if self.anchors is not None:
            vector[self.anchors.items] = 0.0
        return vector

    def prior_pull(self, vector: Floats) -> Floats:
        """(size,) product of the prior's precision matrix and a vector."""
        n = self.data.n
        pull = self.precision * vector
        pull[:n] -= self.precision * (vector[:n].sum() / n)
        if self.position:
            pull[n] = self.position_precision * vector[n]
        return pull

    def curvature(self, probability: Floats, weight: Floats | float = 1.0) -> Floats:
        """Negative second derivatives, (size, size); without anchors with 1 added in the direction of the mean.

        The addition changes nothing for scores of mean zero, and keeps the matrix well conditioned. Comparisons count
        as often as ``weight`` (m,) says.
        """
        n, information = self.data.n, weight * probability * (1.0 - probability)
        of_pairs = sum_per_item(self.data.cells, information, n * n).reshape(n, n)
        as_first, as_second = of_pairs.sum(axis=1), of_pairs.sum(axis=0)
        mean = (self.anchors is None) - self.precision
        curvature = np.empty((self.size, self.size))
        np.subtract(mean / n, of_pairs + of_pairs.T, out=curvature[:n, :n])
        curvature.reshape(-1)[: n * self.size : self.size + 1] = as_first + as_second + self.precision + mean / n
        if self.position:
            curvature[n, :n] = curvature[:n, n] = as_first - as_second
            curvature[n, n] = as_first.sum() + self.position_precision
        return curvature

    def covariance(self, probability: Floats, weight: Floats | float = 1.0) -> Floats:
        """Inverse curvature, (size, size): the covariance of centred theta and b, or 0 for anchors and their pairs."""
        curvature = self.curvature(probability, weight)
        if self.anchors is None:
            covariance = inverse(curvature)
            covariance[: self.data.n, : self.data.n] -= 1.0 / self.data.n  # the direction of the mean
        else:
            covariance = np.zeros_like(curvature)
            covariance[np.ix_(self.free, self.free)] = inverse(self.of_free(curvature))
        return covariance

    def logit_variance(self, covariance: Floats) -> Floats:
        """(m,) variances of the logits, from the covariance (size, size) of the parameters."""
        first, second, variance = self.data.first, self.data.second, np.diag(covariance)
        of_logits: Floats = variance[first] + variance[second] - 2.0 * covariance[first, second]
        if self.position:
            of_logits += variance[-1] + 2.0 * (covariance[-1, first] - covariance[-1, second])
        return of_logits

    def mean_beyond_mode(self, probability: Floats, covariance: Floats) -> Floats:
        """(size,) posterior mean minus mode, to the first order (Lindley 1980).

        The likelihood falls more slowly outwards than inwards, so the mean lies further out. ``probability`` (m,) and
        ``covariance`` (size, size) are those at the mode.
        """
        drawn: Floats = covariance @ self.gather(skewness(probability) * self.logit_variance(covariance))
        return -0.5 * drawn


def skewness(probability: Floats) -> Floats:
    """Third derivative of the negative log likelihood with respect to the logit of each comparison, (m,)."""
    third: Floats = probability * (1.0 - probability) * (1.0 - 2.0 * probability)
    return third


def inverse(matrix: Floats) -> Floats:
    """Return the inverse of a symmetric, positive definite matrix; symmetric up to rounding.

    Large ones by blocks (Banachiewicz 1937): half the operations of a general inverse.
    """
    n = len(matrix)
    if n <= _LARGEST_BLOCK:
        whole = np.linalg.inv(matrix)
        return 0.5 * (whole + whole.T)
    half = n // 2
    corner, side = inverse(matrix[:half, :half]), matrix[half:, :half]
    across = side @ corner
    result = np.empty_like(matrix)
    rest = inverse(matrix[half:, half:] - across @ side.T)
    result[half:, half:] = rest
    below = -rest @ across
    result[half:, :half], result[:half, half:] = below, below.T
    result[:half, :half] = corner - across.T @ below
    return result

"""The posterior of the Bradley-Terry model: its log density, gradient, curvature and covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cj_stream.scoring.data import Comparisons, Floats, sum_per_item


@dataclass(frozen=True, eq=False)
class Posterior:
    """Bradley-Terry likelihood (Bradley and Terry 1952) times a Gaussian prior.

    P(first wins) = 1 / (1 + exp(-(theta_first - theta_second + b))), theta ~ N(0, prior_sd^2). The order effect b
    (Davidson and Beaver 1977, on the logit scale) has the prior N(0, 1) when ``position`` is set and is 0 otherwise.
    Parameters are one vector: theta (n,), followed by b when ``position`` is set.

    The data say nothing about the mean of theta, so the mode has mean zero. Everything here is restricted to theta of
    mean zero; the curvature gets 1 added for the direction of the mean, which changes nothing else, and keeps it well
    conditioned however wide the prior is.
    """

    data: Comparisons
    prior_sd: float
    position: bool

    @property
    def size(self) -> int:
        """Number of parameters."""
        return self.data.n + int(self.position)

    def log_density(self, parameters: Floats) -> float:
        """Log of likelihood times prior, without the prior's constant."""
        logit = self._logit(parameters)
        log_likelihood = self.data.first_wins @ logit - np.logaddexp(0.0, logit).sum()
        return float(log_likelihood - 0.5 * (self._prior_precision() * parameters) @ parameters)

    def gradient(self, parameters: Floats) -> Floats:
        """First derivatives of the log density, (size,)."""
        residual = self.data.first_wins - self._first_win_probability(parameters)
        gradient = -self._prior_precision() * parameters
        gradient[: self.data.n] += self._signed_sum(residual)
        if self.position:
            gradient[-1] += residual.sum()
        return gradient

    def curvature(self, parameters: Floats) -> Floats:
        """Negative second derivatives, (size, size), with 1 added in the direction of the mean of theta."""
        n, probability = self.data.n, self._first_win_probability(parameters)
        information = probability * (1.0 - probability)
        curvature = np.empty((self.size, self.size))
        curvature[:n, :n] = self._laplacian(information) + 1.0 / n
        if self.position:
            curvature[:n, -1] = curvature[-1, :n] = self._signed_sum(information)
            curvature[-1, -1] = information.sum()
        curvature[np.diag_indices(self.size)] += self._prior_precision()
        return curvature

    def covariance(self, parameters: Floats) -> Floats:
        """Covariance of (centred theta, b) in the Gaussian approximation at the mode, (size, size)."""
        covariance = np.linalg.inv(self.curvature(parameters))
        theta = covariance[: self.data.n, : self.data.n]
        theta -= theta.mean(axis=0)
        theta -= theta.mean(axis=1)[:, None]
        return 0.5 * (covariance + covariance.T)

    def log_evidence(self, mode: Floats) -> float:
        """Log marginal likelihood of the data given ``prior_sd`` (Laplace: Tierney and Kadane 1986), up to a constant.

        The mean of theta is left out, n - 1 dimensions: the data do not depend on it.
        """
        factor = np.linalg.cholesky(self.curvature(mode))
        log_determinant = 2.0 * np.log(np.diag(factor)).sum() - np.log1p(self.prior_sd**-2)
        return float(self.log_density(mode) - (self.data.n - 1) * np.log(self.prior_sd) - 0.5 * log_determinant)

    def _prior_precision(self) -> Floats:
        precision = np.full(self.size, self.prior_sd**-2)
        if self.position:
            precision[-1] = 1.0
        return precision

    def _logit(self, parameters: Floats) -> Floats:
        logit: Floats = parameters[self.data.first] - parameters[self.data.second]
        return logit + parameters[-1] if self.position else logit

    def _first_win_probability(self, parameters: Floats) -> Floats:
        # Half a hyperbolic tangent is the logistic function without overflow.
        return 0.5 + 0.5 * np.tanh(0.5 * self._logit(parameters))

    def _signed_sum(self, values: Floats) -> Floats:
        n = self.data.n
        return sum_per_item(self.data.first, values, n) - sum_per_item(self.data.second, values, n)

    def _laplacian(self, weights: Floats) -> Floats:
        n = self.data.n
        edges = sum_per_item(self.data.first * n + self.data.second, weights, n * n).reshape(n, n)
        laplacian: Floats = -(edges + edges.T)
        laplacian[np.diag_indices(n)] -= laplacian.sum(axis=1)
        return laplacian

"""Is there evidence that the items differ at all? Without it no reliability above one half is reported.

Under coin flips the ratio of the marginal likelihoods, with and without differences of a given width, is a martingale
of mean 1, whatever pairs are chosen by earlier verdicts: so it ever reaches K with a probability of at most 1 / K,
however often one looks (Ville 1939). The ratio at the width that suits the verdicts best, which is taken here, reaches
it somewhat more often.
"""

from __future__ import annotations

import math

import numpy as np

from cj_stream.scoring.estimation.data import Floats
from cj_stream.scoring.estimation.likelihood import Likelihood
from cj_stream.scoring.estimation.newton import SPARSE_ITEMS, Mode

ENOUGH = math.log(100.0)
"""Log of the ratio that is asked for: fewer than one in a hundred batches of coin flips ever reached it."""
HIGHEST_WITHOUT = 0.5
"""The highest reliability that is reported without."""
_ORDER_STEPS = 20


def bounded(reliability: float, likelihood: Likelihood, mode: Mode) -> float:
    """Return the reliability, or one half if it is higher and the evidence that items differ is not enough."""
    if not reliability > HIGHEST_WITHOUT or log_evidence(likelihood, mode) >= ENOUGH:
        return reliability
    return HIGHEST_WITHOUT


def log_evidence(likelihood: Likelihood, mode: Mode) -> float:
    """Log of p(verdicts | scores scattered as the prior says) / p(verdicts | equal scores), Laplace's approximation.

    Tierney and Kadane (1986), equation 2.2, for scores of mean zero, without anchors. An order effect is part of both.
    """
    dimensions = likelihood.data.n - 1
    height = likelihood.log_density(mode.parameters) + 0.5 * dimensions * math.log(likelihood.precision)
    return height - 0.5 * _log_determinant(likelihood.curvature(mode.probability)) - _log_even(likelihood)


def _log_determinant(curvature: Floats) -> float:
    if len(curvature) < SPARSE_ITEMS:
        return float(np.linalg.slogdet(curvature).logabsdet)
    # At most too large (Hadamard), so that the evidence is at most too small; of many items there is plenty.
    return float(np.log(curvature.diagonal()).sum())


def _log_even(likelihood: Likelihood) -> float:
    """Log marginal likelihood of equal scores."""
    count, first_wins = len(likelihood.data), float(likelihood.data.first_wins.sum())
    if not likelihood.position:
        return -count * math.log(2.0)
    order, precision = 0.0, likelihood.position_precision
    for _ in range(_ORDER_STEPS):
        probability = 1.0 / (1.0 + math.exp(-order))
        curvature = count * probability * (1.0 - probability) + precision
        order += (first_wins - count * probability - precision * order) / curvature
    height = first_wins * order - count * math.log1p(math.exp(order)) - 0.5 * precision * order**2
    return height - 0.5 * math.log(curvature)

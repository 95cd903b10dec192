"""Which items and which judges do not fit the model: infit and outfit (Wright and Masters 1982, pages 99-101)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cj_stream.scoring.estimation.data import Booleans, Comparisons, Floats, Integers, Judges, sum_per_item
from cj_stream.scoring.estimation.fit import Fit

LOWEST_USUAL, HIGHEST_USUAL = 0.5, 1.5
"""Mean squares within these are productive for measurement (Linacre 2002)."""


@dataclass(frozen=True, eq=False)
class Misfit:
    """Mean squared residuals of items, or of judges: 1 is expected, more is more surprising than the model says.

    Attributes:
        infit: (k,) sum of squared residuals over the sum of their variances; NaN without comparisons.
        outfit: (k,) mean of the squared standardized residuals: single great surprises weigh more.

    """

    infit: Floats
    outfit: Floats

    @property
    def unusual(self) -> Booleans:
        """(k,) infit above the mean by more than two standard deviations: the rule of the published studies."""
        known = self.infit[np.isfinite(self.infit)]
        return self.infit > (known.mean() + 2.0 * known.std() if len(known) else np.inf)

    @property
    def out_of_range(self) -> Booleans:
        """(k,) infit outside .5 .. 1.5."""
        return (self.infit < LOWEST_USUAL) | (self.infit > HIGHEST_USUAL)


def expected_first_wins(data: Comparisons, fit: Fit) -> Floats:
    """(m,) probability that the first item wins, under the fit."""
    bias = fit.position_bias.estimate if fit.position_bias else 0.0
    return 0.5 + 0.5 * np.tanh(0.5 * (fit.theta[data.first] - fit.theta[data.second] + bias))


def item_misfit(data: Comparisons, fit: Fit) -> Misfit:
    """Infit and outfit of each item."""
    both = np.concatenate((data.first, data.second))
    return _misfit(data, fit, both, data.n)


def judge_misfit(data: Comparisons, judges: Judges, fit: Fit) -> Misfit:
    """Infit and outfit of each judge."""
    return _misfit(data, fit, judges.of, len(judges.names))


def _misfit(data: Comparisons, fit: Fit, of: Integers, groups: int) -> Misfit:
    probability = expected_first_wins(data, fit)
    # Where a win is all but certain its variance is lost in rounding; a surprise there counts as 1e12.
    variance = np.maximum(probability * (1.0 - probability), 1e-12)
    squared = (data.first_wins - probability) ** 2
    repeats = len(of) // max(len(data), 1)  # twice for items: a comparison belongs to both
    squared, variance = np.tile(squared, repeats), np.tile(variance, repeats)
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is no comparison
        infit = sum_per_item(of, squared, groups) / sum_per_item(of, variance, groups)
        outfit = sum_per_item(of, squared / variance, groups) / np.bincount(of, minlength=groups)
    return Misfit(infit, outfit)

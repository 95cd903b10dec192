"""Split-half reliability: whether other judges would have given the same scores."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Booleans, Comparisons, Floats, Judges
from cj_stream.scoring.estimation.estimator import PRIOR_SD_FLOOR, map_scores
from cj_stream.scoring.estimation.fit import Fit

SPLITS = 100
_FEWEST_JUDGES = 4
_FEWEST_ITEMS = 3  # two correlate by 1 or -1 whatever their scores are


class SplitHalf(NamedTuple):
    """Correlation between the scores from two halves of the data.

    Attributes:
        median: median Pearson correlation of the splits, not stepped up to the full length; NaN when undefined.
        low, high: 5 % and 95 % of the splits.
        by_judges: whether whole judges were split; otherwise single comparisons, as with fewer than four judges.

    """

    median: float
    low: float
    high: float
    by_judges: bool


def split_half(data: Comparisons, judges: Judges | None, fit: Fit, *, seed: int = 0, splits: int = SPLITS) -> SplitHalf:
    """Split the judges at random into two halves, score the items from each, and correlate (Bisson and others 2016).

    Scores are maximum a posteriori with the width of the prior of the whole. Does not rescue adaptive data: both halves
    share the pairs that were chosen. The same seed gives the same splits.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    by_judges = judges is not None and len(judges.names) >= _FEWEST_JUDGES
    units = judges.of if judges is not None and by_judges else np.arange(len(data))
    prior_sd = max(PRIOR_SD_FLOOR, fit.prior_sd_eb)
    found = []
    for _ in range(splits):
        half = rng.permutation(int(units.max(initial=-1)) + 1) % 2 == 0
        found.append(_correlation(*(_scores(data, chosen, prior_sd) for chosen in (half[units], ~half[units]))))
    known = np.array([value for value in found if np.isfinite(value)])
    if not len(known):
        return SplitHalf(float("nan"), float("nan"), float("nan"), by_judges)
    low, median, high = np.quantile(known, (0.05, 0.5, 0.95)).tolist()
    return SplitHalf(median, low, high, by_judges)


def _scores(data: Comparisons, chosen: Booleans, prior_sd: float) -> Floats:
    return map_scores(data.where(chosen), prior_sd)


def _correlation(first: Floats, second: Floats) -> float:
    if len(first) < _FEWEST_ITEMS:
        return float("nan")
    norm = float(np.linalg.norm(first) * np.linalg.norm(second))  # both have mean zero
    return float(first @ second) / norm if norm > 0.0 else float("nan")

"""How the reliability grew with the comparisons."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate


class Round(NamedTuple):
    """The data up to some comparison.

    Attributes:
        comparisons: how many comparisons.
        per_item: comparisons per item, mean; each counts for both of its items.
        reliability: EAP reliability; NaN for one item.
        separation_reliability: SSR; NaN when undefined.

    """

    comparisons: int
    per_item: float
    reliability: float
    separation_reliability: float


def reliability_by_round(data: Comparisons, *, most: int = 12) -> list[Round]:
    """Score the data as they grew, in the order given: after whole rounds of n / 2 comparisons, and at the end.

    Args:
        data: the comparisons in the order in which they were made.
        most: largest number of points; with more rounds than that, rounds are passed over evenly.

    """
    length = max(data.n // 2, 1)
    rounds = len(data) // length
    ends = {round(number) * length for number in np.linspace(1, rounds, min(rounds, most))} if rounds else set()
    return [_round(data, end) for end in sorted(ends - {rounds * length} | {len(data)}) if end]


def _round(data: Comparisons, end: int) -> Round:
    fit = map_estimate(data.where(np.arange(len(data)) < end))
    return Round(end, 2.0 * end / data.n, fit.reliability, fit.separation_reliability)

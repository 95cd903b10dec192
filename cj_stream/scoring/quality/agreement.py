"""Whether judges agree with one another, and each with itself when a pair is shown the other way round."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cj_stream.scoring.estimation.data import Comparisons, Floats, Integers, Judges, sum_per_item


@dataclass(frozen=True, eq=False)
class Agreement:
    """Share of the couples of verdicts that agree, of those that could.

    Attributes:
        rate: 0 .. 1; NaN when there is no couple. A tie agrees by half with everything.
        couples: number of couples.
        per_judge: (k,) the rates of the couples that each judge takes part in; NaN without any.

    """

    rate: float
    couples: int
    per_judge: Floats


def judge_agreement(data: Comparisons, judges: Judges) -> Agreement:
    """How often two different judges of the same pair prefer the same item.

    High on easy pairs: adaptive pairing, which asks for the close ones, lowers it.
    """
    return _agreement(data, judges, _pair(data), judges.of)


def reverse_consistency(data: Comparisons, judges: Judges) -> Agreement:
    """How often a judge, shown the same pair in both orders, prefers the same item."""
    pair_and_judge = _pair(data) * len(judges.names) + judges.of
    return _agreement(data, judges, pair_and_judge, (data.first < data.second).astype(np.int64))


def _pair(data: Comparisons) -> Integers:
    return np.minimum(data.first, data.second) * data.n + np.maximum(data.first, data.second)


def _agreement(data: Comparisons, judges: Judges, groups: Integers, parts: Integers) -> Agreement:
    """Compare, within each of the ``groups`` (m,), the verdicts of different ``parts`` (m,)."""
    low_wins = np.where(data.first < data.second, data.first_wins, 1.0 - data.first_wins)
    cells, one_of, cell = np.unique(np.column_stack((groups, parts)), axis=0, return_index=True, return_inverse=True)
    _, group = np.unique(cells[:, 0], return_inverse=True)
    count = np.bincount(cell, minlength=len(cells)).astype(np.float64)
    wins = sum_per_item(cell, low_wins, len(cells))
    agreeing = wins * _others(group, wins) + (count - wins) * _others(group, count - wins)
    couples = count * _others(group, count)
    judge, k = judges.of[one_of], len(judges.names)
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is no couple
        per_judge = sum_per_item(judge, agreeing, k) / sum_per_item(judge, couples, k)
        rate = float(np.divide(agreeing.sum(), couples.sum()))
    return Agreement(rate, round(couples.sum() / 2.0), per_judge)


def _others(group: Integers, values: Floats) -> Floats:
    """(cells,) sum of the values of the other cells of the same group."""
    totals: Floats = sum_per_item(group, values, int(group.max(initial=0)) + 1)[group]
    return totals - values

"""Everything that is said about a scored data set besides the scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cj_stream.scoring.estimation.data import Comparisons, Floats, Integers, Judges, sum_per_item
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Fit, PositionBias
from cj_stream.scoring.estimation.reliability import separation, separation_ratio_reliability, strata
from cj_stream.scoring.quality.agreement import Agreement, judge_agreement, reverse_consistency
from cj_stream.scoring.quality.ranks import rank_intervals
from cj_stream.scoring.quality.residuals import Misfit, item_misfit, judge_misfit
from cj_stream.scoring.quality.rounds import Round, reliability_by_round
from cj_stream.scoring.quality.split_half import SplitHalf, split_half
from cj_stream.scoring.quality.transitivity import Triads, circular_triads


@dataclass(frozen=True, eq=False)
class Order:
    """What the order of presentation did.

    Attributes:
        first_wins: share of the wins that went to the item presented first; .5 is expected when orders are balanced.
        bias: estimated advantage of being first, logits; the prior is N(0, 1).
        consistency: of pairs that a judge saw in both orders.

    """

    first_wins: float
    bias: PositionBias
    consistency: Agreement


class JudgeReport(NamedTuple):
    """The judges, one entry each: how many comparisons they made, how well they fit, and what they prefer.

    ``first_wins`` is the share of their wins that went to the item presented first.
    """

    names: tuple[str, ...]
    comparisons: Integers
    misfit: Misfit
    first_wins: Floats
    agreement: Agreement


@dataclass(frozen=True, eq=False)
class Quality:
    """How good a scored data set is.

    Attributes:
        items: misfit of the items.
        judges: about the judges; None when they are not known.
        order: about the order of presentation; None when it is not known.
        ranks: (n, 2) interval of each item's rank, 95 %.
        separation: spread of the true scores in units of their error, from the SSR.
        strata: levels that the scores tell apart.
        ratio_reliability: the other coefficient called SSR, formula ``reliability.SEPARATION_RATIO_FORMULA``.
        halves: split-half reliability.
        triads: contradictions among the verdicts.
        rounds: reliability against comparisons.

    """

    items: Misfit
    judges: JudgeReport | None
    order: Order | None
    ranks: Integers
    separation: float
    strata: float
    ratio_reliability: float
    halves: SplitHalf
    triads: Triads
    rounds: list[Round]


def assess(
    data: Comparisons, fit: Fit, judges: Judges | None = None, *, ordered: bool = True, seed: int = 0
) -> Quality:
    """Assess a scored data set; the same seed gives the same result.

    Args:
        data: the comparisons, in the order in which they were made.
        fit: the scores.
        judges: who made the comparisons, None when that is not known.
        ordered: whether the first item of a comparison is the one presented first.
        seed: for splits and rank intervals.

    """
    index = separation(fit.separation_reliability)
    return Quality(
        items=item_misfit(data, fit),
        judges=_judge_report(data, judges, fit) if judges else None,
        order=_order(data, judges, fit) if ordered else None,
        ranks=rank_intervals(fit, seed=seed),
        separation=index,
        strata=strata(index),
        ratio_reliability=separation_ratio_reliability(fit.theta, fit.covariance),
        halves=split_half(data, judges, fit, seed=seed),
        triads=circular_triads(data),
        rounds=reliability_by_round(data),
    )


def _judge_report(data: Comparisons, judges: Judges, fit: Fit) -> JudgeReport:
    k = len(judges.names)
    comparisons = np.bincount(judges.of, minlength=k).astype(np.int64)
    with np.errstate(invalid="ignore"):  # 0 / 0 for a judge without comparisons
        first_wins = sum_per_item(judges.of, data.first_wins, k) / comparisons
    agreement = judge_agreement(data, judges)
    return JudgeReport(judges.names, comparisons, judge_misfit(data, judges, fit), first_wins, agreement)


def _order(data: Comparisons, judges: Judges | None, fit: Fit) -> Order:
    bias = fit.position_bias or map_estimate(data, position=True).position_bias
    assert bias is not None  # noqa: S101 -- it was asked for
    share = float(data.first_wins.mean()) if len(data) else float("nan")
    one_judge = Judges(("",), np.zeros(len(data), dtype=np.int64))
    return Order(share, bias, reverse_consistency(data, judges or one_judge))

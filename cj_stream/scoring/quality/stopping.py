"""When to stop comparing: rules without state; the batch supplies the numbers.

`spent` is asked before each fit: whether any more pairs may be planned at all. `settled` is asked after a fit that need
not be the last one: whether more pairs are worth it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from cj_stream.scoring.estimation.data import Floats

# With fewer comparisons on some essay, reliability and stability say more about the prior than about the essays.
MIN_COMPARISONS_PER_ESSAY = 8


class StopRule(StrEnum):
    """Rules that may end a batch before its pairs, iterations or budget are spent; a batch can have any of them."""

    RELIABILITY = "reliability"
    """The reliability target is reached, and was a round ago."""
    STABILITY = "stability"
    """No score changed by the threshold over the last round."""
    DECISIONS = "decisions"
    """The grades that the boundaries cut are certain enough; without boundaries it never holds."""


class StopReason(StrEnum):
    """Why a batch stopped asking for comparisons: three that `settled` finds, three of `spent`, and the batch's own."""

    RELIABILITY_REACHED = "reliability_reached"
    SCORES_STABLE = "scores_stable"
    DECISIONS_CERTAIN = "decisions_certain"
    PAIRS_EXHAUSTED = "pairs_exhausted"
    ITERATIONS_SPENT = "iterations_spent"
    BUDGET_SPENT = "budget_spent"
    MONEY_SPENT = "money_spent"
    TIMED_OUT = "timed_out"
    FINALIZED_BY_OPERATOR = "finalized_by_operator"
    SINGLE_ESSAY = "single_essay"


@dataclass(frozen=True)
class Figures:
    """What a fit shows. What is said of a round ago rests on all verdicts but those of the last round (n / 2).

    A fixed distance, not the fit before: otherwise it would depend on how many pairs are planned at a time when a
    batch ends, because little changes after few verdicts.

    Attributes:
        rules: the rules that may end the batch.
        reliability: EAP reliability of this fit, None when there is no fit; NaN counts as not reached.
        previous_reliability: the same a round ago, None when there was no fit then.
        reliability_target: reliability to reach in both.
        largest_change: largest absolute score change over the last round, logits; None when there was no fit before.
        stability_threshold: a largest change below this counts as stable, logits.
        grade_certainty: expected share of right grades, None without boundaries.
        certainty_target: share to reach.
        min_comparisons_per_essay: verdicts on the essay that has fewest.
        connected: the comparison graph has one component.

    """

    rules: Collection[StopRule]
    reliability: float | None
    previous_reliability: float | None
    reliability_target: float
    largest_change: float | None
    stability_threshold: float
    grade_certainty: float | None
    certainty_target: float
    min_comparisons_per_essay: int
    connected: bool


def spent(
    *, planned: int, unused_pairs: int, max_comparisons: int, max_iterations: int, pairs_per_iteration: int
) -> StopReason | None:
    """Return why no more comparisons than the ``planned`` ones may be planned, or None when some may."""
    if unused_pairs == 0:
        return StopReason.PAIRS_EXHAUSTED
    if planned >= max_comparisons:
        return StopReason.BUDGET_SPENT
    if planned >= max_iterations * pairs_per_iteration:
        return StopReason.ITERATIONS_SPENT
    return None


def settled(figures: Figures) -> StopReason | None:
    """Return why more verdicts are not worth it, the best news first, or None when they are.

    Nothing counts before the graph is connected, with at least ``MIN_COMPARISONS_PER_ESSAY`` comparisons of each essay.
    """
    if not figures.connected or figures.min_comparisons_per_essay < MIN_COMPARISONS_PER_ESSAY:
        return None
    found = (
        (StopRule.RELIABILITY, StopReason.RELIABILITY_REACHED, _reliable(figures)),
        (StopRule.DECISIONS, StopReason.DECISIONS_CERTAIN, _certain(figures)),
        (StopRule.STABILITY, StopReason.SCORES_STABLE, _stable(figures)),
    )
    return next((reason for rule, reason, holds in found if holds and rule in figures.rules), None)


def largest_change(previous_theta: Floats, theta: Floats) -> float:
    """Return the largest absolute difference between two score vectors (n,), logits; 0 for empty ones.

    Raises:
        ValueError: the vectors are not equally long.

    """
    if previous_theta.shape != theta.shape:
        raise ValueError(f"scores of different shapes, {previous_theta.shape} and {theta.shape}, cannot be compared")
    return float(np.max(np.abs(theta - previous_theta), initial=0.0))


def _reliable(figures: Figures) -> bool:
    fits = (figures.previous_reliability, figures.reliability)
    return all(value is not None and value >= figures.reliability_target for value in fits)


def _certain(figures: Figures) -> bool:
    return figures.grade_certainty is not None and figures.grade_certainty >= figures.certainty_target


def _stable(figures: Figures) -> bool:
    return figures.largest_change is not None and figures.largest_change < figures.stability_threshold

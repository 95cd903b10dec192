"""When to stop comparing: rules without state; the batch supplies the numbers."""

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
    """Why a batch stopped asking for comparisons. The last three are the batch's own, ``stop_reason`` never says so."""

    RELIABILITY_REACHED = "reliability_reached"
    SCORES_STABLE = "scores_stable"
    DECISIONS_CERTAIN = "decisions_certain"
    PAIRS_EXHAUSTED = "pairs_exhausted"
    ITERATIONS_SPENT = "iterations_spent"
    BUDGET_SPENT = "budget_spent"
    TIMED_OUT = "timed_out"
    FINALIZED_BY_OPERATOR = "finalized_by_operator"
    SINGLE_ESSAY = "single_essay"


@dataclass(frozen=True)
class Progress:
    """Where a batch stands. What is said of a round ago rests on all verdicts but those of the last round (n / 2).

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
        iteration: iterations planned in full.
        max_iterations: iterations allowed.
        comparisons_planned: comparisons planned in all iterations.
        max_comparisons: comparisons allowed.
        unused_pairs: pairs of essays never planned.
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
    iteration: int
    max_iterations: int
    comparisons_planned: int
    max_comparisons: int
    unused_pairs: int
    min_comparisons_per_essay: int
    connected: bool


def largest_change(previous_theta: Floats, theta: Floats) -> float:
    """Return the largest absolute difference between two score vectors (n,), logits; 0 for empty ones.

    Raises:
        ValueError: the vectors are not equally long.

    """
    if previous_theta.shape != theta.shape:
        raise ValueError(f"scores of different shapes, {previous_theta.shape} and {theta.shape}, cannot be compared")
    return float(np.max(np.abs(theta - previous_theta), initial=0.0))


def stop_reason(progress: Progress) -> StopReason | None:
    """Return why to stop now, the best news first, or None to go on.

    Reliability, stability and certainty count only on a connected graph with at least ``MIN_COMPARISONS_PER_ESSAY``
    comparisons of each essay, unless there is no pair left that could add any.
    """
    rules = (
        (StopReason.RELIABILITY_REACHED, _may_end(StopRule.RELIABILITY, progress) and _reliable(progress)),
        (StopReason.DECISIONS_CERTAIN, _may_end(StopRule.DECISIONS, progress) and _certain(progress)),
        (StopReason.SCORES_STABLE, _may_end(StopRule.STABILITY, progress) and _stable(progress)),
        (StopReason.PAIRS_EXHAUSTED, progress.unused_pairs <= 0),
        (StopReason.ITERATIONS_SPENT, progress.iteration >= progress.max_iterations),
        (StopReason.BUDGET_SPENT, progress.comparisons_planned >= progress.max_comparisons),
    )
    return next((reason for reason, holds in rules if holds), None)


def _may_end(rule: StopRule, progress: Progress) -> bool:
    enough = progress.connected and progress.min_comparisons_per_essay >= MIN_COMPARISONS_PER_ESSAY
    return rule in progress.rules and (enough or progress.unused_pairs <= 0)


def _reliable(progress: Progress) -> bool:
    fits = (progress.previous_reliability, progress.reliability)
    return all(value is not None and value >= progress.reliability_target for value in fits)


def _certain(progress: Progress) -> bool:
    return progress.grade_certainty is not None and progress.grade_certainty >= progress.certainty_target


def _stable(progress: Progress) -> bool:
    return progress.largest_change is not None and progress.largest_change < progress.stability_threshold

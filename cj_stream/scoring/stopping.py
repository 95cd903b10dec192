"""When to stop comparing: rules without state; the batch supplies the numbers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from cj_stream.scoring.data import Floats

# With fewer comparisons on some essay, reliability and stability say more about the prior than about the essays.
MIN_COMPARISONS_PER_ESSAY = 8


class StopReason(StrEnum):
    """Why a batch stopped asking for comparisons. The last three are the batch's own, ``stop_reason`` never says so."""

    RELIABILITY_REACHED = "reliability_reached"
    SCORES_STABLE = "scores_stable"
    PAIRS_EXHAUSTED = "pairs_exhausted"
    ITERATIONS_SPENT = "iterations_spent"
    BUDGET_SPENT = "budget_spent"
    TIMED_OUT = "timed_out"
    FINALIZED_BY_OPERATOR = "finalized_by_operator"
    SINGLE_ESSAY = "single_essay"


@dataclass(frozen=True)
class Progress:
    """Where a batch stands after an iteration.

    Attributes:
        reliability: EAP reliability of this fit, None when there is no fit; NaN counts as not reached.
        previous_reliability: the same of the fit before, None when there was none.
        reliability_target: reliability to reach in two consecutive fits.
        largest_change: largest absolute score change since the fit before, logits; None when there was none.
        stability_threshold: a largest change below this counts as stable, logits.
        iteration: iterations done.
        max_iterations: iterations allowed.
        comparisons_planned: comparisons planned in all iterations.
        max_comparisons: comparisons allowed.
        unused_pairs: pairs of essays never planned.
        min_comparisons_per_essay: verdicts on the essay that has fewest.
        connected: the comparison graph has one component.

    """

    reliability: float | None
    previous_reliability: float | None
    reliability_target: float
    largest_change: float | None
    stability_threshold: float
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

    Reliability and stability count only on a connected graph with at least ``MIN_COMPARISONS_PER_ESSAY`` comparisons
    of each essay, unless there is no pair left that could add any.
    """
    rules = (
        (StopReason.RELIABILITY_REACHED, _well_founded(progress) and _reliable(progress)),
        (StopReason.SCORES_STABLE, _well_founded(progress) and _stable(progress)),
        (StopReason.PAIRS_EXHAUSTED, progress.unused_pairs <= 0),
        (StopReason.ITERATIONS_SPENT, progress.iteration >= progress.max_iterations),
        (StopReason.BUDGET_SPENT, progress.comparisons_planned >= progress.max_comparisons),
    )
    return next((reason for reason, holds in rules if holds), None)


def _well_founded(progress: Progress) -> bool:
    enough = progress.connected and progress.min_comparisons_per_essay >= MIN_COMPARISONS_PER_ESSAY
    return enough or progress.unused_pairs <= 0


def _reliable(progress: Progress) -> bool:
    fits = (progress.previous_reliability, progress.reliability)
    return all(value is not None and value >= progress.reliability_target for value in fits)


def _stable(progress: Progress) -> bool:
    return progress.largest_change is not None and progress.largest_change < progress.stability_threshold

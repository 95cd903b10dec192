from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cj_stream.scoring.quality.stopping import Progress, StopReason, StopRule, largest_change, stop_reason

RUNNING = Progress(
    rules=tuple(StopRule),
    reliability=0.7,
    previous_reliability=0.6,
    reliability_target=0.9,
    largest_change=0.4,
    stability_threshold=0.05,
    grade_certainty=0.8,
    certainty_target=0.9,
    iteration=3,
    max_iterations=5,
    comparisons_planned=180,
    max_comparisons=1000,
    unused_pairs=255,
    min_comparisons_per_essay=11,
    connected=True,
)
RELIABLE = replace(RUNNING, reliability=0.91, previous_reliability=0.9)
STABLE = replace(RUNNING, largest_change=0.049)
CERTAIN = replace(RUNNING, grade_certainty=0.9)


def test_a_running_batch_goes_on() -> None:
    assert stop_reason(RUNNING) is None


@pytest.mark.parametrize(
    ("progress", "reason"),
    [
        (RELIABLE, StopReason.RELIABILITY_REACHED),
        (STABLE, StopReason.SCORES_STABLE),
        (CERTAIN, StopReason.DECISIONS_CERTAIN),
        (replace(RUNNING, unused_pairs=0), StopReason.PAIRS_EXHAUSTED),
        (replace(RUNNING, iteration=5), StopReason.ITERATIONS_SPENT),
        (replace(RUNNING, comparisons_planned=1000), StopReason.BUDGET_SPENT),
    ],
)
def test_each_rule_stops_with_its_reason(progress: Progress, reason: StopReason) -> None:
    assert stop_reason(progress) is reason


@pytest.mark.parametrize(
    "missing", [{"reliability": math.nan}, {"previous_reliability": math.nan}, {"previous_reliability": None}]
)
def test_one_reliable_fit_is_not_enough(missing: dict[str, Any]) -> None:
    assert stop_reason(replace(RELIABLE, **missing)) is None


def test_the_reliability_must_be_reached_in_both_fits() -> None:
    assert stop_reason(replace(RELIABLE, previous_reliability=0.89)) is None
    assert stop_reason(replace(RELIABLE, reliability=0.89)) is None


@pytest.mark.parametrize("change", [None, math.nan, 0.05])
def test_scores_that_changed_by_the_threshold_or_an_unknown_amount_are_not_stable(change: float | None) -> None:
    assert stop_reason(replace(RUNNING, largest_change=change)) is None


@pytest.mark.parametrize(
    ("progress", "rule"),
    [(RELIABLE, StopRule.RELIABILITY), (STABLE, StopRule.STABILITY), (CERTAIN, StopRule.DECISIONS)],
)
def test_a_rule_that_the_batch_does_not_have_never_stops_it(progress: Progress, rule: StopRule) -> None:
    assert stop_reason(replace(progress, rules=set(StopRule) - {rule})) is None
    assert stop_reason(replace(progress, rules={rule})) is not None


def test_without_boundaries_no_decision_is_certain() -> None:
    assert stop_reason(replace(RUNNING, grade_certainty=None)) is None


def test_spent_pairs_iterations_and_budgets_end_a_batch_without_any_rule() -> None:
    free = replace(RUNNING, rules=())
    assert stop_reason(free) is None
    assert stop_reason(replace(free, unused_pairs=0)) is StopReason.PAIRS_EXHAUSTED
    assert stop_reason(replace(free, iteration=5)) is StopReason.ITERATIONS_SPENT
    assert stop_reason(replace(free, comparisons_planned=1000)) is StopReason.BUDGET_SPENT


@pytest.mark.parametrize("progress", [RELIABLE, STABLE, CERTAIN])
@pytest.mark.parametrize("weak", [{"min_comparisons_per_essay": 7}, {"connected": False}])
def test_good_numbers_on_too_few_comparisons_do_not_stop(progress: Progress, weak: dict[str, Any]) -> None:
    assert stop_reason(replace(progress, **weak)) is None


def test_few_comparisons_are_enough_when_there_are_no_more_pairs() -> None:
    small = replace(RELIABLE, min_comparisons_per_essay=3, unused_pairs=0)
    assert stop_reason(small) is StopReason.RELIABILITY_REACHED


def test_good_news_come_before_spent_budgets() -> None:
    assert stop_reason(replace(RELIABLE, iteration=5, comparisons_planned=1000)) is StopReason.RELIABILITY_REACHED


def test_a_reason_is_written_as_its_name() -> None:
    assert f"{StopReason.PAIRS_EXHAUSTED}" == "pairs_exhausted"
    assert all(reason.value == reason.name.lower() for reason in StopReason)


def test_the_largest_change_is_absolute() -> None:
    assert largest_change(np.array([0.0, 1.0, -1.0]), np.array([0.1, 0.5, -1.2])) == pytest.approx(0.5)
    assert largest_change(np.array([]), np.array([])) == 0.0


def test_a_nan_score_makes_the_change_unknown() -> None:
    assert math.isnan(largest_change(np.array([0.0, math.nan]), np.array([0.0, 1.0])))


def test_scores_of_different_sets_are_not_compared() -> None:
    with pytest.raises(ValueError, match="different shapes"):
        largest_change(np.zeros(3), np.zeros(4))

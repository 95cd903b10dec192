from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cj_stream.scoring.quality.stopping import Figures, StopReason, StopRule, largest_change, settled, spent

RUNNING = Figures(
    rules=tuple(StopRule),
    reliability=0.7,
    previous_reliability=0.6,
    reliability_target=0.9,
    largest_change=0.4,
    stability_threshold=0.05,
    grade_certainty=0.8,
    certainty_target=0.9,
    min_comparisons_per_essay=11,
    connected=True,
)
RELIABLE = replace(RUNNING, reliability=0.91, previous_reliability=0.9)
STABLE = replace(RUNNING, largest_change=0.049)
CERTAIN = replace(RUNNING, grade_certainty=0.9)
ROOM = {
    "planned": 180,
    "unused_pairs": 255,
    "max_comparisons": 1000,
    "max_iterations": 5,
    "pairs_per_iteration": 60,
}


def test_a_running_batch_goes_on() -> None:
    assert settled(RUNNING) is None
    assert spent(**ROOM) is None


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (RELIABLE, StopReason.RELIABILITY_REACHED),
        (STABLE, StopReason.SCORES_STABLE),
        (CERTAIN, StopReason.DECISIONS_CERTAIN),
    ],
)
def test_each_rule_stops_with_its_reason(figures: Figures, reason: StopReason) -> None:
    assert settled(figures) is reason


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"unused_pairs": 0}, StopReason.PAIRS_EXHAUSTED),
        ({"planned": 1000, "max_iterations": 50}, StopReason.BUDGET_SPENT),
        ({"planned": 300}, StopReason.ITERATIONS_SPENT),
        ({"planned": 299}, None),
        ({"planned": 999, "max_iterations": 50}, None),
        ({"planned": 1000, "unused_pairs": 0}, StopReason.PAIRS_EXHAUSTED),
        ({"planned": 1000}, StopReason.BUDGET_SPENT),
    ],
)
def test_spent_pairs_budgets_and_iterations_end_a_batch_whatever_it_shows(
    limits: dict[str, int], reason: StopReason | None
) -> None:
    assert spent(**(ROOM | limits)) is reason


def test_the_best_news_come_first() -> None:
    all_good = replace(RELIABLE, largest_change=0.049, grade_certainty=0.9)
    assert settled(all_good) is StopReason.RELIABILITY_REACHED
    assert settled(replace(all_good, reliability=0.5)) is StopReason.DECISIONS_CERTAIN


@pytest.mark.parametrize(
    "missing", [{"reliability": math.nan}, {"previous_reliability": math.nan}, {"previous_reliability": None}]
)
def test_one_reliable_fit_is_not_enough(missing: dict[str, Any]) -> None:
    assert settled(replace(RELIABLE, **missing)) is None


def test_the_reliability_must_be_reached_in_both_fits() -> None:
    assert settled(replace(RELIABLE, previous_reliability=0.89)) is None
    assert settled(replace(RELIABLE, reliability=0.89)) is None


@pytest.mark.parametrize("change", [None, math.nan, 0.05])
def test_scores_that_changed_by_the_threshold_or_an_unknown_amount_are_not_stable(change: float | None) -> None:
    assert settled(replace(RUNNING, largest_change=change)) is None


@pytest.mark.parametrize(
    ("figures", "rule"),
    [(RELIABLE, StopRule.RELIABILITY), (STABLE, StopRule.STABILITY), (CERTAIN, StopRule.DECISIONS)],
)
def test_a_rule_that_the_batch_does_not_have_never_stops_it(figures: Figures, rule: StopRule) -> None:
    assert settled(replace(figures, rules=set(StopRule) - {rule})) is None
    assert settled(replace(figures, rules={rule})) is not None


def test_without_boundaries_no_decision_is_certain() -> None:
    assert settled(replace(RUNNING, grade_certainty=None)) is None


@pytest.mark.parametrize("figures", [RELIABLE, STABLE, CERTAIN])
@pytest.mark.parametrize("weak", [{"min_comparisons_per_essay": 7}, {"connected": False}])
def test_good_numbers_on_too_few_comparisons_do_not_stop(figures: Figures, weak: dict[str, Any]) -> None:
    assert settled(replace(figures, **weak)) is None


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

"""The settings and the policy of a batch say the same."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cj_stream.domain.policy import UNITS, Judging, Policy
from cj_stream.operations.batch_policy import policy_of
from cj_stream.operations.settings import Settings
from cj_stream.scoring.pairing.pairing import PairingPolicy

OTHERS = Settings(
    batch_timeout_hours=5,
    batch_max_age_hours=50,
    comparison_deadline_minutes=7,
    max_attempts=4,
    retry_pool_size=21,
    min_success_rate_threshold=0.7,
    timeout_completion_pct=70,
    completion_threshold_pct=90,
    score_stability_threshold=0.04,
    reliability_target=0.8,
    max_iterations=6,
    comparisons_per_essay=3,
    random_iterations=2,
    pairing_policy=PairingPolicy.RANDOM,
    wave_size=9,
    judgements_per_pair=2,
    stop_rules=(),
    grade_certainty_target=0.8,
    max_comparisons=1_000,
    max_concurrent_comparisons=10,
    retention_days=8,
)
"""Every setting that batches are judged by, with another value than its default."""
NO_SETTING = {"success_rate_from", "grade_boundaries", "max_cost", "priority", "batching_mode", "reuse_judgements"}
"""What a batch is judged by that no setting says: the first is fixed, the others come with the request."""


def figures(policy: Policy) -> Iterator[tuple[str, object]]:
    for part in (policy, policy.judging):
        yield from ((name, value) for name, value in msgspec.structs.asdict(part).items() if name != "judging")


def test_settings_that_nobody_has_changed_are_the_policy_that_nobody_has_changed() -> None:
    assert policy_of(Settings()) == Policy()


def test_every_figure_of_the_policy_follows_its_setting() -> None:
    changed, before = dict(figures(policy_of(OTHERS))), dict(figures(Policy()))
    assert {name for name in changed if changed[name] == before[name]} == NO_SETTING
    assert set(changed) >= set(Policy.__struct_fields__) - {"judging"} | set(Judging.__struct_fields__)


def test_times_arrive_in_seconds() -> None:
    policy = policy_of(OTHERS)
    times = (policy.batch_timeout, policy.max_age, policy.comparison_deadline, policy.retention)
    assert times == (5 * 3600, 50 * 3600, 7 * 60, 8 * 24 * 3600)


def test_every_figure_of_the_policy_has_its_unit() -> None:
    no_figures = {"pairing", "stop_rules", "grade_boundaries", "batching_mode", "reuse_judgements"}
    assert set(UNITS) == {name for name, _ in figures(Policy())} - no_figures

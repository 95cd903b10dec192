"""From the settings to the policy that batches are judged by: the one place where a `Policy` is made of settings."""

from __future__ import annotations

from cj_stream.domain.policy import Judging, Policy
from cj_stream.operations.settings import Settings


def policy_of(settings: Settings) -> Policy:
    """Return the policy that batches starting now are judged by."""
    return Policy(
        batch_timeout=settings.batch_timeout_hours * 3600,
        max_age=settings.age_limit_hours * 3600,
        comparison_deadline=settings.comparison_deadline_minutes * 60,
        max_attempts=settings.max_attempts,
        retry_pool_size=settings.retry_pool_size,
        min_success_rate=settings.min_success_rate_threshold,
        timeout_completion_pct=settings.timeout_completion_pct,
        completion_threshold_pct=settings.completion_threshold_pct,
        stability_threshold=settings.score_stability_threshold,
        reliability_target=settings.reliability_target,
        max_iterations=settings.max_iterations,
        comparisons_per_essay=settings.comparisons_per_essay,
        random_iterations=settings.random_iterations,
        max_comparisons=settings.max_comparisons,
        max_concurrent_comparisons=settings.max_concurrent_comparisons,
        retention=settings.retention_days * 24 * 3600,
        judging=Judging(
            pairing=settings.pairing_policy,
            wave_size=settings.wave_size,
            judgements_per_pair=settings.judgements_per_pair,
            stop_rules=settings.stop_rules,
            certainty_target=settings.grade_certainty_target,
        ),
    )

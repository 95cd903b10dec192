"""The rules a batch is judged by: fixed when it starts, so that a new setting never changes a running batch."""

from __future__ import annotations

import msgspec

from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule


class Judging(msgspec.Struct, frozen=True, array_like=True):
    """How the pairs of one batch are chosen, and what may end it early."""

    pairing: PairingPolicy = PairingPolicy.ADAPTIVE
    wave_size: int | None = None
    """Pairs planned at a time; None: a whole iteration."""
    judgements_per_pair: int = 1
    stop_rules: tuple[StopRule, ...] = tuple(StopRule)
    certainty_target: float = 0.9
    """Expected share of right grades that ends a batch with boundaries."""
    grade_boundaries: tuple[float | str, ...] = ()
    """Each a point on the centred scale, logits, or the id of the essay that marks it."""
    max_cost: float | None = None
    """US dollars that the verdicts may cost; None: no limit."""
    priority: int = 0
    """Of its comparisons at the provider, -10 to 10, the highest first."""
    batching_mode: str | None = None
    """How the provider is asked to group them; passed on as it is."""
    reuse_judgements: str | None = None
    """The batch whose verdicts are taken over; its own id stands for the run before."""


class Policy(msgspec.Struct, frozen=True, array_like=True):
    """Limits, thresholds and deadlines of one batch. Times are seconds, shares are 0 to 1."""

    batch_timeout: float = 4 * 3600.0
    max_age: float = 48 * 3600.0
    comparison_deadline: float = 3600.0
    max_attempts: int = 3
    retry_pool_size: int = 20
    min_success_rate: float = 0.8
    success_rate_from: int = 10
    """Settled comparisons from which the success rate is judged while the batch runs."""
    timeout_completion_pct: float = 80.0
    completion_threshold_pct: int = 95
    stability_threshold: float = 0.05
    reliability_target: float = 0.9
    max_iterations: int = 5
    comparisons_per_essay: int = 4
    random_iterations: int = 1
    max_comparisons: int = 20_000
    max_concurrent_comparisons: int = 100
    retention: float = 7 * 24 * 3600.0
    judging: Judging = Judging()


SECONDS = "s"
UNITS = {
    "batch_timeout": SECONDS,
    "max_age": SECONDS,
    "comparison_deadline": SECONDS,
    "max_attempts": "attempts",
    "retry_pool_size": "comparisons",
    "min_success_rate": "(share, 0 to 1)",
    "success_rate_from": "comparisons",
    "timeout_completion_pct": "%",
    "completion_threshold_pct": "%",
    "stability_threshold": "logits",
    "reliability_target": "(EAP reliability, 0 to 1)",
    "max_iterations": "iterations",
    "comparisons_per_essay": "comparisons",
    "random_iterations": "iterations",
    "max_comparisons": "comparisons",
    "max_concurrent_comparisons": "comparisons",
    "retention": SECONDS,
    "wave_size": "pairs",
    "judgements_per_pair": "judgements",
    "certainty_target": "(share, 0 to 1)",
    "max_cost": "US dollars",
    "priority": "(-10 to 10)",
}
"""The unit of each figure of a policy, as people are told it; what is not here is no figure."""

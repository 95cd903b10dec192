"""What a seed means: how many workers, partitions and batches, and what goes wrong."""

from __future__ import annotations

import random
from typing import Any, NamedTuple

from simulation.provider_model import Manners

from cj_stream.contracts.topics import changelog_topic
from cj_stream.operations.settings import Settings

BASE = Settings(
    app_id="sim",
    session_timeout_seconds=10,
    heartbeat_seconds=2,
    comparison_deadline_minutes=1,
    batch_timeout_hours=200 / 3600,
    batch_max_age_hours=0.5,
    batch_monitor_interval_minutes=10 / 60,
    max_iterations=3,
    retry_pool_size=3,
    web_port=0,
)

SIZES = (0, 1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7)
"""Essays of a batch."""

KINDS = ("kill", "freeze", "stop", "rebalance", "kill", "freeze")


ANY_TOPIC = "any"


class Targeted(NamedTuple):
    """A fault that strikes whoever produces record number ``at`` of a topic, ``steps`` steps later."""

    topic: str
    at: int
    steps: int
    kind: str


class Plan:
    """Everything of a run that is drawn before it begins."""

    def __init__(self, chance: random.Random) -> None:
        self.workers = chance.randint(1, 3)
        partitions = chance.randint(2, 4)
        self.faults = chance.random() < 0.7
        bad = chance.random()
        self.manners = _manners(chance, lossy=bad < 0.35, odd=bad < 0.7)
        self.settings = BASE.model_copy(
            update={
                "partitions": partitions,
                "submission_workers": chance.choice((2, 8, 32)),
                "max_concurrent_comparisons": chance.choice((3, 100)),
            }
        )
        settings = self.settings
        self.topics = {
            settings.batch_events_topic: partitions,
            changelog_topic(settings): partitions,
            settings.assessment_request_topic: chance.randint(1, 3),
            settings.llm_provider_callback_topic: chance.randint(1, 3),
            settings.assessment_completed_topic: 1,
            settings.assessment_failed_topic: 1,
            settings.assessment_result_topic: 1,
            settings.batch_timeouts_topic: 1,
            settings.dead_letters_topic: 1,
        }
        self.sizes = [chance.choice(SIZES) for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 4)))]
        self.threshold = 1.0 if chance.random() < 0.8 else 0.8
        self.missing = chance.choice((0.0, 0.0, 0.15))
        self.variants = chance.choice((0.0, 0.3))
        self.poison = chance.choice((0.0, 0.0, 0.5))
        self.callback_lag = chance.choice((0.0, 0.0, 0.0, 0.0, 4.0, 14.0))
        """Seconds that callbacks lie in their topic before anybody can read them."""
        self.slowest_append = chance.choice((0.03, 0.03, 0.3))
        self.start_within = chance.choice((0.0, 8.0))
        self.targeted_faults: list[Targeted] = []
        self.timed_faults: list[tuple[float, str]] = []
        self.busy_until = 8.0
        if self.faults:
            self._draw_faults(chance)

    def _draw_faults(self, chance: random.Random) -> None:
        kinds = chance.choice(
            (("kill",), ("freeze",), ("freeze", "rebalance"), ("rebalance",), ("stop", "rebalance"), KINDS, KINDS)
        )
        for _ in range(chance.randint(0, 4)):
            # Rows are where a cut does most harm, and the first messages of a batch decide most.
            topic = chance.choice((ANY_TOPIC, changelog_topic(self.settings)))
            last = (
                12 + 10 * sum(self.sizes) if topic != ANY_TOPIC or chance.random() < 0.4 else 20 + 40 * sum(self.sizes)
            )
            at = chance.randint(1, last)
            self.targeted_faults.append(
                Targeted(topic, at, chance.choice((0, 0, 0, 1, 2, 5, 30)), chance.choice(kinds))
            )
        for _ in range(chance.randint(0, 3)):
            at = chance.random() * 20
            if self.manners.loses and chance.random() < 0.3:
                at += self.settings.comparison_deadline_minutes * 60  # when attempts are overdue
            self.timed_faults.append((at, chance.choice(kinds)))
            self.busy_until = max(self.busy_until, at + 1)

    def describe(self) -> str:
        """Return the plan in a line."""
        told: dict[str, Any] = {
            "workers": self.workers,
            "partitions": self.settings.partitions,
            "sizes": self.sizes,
            "at production": self.targeted_faults,
            "at time": [(round(at, 1), fault) for at, fault in self.timed_faults],
            "manners": self.manners,
        }
        return ", ".join(f"{name} {value}" for name, value in told.items())


def _manners(chance: random.Random, *, lossy: bool, odd: bool) -> Manners:
    def share(*choices: float) -> float:
        return chance.choice(choices)

    fields: dict[str, float] = {"slowest": share(0.5, 3.0, 8.0)}
    if odd:
        fields |= {
            "busy": share(0.0, 0.1, 0.3),
            "immediate": share(0.0, 0.1),
            "repeated": share(0.0, 0.3),
            "forged": share(0.0, 0.3),
            "echoed": share(0.0, 0.1),
            "content_away": share(0.0, 0.1),
        }
    if lossy:
        fields |= {
            "refused": share(0.0, 0.1),
            "failed": share(0.0, 0.1),
            "lost": share(0.0, 0.1, 0.2),
            "error": share(0.0, 0.1, 0.3),
            "late": share(0.0, 0.1),
        }
    return Manners(**fields)

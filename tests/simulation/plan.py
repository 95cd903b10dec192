"""What a seed means: how many workers, partitions and batches, and what goes wrong."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any, NamedTuple

from aiokafka.errors import InvalidTimestampError, NotEnoughReplicasError, TopicAuthorizationFailedError
from simulation.provider_model import TAKEN, Manners

from cj_stream.domain.events import Action
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
)

BREAKER_SECONDS = 10.0
"""After how long a provider that is away is probed."""

SIZES = (0, 1, 2, 2, 3, 3, 3, 4, 4, 5, 6, 7)
"""Essays of a batch."""

KINDS = ("kill", "freeze", "stop", "rebalance", "kill", "freeze")

COMMANDS = (Action.CANCEL, Action.RETRY, Action.FINALIZE)

ANY_TOPIC = "any"


def batch_name(number: int) -> str:
    """Return the id of a batch: one begins as another, for keys that would not be told apart."""
    return "b" + "1" * number


class Targeted(NamedTuple):
    """A fault that strikes whoever produces record number ``at`` of a topic, or has it taken, ``steps`` steps later."""

    topic: str
    at: int
    steps: int
    kind: str


class Span(NamedTuple):
    """From when on something is away, and for how long, in seconds."""

    at: float
    seconds: float


class TopicOutage(NamedTuple):
    """From when on a topic takes no records, for how many seconds, and what it answers."""

    topic: str
    at: float
    seconds: float
    error: type[Exception]


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
            settings.changelog_topic: partitions,
            settings.assessment_request_topic: chance.randint(1, 3),
            settings.llm_provider_callback_topic: chance.randint(1, 3),
            settings.assessment_completed_topic: 1,
            settings.assessment_failed_topic: 1,
            settings.assessment_result_topic: 1,
            settings.batch_timeouts_topic: 1,
            settings.dead_letters_topic: 1,
        }
        self.rush = chance.random() < 0.15
        """Whether many requests name the same few batch ids, whose batches end soon."""
        sizes, number = ((1, 2), 2) if self.rush else (SIZES, chance.choice((1, 1, 1, 2, 2, 3, 4)))
        self.sizes = [chance.choice(sizes) for _ in range(number)]
        self.threshold = 1.0 if chance.random() < 0.8 else 0.8
        self.missing = chance.choice((0.0, 0.0, 0.15))
        self.variants = chance.choice((0.0, 0.3))
        self.poison = chance.choice((0.0, 0.0, 0.5))
        self.callback_lag = chance.choice((0.0, 0.0, 0.0, 0.0, 4.0, 14.0))
        """Seconds that callbacks lie in their topic before anybody can read them."""
        self.slowest_append = chance.choice((0.03, 0.03, 0.3, 3.0))
        self.standbys = chance.random() < 0.8
        """Whether each partition has a standby, as long as there are two workers."""
        self.lost_rows = chance.choice((0.0, 0.0, 0.1))
        """Share of the portions of a changelog of which a standby does not get one record."""
        self.start_within = chance.choice((0.0, 8.0))
        self.targeted_faults: list[Targeted] = []
        self.timed_faults: list[tuple[float, str]] = []
        self.busy_until = 8.0
        self.broker_outages: list[Span] = []
        self.provider_outages: list[Span] = []
        self.result_limit = chance.choice((800, 1500, 2500)) if chance.random() < 0.12 else None
        """The largest result that its topic takes, in bytes: known to nobody when a request is taken."""
        self.topic_outages: list[TopicOutage] = []
        self.downtimes: list[Span] = []
        """When no worker runs at all."""
        self.commands: list[tuple[float, Action]] = []
        self.slow_workers = 0
        if self.faults:
            self._draw_faults(chance)
            self._draw_outages(chance)
            self._draw_unreported_submission(chance)
        if chance.random() < 0.15:
            self.commands = [(chance.random() * 20, chance.choice(COMMANDS)) for _ in range(chance.randint(1, 4))]
        if not self.faults and chance.random() < 0.08:
            self._let_batches_grow_old()

    def _let_batches_grow_old(self) -> None:
        """Lose most callbacks, and allow so many attempts that batches would live far beyond their limit."""
        self.manners = replace(self.manners, lost=0.6)
        limits = {"comparison_deadline_minutes": 20 / 60, "max_attempts": 10}
        ages = {"batch_timeout_hours": 70 / 3600, "batch_max_age_hours": 70 / 3600}
        self.settings = self.settings.model_copy(update=limits | ages)

    def _draw_faults(self, chance: random.Random) -> None:
        kinds = chance.choice(
            (("kill",), ("freeze",), ("freeze", "rebalance"), ("rebalance",), ("stop", "rebalance"), KINDS, KINDS)
        )
        for _ in range(chance.randint(0, 4)):
            # Rows are where a cut does most harm, and the first messages of a batch decide most.
            topic = chance.choice((ANY_TOPIC, self.settings.changelog_topic))
            last = (
                12 + 10 * sum(self.sizes) if topic != ANY_TOPIC or chance.random() < 0.4 else 20 + 40 * sum(self.sizes)
            )
            at = chance.randint(1, last)
            self.targeted_faults.append(
                Targeted(topic, at, chance.choice((0, 0, 0, 1, 2, 5, 30)), chance.choice(kinds))
            )
        if chance.random() < 0.15:
            # Between an outcome and the report that it is published.
            steps = chance.choice((0, 2, 5, 10, 20))
            outcome = self.settings.assessment_completed_topic
            self.targeted_faults.append(Targeted(outcome, chance.randint(1, 2), steps, "kill"))
        for _ in range(chance.randint(0, 3)):
            moment = chance.random() * 20
            if self.manners.loses and chance.random() < 0.3:
                moment += self.settings.comparison_deadline_minutes * 60  # when attempts are overdue
            self.timed_faults.append((moment, chance.choice(kinds)))
            self.busy_until = max(self.busy_until, moment + 1)

    def _draw_unreported_submission(self, chance: random.Random) -> None:
        """Kill between a submission and the report of it: what makes the next owner submit again."""
        # A copy: the draws for all that follows stay as they are.
        own = random.Random()
        own.setstate(chance.getstate())
        if own.random() < 0.2:
            self.targeted_faults.append(Targeted(TAKEN, own.randint(1, 8), own.choice((0, 0, 1, 3)), "kill"))

    def _draw_outages(self, chance: random.Random) -> None:
        if self.rush:
            events = self.settings.batch_events_topic
            for _ in range(3):
                self.targeted_faults.append(Targeted(events, chance.randint(1, 20), chance.randint(0, 40), "kill"))
        if chance.random() < 0.12:
            self.broker_outages.append(Span(chance.random() * 12, chance.choice((1.0, 4.0, 8.0, 45.0))))
        if chance.random() < 0.12:
            self.provider_outages.append(Span(chance.random() * 8, chance.choice((2.0, 20.0, 100.0))))
        if chance.random() < 0.15:
            topic = chance.choice((self.settings.assessment_completed_topic, self.settings.assessment_result_topic))
            error = chance.choice((TopicAuthorizationFailedError, NotEnoughReplicasError, InvalidTimestampError))
            outage = TopicOutage(topic, chance.random() * 8, chance.choice((2.0, 20.0, 100.0)), error)
            self.topic_outages.append(outage)
            self.busy_until = max(self.busy_until, outage.at + outage.seconds + 1)
        if chance.random() < 0.12:
            self.downtimes.append(Span(chance.random() * 10, chance.choice((60.0, 300.0, 3 * 3600.0))))
        elif chance.random() < 0.1:
            retention = 90.0
            self.settings = self.settings.model_copy(update={"retention_days": retention / 86400})
            self.timed_faults.append((retention + chance.random() * 30, "kill"))
            self.busy_until = 2 * retention + 60.0
        if chance.random() < 0.15:
            self.slow_workers = 1
        spans = (*self.broker_outages, *self.provider_outages, *self.downtimes)
        ends = [span.at + span.seconds for span in spans] + [at for at, _ in self.timed_faults]
        self.busy_until = max(self.busy_until, *(end + 1 for end in ends)) if ends else self.busy_until

    @property
    def loses(self) -> bool:
        """Whether an attempt may be used up without a verdict."""
        deadline = self.settings.comparison_deadline_minutes * 60
        refused = any(span.seconds + BREAKER_SECONDS >= deadline for span in self.provider_outages)
        return self.manners.loses or refused

    def describe(self) -> str:
        """Return the plan in a line."""
        told: dict[str, Any] = {
            "workers": self.workers,
            "partitions": self.settings.partitions,
            "standbys": self.standbys,
            "lost rows": self.lost_rows,
            "sizes": self.sizes,
            "at production": self.targeted_faults,
            "at time": [(round(at, 1), fault) for at, fault in self.timed_faults],
            "broker away": self.broker_outages,
            "provider away": self.provider_outages,
            "topics refuse": self.topic_outages,
            "largest result": self.result_limit,
            "nobody there": self.downtimes,
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
            "foreign": share(0.0, 0.1),
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


class TenMinutesAway(Plan):
    """A plan in which the provider refuses everybody for ten minutes, and an answer may take a quarter of an hour."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(chance)
        self.manners = replace(_manners(chance, lossy=False, odd=chance.random() < 0.5), busy=0.0)
        self.provider_outages = [Span(0.5, 600.0)]
        self.downtimes, self.commands, self.threshold = [], [], 1.0
        times = {"comparison_deadline_minutes": 15.0, "batch_timeout_hours": 1.0, "batch_max_age_hours": 2.0}
        self.settings = self.settings.model_copy(update={**times, "retention_days": 1.0})
        self.busy_until = max(self.busy_until, 700.0)

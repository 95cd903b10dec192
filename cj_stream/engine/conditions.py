"""What is not as it should be with this worker although it goes on: named, since when, and what it means.

A condition is begun by whoever sees it and ended by the same when it is gone. People and machines see all of them in
one place: ``healthz/ready`` lists them as ``degraded``, and an app may count them by kind.

Test: ``test_conditions.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import structlog

log = structlog.get_logger(__name__)


class ConditionKind(StrEnum):
    """The kinds of condition that the engine knows of. An app may have more of its own, in an enumeration like this."""

    KAFKA_AWAY = "kafka_away"
    """The broker does not answer: nothing is read, committed or started."""
    STANDING_PARTITION = "standing_partition"
    """A partition has a record batch that cannot be read, and stands before it; all others are served."""
    LOST_INPUT = "lost_input"
    """Records were deleted by the broker before they were read."""
    OPEN_TRANSACTION = "open_transaction"
    """Somebody's transaction stays open, and nothing that lies behind it can be read."""
    TOPIC_MISSING = "topic_missing"
    """A topic that is read does not exist any more."""
    TOPIC_REFUSES = "topic_refuses"
    """A topic takes no records from this worker, so what belongs there waits."""
    CLOCK = "clock"
    """The clock of this worker and that of the broker disagree."""


@dataclass(frozen=True)
class Condition:
    """One thing that is not as it should be. ``since`` is in seconds since the epoch."""

    kind: StrEnum
    subject: str
    """What it is about: a partition, a topic; with the kind it tells conditions apart."""
    what: str
    """A sentence for people: what is wrong, and what to do about it."""
    meaning: str
    """A sentence for people: what waits or is missing because of it, and what goes on."""
    since: float


class Conditions:
    """The conditions of one worker. May be used from any thread. ``now`` returns seconds since the epoch."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._current: dict[tuple[StrEnum, str], Condition] = {}

    def begin(self, kind: StrEnum, subject: str, what: str, meaning: str) -> None:
        """Note a condition, and log it when it is new; one that is known already keeps its beginning."""
        known = self._current.get((kind, subject))
        if known is not None:
            self._current[kind, subject] = replace(known, what=what, meaning=meaning)
            return
        self._current[kind, subject] = Condition(kind, subject, what, meaning, self._now())
        log.warning("degraded", kind=kind.value, subject=subject, what=what, meaning=meaning)

    def end(self, kind: StrEnum, subject: str) -> None:
        """Note that a condition is gone, and log it; one that is not known is no error."""
        known = self._current.pop((kind, subject), None)
        if known is not None:
            seconds = round(self._now() - known.since, 1)
            log.info("no longer degraded", kind=kind.value, subject=subject, after_seconds=seconds)

    @property
    def current(self) -> tuple[Condition, ...]:
        """Return the conditions that hold now, the oldest first."""
        return tuple(sorted(self._current.values(), key=lambda condition: condition.since))

    def counts(self, own: Iterable[StrEnum] = ()) -> Mapping[StrEnum, int]:
        """Return how many conditions of each kind hold now, of an app's ``own`` kinds too, and where there is none."""
        found = Counter(condition.kind for condition in self.current)
        return {kind: found[kind] for kind in (*ConditionKind, *own)}

"""A topic as an app needs it: what it is called, how it is configured; and the three that every app has.

``topics create`` creates them, and a worker refuses to start when the broker disagrees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cj_stream.engine.limits import DEFAULT_TOPIC_LIMIT, RECORD_LIMIT

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class TopicSpec:
    """One topic: what it is called, what its records are keyed by, and how long they stay.

    ``partitions`` is what a topic of ours must have, and what an external one is created with where none exists.
    ``retention_ms`` is -1 for topics that are compacted only.
    """

    name: str
    key: str
    partitions: int
    external: bool
    purpose: str
    cleanup: Literal["delete", "compact"] = "delete"
    retention_ms: int = 7 * DAY_MS
    segment_bytes: int | None = None
    segment_ms: int | None = None
    min_compaction_lag_ms: int | None = None
    max_compaction_lag_ms: int | None = None
    broker_time: bool = False
    largest_record: int = 0
    """Bytes of the largest record batch that it has to take; 0 where what is larger is cut, or refused and told."""

    def config(self) -> dict[str, str]:
        """Return the topic's settings in Kafka's names."""
        config: dict[str, str] = {"cleanup.policy": self.cleanup}
        if self.cleanup == "delete":
            config["retention.ms"] = str(self.retention_ms)
        if self.segment_bytes is not None:
            config["segment.bytes"] = str(self.segment_bytes)
        if self.segment_ms is not None:
            config["segment.ms"] = str(self.segment_ms)
        if self.min_compaction_lag_ms is not None:
            config["min.compaction.lag.ms"] = str(self.min_compaction_lag_ms)
        if self.max_compaction_lag_ms is not None:
            config["max.compaction.lag.ms"] = str(self.max_compaction_lag_ms)
        if self.largest_record:
            # Not the cluster's default, which may be smaller.
            config["max.message.bytes"] = str(DEFAULT_TOPIC_LIMIT)
        if self.broker_time:
            config["message.timestamp.type"] = "LogAppendTime"
        return config


def changelog_name(app_id: str, table: str) -> str:
    """Return the name of a table's changelog topic, as Faust makes it."""
    return f"{app_id}-{table}-changelog"


def log_topic(name: str, partitions: int, *, key: str, purpose: str) -> TopicSpec:
    """Return the topic of an app's events."""
    return TopicSpec(name, key, partitions, False, purpose, broker_time=True, largest_record=RECORD_LIMIT)


def changelog_topic(name: str, partitions: int, *, longest_life_ms: int) -> TopicSpec:
    """Return the topic of a table's changelog; no row is of use for longer than ``longest_life_ms``."""
    return TopicSpec(
        name,
        "row key",
        partitions,
        False,
        "the table's changelog",
        cleanup="compact",
        segment_bytes=32 * 1024 * 1024,
        segment_ms=HOUR_MS,
        # A stale row that a cut-off worker wrote late must not outlive the newer one, see docs/decisions/0001.
        min_compaction_lag_ms=longest_life_ms,
        # What was deleted is gone some day: without it, Kafka compacts when it thinks it worth the work.
        max_compaction_lag_ms=longest_life_ms + DAY_MS,
        broker_time=True,
        largest_record=RECORD_LIMIT,
    )


def dead_letter_topic(name: str) -> TopicSpec:
    """Return the topic of the dead letters. One partition: so an offset names a letter."""
    return TopicSpec(
        name,
        "original key",
        1,
        False,
        "refused input with its reason",
        retention_ms=30 * DAY_MS,
        broker_time=True,
    )

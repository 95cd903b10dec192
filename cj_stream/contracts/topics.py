"""The topic registry: every topic's name, key, partitions and retention, written once.

``cj-stream topics create`` creates from it, and a worker refuses to start when the broker disagrees with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cj_stream.contracts.limits import DEFAULT_TOPIC_LIMIT, RECORD_LIMIT
from cj_stream.operations.settings import Settings

HOUR_MS = 3600 * 1000
DAY_MS = 24 * HOUR_MS
TABLE = "batches"
"""Name of the one table; its changelog is ``{app_id}-batches-changelog``."""


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
        if self.largest_record:
            # Not the cluster's default, which may be smaller.
            config["max.message.bytes"] = str(DEFAULT_TOPIC_LIMIT)
        if self.broker_time:
            config["message.timestamp.type"] = "LogAppendTime"
        return config


def changelog_topic(settings: Settings) -> str:
    """Return the name of the table's changelog topic."""
    return f"{settings.app_id}-{TABLE}-changelog"


def registry(settings: Settings) -> tuple[TopicSpec, ...]:
    """Return every topic the service reads or writes: the platform's first, then our own."""
    return (*_external(settings), *_internal(settings))


def _external(settings: Settings) -> tuple[TopicSpec, ...]:
    return (
        TopicSpec(settings.assessment_request_topic, "batch id", 3, True, "requests from upstream"),
        TopicSpec(settings.llm_provider_callback_topic, "none", 3, True, "verdicts from the LLM provider"),
        TopicSpec(settings.assessment_completed_topic, "batch id", 3, True, "thin completed events"),
        TopicSpec(settings.assessment_failed_topic, "batch id", 3, True, "failed events"),
        TopicSpec(settings.assessment_result_topic, "job id", 3, True, "rich results"),
    )


def _internal(settings: Settings) -> tuple[TopicSpec, ...]:
    partitions = settings.partitions
    return (
        TopicSpec(
            settings.batch_events_topic,
            "batch id (explicit partition)",
            partitions,
            False,
            "every input of a batch, in one order",
            broker_time=True,
            largest_record=RECORD_LIMIT,
        ),
        TopicSpec(
            changelog_topic(settings),
            "row key",
            partitions,
            False,
            "the table's changelog",
            cleanup="compact",
            segment_bytes=32 * 1024 * 1024,
            segment_ms=3600 * 1000,
            # A stale row that a cut-off worker wrote late must not outlive the newer one, see docs/decisions/0001.
            min_compaction_lag_ms=int(settings.batch_max_age_hours * HOUR_MS + settings.retention_days * DAY_MS),
            broker_time=True,
            largest_record=RECORD_LIMIT,
        ),
        TopicSpec(
            settings.batch_timeouts_topic,
            "batch id",
            partitions,
            False,
            "copies of the timeout recovery events",
            broker_time=True,
        ),
        TopicSpec(
            settings.dead_letters_topic,
            "original key",
            1,
            False,
            "refused input with its reason",
            retention_ms=30 * DAY_MS,
            broker_time=True,
        ),
    )

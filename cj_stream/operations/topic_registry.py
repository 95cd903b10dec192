"""The topic registry: every topic's name, key, partitions and retention, written once.

``cj-stream topics create`` creates from it, and a worker refuses to start when the broker disagrees with it.
"""

from __future__ import annotations

from cj_stream.engine import topics
from cj_stream.engine.topics import DAY_MS, HOUR_MS, TopicSpec, dead_letter_topic, log_topic
from cj_stream.operations.settings import Settings


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
        log_topic(
            settings.batch_events_topic,
            partitions,
            key="batch id (explicit partition)",
            purpose="every input of a batch, in one order",
        ),
        topics.changelog_topic(
            settings.changelog_topic,
            partitions,
            longest_life_ms=int(settings.age_limit_hours * HOUR_MS + settings.retention_days * DAY_MS),
        ),
        TopicSpec(
            settings.batch_timeouts_topic,
            "batch id",
            partitions,
            False,
            "copies of the timeout recovery events",
            broker_time=True,
        ),
        dead_letter_topic(settings.dead_letters_topic),
    )

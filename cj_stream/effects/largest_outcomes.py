"""Whether the outcome of a request could be told at all, however large it becomes: asked before the request is taken.

Outcomes are published compressed, and a topic's limit is for what is sent; so nearly all that the other settings allow
goes through. What would not is refused here, where it costs nobody a verdict.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from math import sqrt
from uuid import UUID

from cj_stream.contracts.fields import IDENTIFIER_LIMIT
from cj_stream.contracts.outcome_writer import (
    OutcomeHeader,
    OutgoingEvent,
    RankingEntry,
    ResultMetadata,
    completed_event,
    result_event,
)
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.events import BatchRequested
from cj_stream.engine.limits import (
    DEFAULT_TOPIC_LIMIT,
    PUBLISHED_LIMIT,
    RECORD_LIMIT,
)
from cj_stream.operations.settings import Settings

SCORES_BYTES = 40
"""The most that one essay takes in a row of scores: three numbers of 9 bytes and two small ones."""
_SCORE_DIGITS = 5
"""By how many characters the longest score is longer than those that are written here."""
_RESERVE = 4096
"""For the record around a value, and for what is longer in the end than it is here."""
_MARGIN = 1.1
"""Scores are not known yet: what is compressed in the end may be a little larger than this sample."""


def refuse_untellable(event: BatchRequested, settings: Settings, limits: Mapping[str, int]) -> None:
    """Raise `Refused` when an outcome or the scores of this request would fit nowhere.

    ``limits`` has the largest record that each topic takes, in bytes, as far as it is known.
    """
    essays = len(event.essays)
    if essays * SCORES_BYTES > RECORD_LIMIT - _RESERVE:
        at_most = (RECORD_LIMIT - _RESERVE) // SCORES_BYTES
        raise Refused(
            "too_many_essays",
            f"The scores of {essays} essays fit into no record, those of {at_most} do: split the batch.",
            field="data.essays_for_cj",
        )
    for outcome in largest_outcomes(event):
        topic = settings.outcome_topics[outcome.topic_kind]
        limit = limits.get(topic, DEFAULT_TOPIC_LIMIT)
        whole, sent = _sizes(outcome, essays, limit)
        if whole > PUBLISHED_LIMIT or sent > limit:
            raise Refused(
                "outcome_too_large",
                f"The {outcome.topic_kind} event of {essays} essays would have up to {whole} bytes, {sent} compressed, "
                f"and topic {topic} takes {limit}: split the batch, shorten its essay ids, or have max.message.bytes "
                "of the topic raised and the workers restarted.",
                field="data.essays_for_cj",
            )


def largest_outcomes(event: BatchRequested) -> Iterator[OutgoingEvent]:
    """Yield the outcomes of a request when all its essays are ranked: no other is as large."""
    longest = "x" * IDENTIFIER_LIMIT
    now = datetime(2026, 12, 31, 23, 59, 59, 123456, UTC)
    header = OutcomeHeader(
        event_id=UUID(int=0),
        batch_id=event.batch_id,
        job_id=f"{event.batch_id}-{2**32}",
        correlation_id=UUID(event.correlation_id),
        started_at=now,
        completed_at=now,
        traceparent=event.context.traceparent,
    )
    ids = [essay.id for essay in event.essays]
    yield completed_event(header, ids, [])
    overrides = event.context.overrides
    metadata = ResultMetadata(
        model=max(overrides.model or "", longest, key=len),
        provider=max(overrides.provider or "", longest, key=len),
        temperature=overrides.temperature,
        course_code=event.context.course_code,
        assignment_id=event.context.assignment_id,
        comparison_count=2**32,
    )
    # Scores with as many digits as any, and no pattern that compresses well.
    ranked = [RankingEntry(essay, rank, -sqrt(rank + 1)) for rank, essay in enumerate(ids, 1)]
    yield result_event(header, ranked, metadata)


def _sizes(outcome: OutgoingEvent, essays: int, limit: int) -> tuple[int, int]:
    """Return the largest size of an outcome, whole and as it is sent. Only what is large is compressed to find out."""
    whole = len(outcome.value) + len(outcome.key) + essays * _SCORE_DIGITS + _RESERVE
    if whole <= limit:
        return whole, whole
    return whole, round(len(gzip.compress(outcome.value)) * _MARGIN) + len(outcome.key) + _RESERVE

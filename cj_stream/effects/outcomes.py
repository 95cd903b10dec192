"""From a finished batch to the outcome events that the platform reads. The same batch always gives the same bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from cj_stream.contracts.outcomes import (
    OutcomeHeader,
    OutgoingEvent,
    RankedEssay,
    ResultMetadata,
    completed_event,
    failed_event,
    refused_event,
    result_event,
)
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.batch import Batch
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.domain.ranking import ranking
from cj_stream.operations.settings import Settings


def outcome_message(batch: Batch, outcome: str, settings: Settings, job_id: str) -> tuple[str, OutgoingEvent]:
    """Return the topic and the event of an outcome, named as in `domain.outcomes`."""
    kind, _, correlation_id = outcome.partition(":")
    if kind == "refused":
        return settings.assessment_failed_topic, _refused(batch, correlation_id)
    header = _header(batch, kind, correlation_id, job_id)
    if kind == "failed":
        control = batch.control
        event = failed_event(header, reason=control.failure or "unknown", details=control.failure_details)
        return settings.assessment_failed_topic, event
    if kind == "completed":
        essays, content = batch.roster.essays, batch.content
        failed = sorted(content.unusable) if content else []
        scored = [essays[position].id for position in batch.usable]
        return settings.assessment_completed_topic, completed_event(header, scored, [essays[i].id for i in failed])
    return settings.assessment_result_topic, result_event(header, _ranked(batch), _metadata(batch, settings))


def _header(batch: Batch, kind: str, correlation_id: str, job_id: str) -> OutcomeHeader:
    control = batch.control
    return OutcomeHeader(
        event_id=outcome_event_id(batch.batch_id, batch.run, kind, correlation_id),
        batch_id=batch.batch_id,
        job_id=job_id,
        correlation_id=UUID(correlation_id),
        started_at=_time(control.created_at),
        completed_at=_time(control.finished_at or control.state_since),
        traceparent=batch.roster.context.traceparent,
    )


def _refused(batch: Batch, correlation_id: str) -> OutgoingEvent:
    refusal = next(refusal for refusal in batch.control.refusals if refusal.correlation_id == correlation_id)
    refused = Refused(
        "batch_is_live",
        refusal.reason,
        batch_id=batch.batch_id,
        correlation_id=UUID(correlation_id),
        is_request=True,
    )
    event_id = outcome_event_id(batch.batch_id, batch.run, "refused", correlation_id)
    return refused_event(refused, event_id, _time(refusal.at))


def _ranked(batch: Batch) -> list[RankedEssay]:
    return [RankedEssay(row.essay_id, row.rank, row.theta, row.standard_error) for row in ranking(batch)]


def _metadata(batch: Batch, settings: Settings) -> ResultMetadata:
    context = batch.roster.context
    judged = next((row for row in reversed(batch.comparisons) if row.winner is not None), None)
    temperature = context.overrides.temperature
    return ResultMetadata(
        model=(judged and judged.model) or context.overrides.model or settings.default_llm_model or "unknown",
        provider=(judged and judged.provider) or context.overrides.provider or settings.default_llm_provider,
        temperature=settings.llm_temperature if temperature is None else temperature,
        course_code=context.course_code,
        assignment_id=context.assignment_id,
        comparison_count=batch.progress.judged,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

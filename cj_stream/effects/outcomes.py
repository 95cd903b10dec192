"""From a finished batch to the outcome events that the platform reads. The same batch always gives the same bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from cj_stream.contracts.outcome_writer import (
    OutcomeHeader,
    OutgoingEvent,
    RankingEntry,
    ResultMetadata,
    completed_event,
    failed_event,
    refused_event,
    result_event,
)
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.domain.ranking import ranking
from cj_stream.domain.states import FailureReason
from cj_stream.operations.settings import Settings


def outcome_message(batch: Batch, outcome: Outcome, settings: Settings, job_id: str) -> tuple[str, OutgoingEvent]:
    """Return the topic and the event of an outcome."""
    return settings.outcome_topics[outcome.kind], _event(batch, outcome, settings, job_id)


def _event(batch: Batch, outcome: Outcome, settings: Settings, job_id: str) -> OutgoingEvent:
    if outcome.kind is OutcomeKind.REFUSED:
        return _refused(batch, outcome)
    header = _header(batch, outcome, job_id)
    match outcome.kind:
        case OutcomeKind.FAILED:
            return _failed(batch, header)
        case OutcomeKind.COMPLETED:
            return _completed(batch, header)
        case OutcomeKind.RESULT:
            return result_event(header, _ranked(batch), _metadata(batch, settings))


def _failed(batch: Batch, header: OutcomeHeader) -> OutgoingEvent:
    control = batch.control
    return failed_event(header, reason=control.failure or FailureReason.INTERNAL_ERROR, details=control.failure_details)


def _completed(batch: Batch, header: OutcomeHeader) -> OutgoingEvent:
    essays, content = batch.roster.essays, batch.content
    failed = sorted(content.unusable) if content else []
    return completed_event(header, [essays[i].id for i in batch.usable], [essays[i].id for i in failed])


def _header(batch: Batch, outcome: Outcome, job_id: str) -> OutcomeHeader:
    control = batch.control
    return OutcomeHeader(
        event_id=outcome_event_id(batch.batch_id, batch.run, *outcome),
        batch_id=batch.batch_id,
        job_id=job_id,
        correlation_id=UUID(outcome.correlation_id),
        started_at=_time(control.created_at),
        completed_at=_time(control.finished_at or control.state_since),
        traceparent=batch.roster.context.traceparent,
    )


def _refused(batch: Batch, outcome: Outcome) -> OutgoingEvent:
    refusal = next(each for each in batch.control.refusals if each.correlation_id == outcome.correlation_id)
    refused = Refused(
        "batch_is_live",
        refusal.reason,
        batch_id=batch.batch_id,
        correlation_id=UUID(outcome.correlation_id),
        is_request=True,
    )
    return refused_event(refused, outcome_event_id(batch.batch_id, batch.run, *outcome), _time(refusal.at))


def _ranked(batch: Batch) -> list[RankingEntry]:
    return [RankingEntry(row.essay_id, row.rank, row.theta) for row in ranking(batch)]


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

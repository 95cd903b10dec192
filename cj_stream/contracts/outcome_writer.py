"""Everything we tell the platform about a batch: completed, failed, and the rich result. Current forms only.

All functions are deterministic: the same input gives the same bytes, so that a repeat is recognised by its event id.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct

from cj_stream.contracts.envelope import write_envelope
from cj_stream.contracts.fields import wire_time
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import ANCHOR_PREFIX
from cj_stream.domain.due_outcomes import OutcomeKind
from cj_stream.domain.states import FailureReason

SERVICE = "cj_assessment_service"
COMPLETED_EVENT_TYPE = "huleedu.cj_assessment.completed.v1"
FAILED_EVENT_TYPE = "huleedu.cj_assessment.failed.v1"
RESULT_EVENT_TYPE = "assessment.result.published"
JOB_ID_OF_REFUSED = "INITIALIZATION_FAILED"


class OutgoingEvent(NamedTuple):
    """One Kafka message to be sent; ``topic_kind`` says to which of the outcome topics."""

    topic_kind: OutcomeKind
    key: bytes
    value: bytes


class OutcomeHeader(Struct, frozen=True, kw_only=True):
    """What every outcome of a batch carries. Both times are aware; ``completed_at`` is also the publication time."""

    event_id: UUID
    batch_id: str
    job_id: str
    correlation_id: UUID
    started_at: datetime
    completed_at: datetime
    traceparent: str | None = None

    @property
    def duration_seconds(self) -> float:
        """Seconds from start to completion, never negative: the two times may come from two clocks."""
        return max(0.0, (self.completed_at - self.started_at).total_seconds())


class RankingEntry(NamedTuple):
    """One essay's place: ``rank`` from 1, ``bt_score`` in logits."""

    essay_id: str
    rank: int
    bt_score: float

    @property
    def is_anchor(self) -> bool:
        """Whether the essay is an anchor and no student's."""
        return self.essay_id.startswith(ANCHOR_PREFIX)


class ResultMetadata(Struct, frozen=True, kw_only=True):
    """How a result came about. ``comparison_count`` counts verdicts, ``temperature`` is the judge's."""

    model: str
    provider: str
    temperature: float | None
    course_code: str | None
    assignment_id: str | None
    comparison_count: int


def completed_event(
    header: OutcomeHeader, scored_essay_ids: Sequence[str], failed_essay_ids: Sequence[str]
) -> OutgoingEvent:
    """Return the thin completed event; every student's essay must be in exactly one of the two lists.

    Anchors are left out. Raises ``ValueError`` when both lists are empty (the reader refuses such an event) and when an
    id stands twice.
    """
    scored = _students(scored_essay_ids)
    failed = _students(failed_essay_ids)
    total = len(scored) + len(failed)
    if total == 0:
        raise ValueError(f"batch {header.batch_id!r}: a completed event without essays would be refused by its reader")
    if len({*scored, *failed}) < total:
        raise ValueError(
            f"batch {header.batch_id!r}: an essay id stands twice in the lists of scored and failed essays"
        )
    data = _thin_data(header, "completed", "completed_successfully" if scored else "failed_critically", {})
    data["processing_summary"] = {
        "total_essays": total,
        "successful": len(scored),
        "failed": len(failed),
        "successful_essay_ids": scored,
        "failed_essay_ids": failed,
        "processing_time_seconds": round(header.duration_seconds, 2),
        "single_essay_batch": total == 1,
    }
    return _outgoing(OutcomeKind.COMPLETED, COMPLETED_EVENT_TYPE, header, header.batch_id, data)


def failed_event(header: OutcomeHeader, *, reason: FailureReason, details: Mapping[str, Any]) -> OutgoingEvent:
    """Return the failed event of a batch that had begun, with ``details`` that JSON can hold.

    As upstream has it, the details of ``FailureReason.STUCK`` stand beside the reason, others below ``details``.
    """
    nested = details if reason is FailureReason.STUCK else {"details": details}
    data = _thin_data(header, "failed", "failed_critically", {"reason": reason, **nested})
    return _outgoing(OutcomeKind.FAILED, FAILED_EVENT_TYPE, header, header.batch_id, data)


def refused_event(refused: Refused, event_id: UUID, now: datetime) -> OutgoingEvent:
    """Return the failed event of a request that was refused before a job existed.

    Raises ``ValueError`` when the refusal is not answerable: there is nobody to address it to.
    """
    if not refused.answerable or refused.batch_id is None or refused.correlation_id is None:
        raise ValueError(f"a refusal without batch and correlation id cannot be answered: {refused}")
    header = OutcomeHeader(
        event_id=event_id,
        batch_id=refused.batch_id,
        job_id=JOB_ID_OF_REFUSED,
        correlation_id=refused.correlation_id,
        started_at=now,
        completed_at=now,
    )
    data = _thin_data(header, "failed", "failed_critically", _refusal_info(refused, now))
    data["system_metadata"] |= {"started_at": None, "completed_at": None}
    return _outgoing(OutcomeKind.FAILED, FAILED_EVENT_TYPE, header, header.batch_id, data)


def result_event(header: OutcomeHeader, essays: Sequence[RankingEntry], metadata: ResultMetadata) -> OutgoingEvent:
    """Return the rich result with all ranked essays, anchors included, in order of rank.

    No grades are known, so each essay is graded ``U`` without confidence. Raises ``ValueError`` without essays, for a
    rank below 1 and for a score that is no number.
    """
    if not essays:
        raise ValueError(f"batch {header.batch_id!r}: a result needs at least one ranked essay")
    data = {
        **_event_data(header, RESULT_EVENT_TYPE),
        "batch_id": header.batch_id,
        "cj_assessment_job_id": header.job_id,
        "assignment_id": metadata.assignment_id,
        "assessment_method": "cj_assessment",
        "model_used": metadata.model,
        "model_provider": metadata.provider,
        "model_version": None,
        "essay_results": [_essay_result(essay) for essay in sorted(essays, key=lambda essay: essay.rank)],
        "assessment_metadata": _assessment_metadata(header, essays, metadata),
        "assessed_at": wire_time(header.completed_at),
    }
    return _outgoing(OutcomeKind.RESULT, RESULT_EVENT_TYPE, header, header.job_id, data)


def _students(essay_ids: Sequence[str]) -> list[str]:
    return [essay_id for essay_id in essay_ids if not essay_id.startswith(ANCHOR_PREFIX)]


def _event_data(header: OutcomeHeader, event_name: str) -> dict[str, Any]:
    return {
        "event_name": event_name,
        "entity_id": header.batch_id,
        "entity_type": "batch",
        "parent_id": None,
        "timestamp": wire_time(header.completed_at),
    }


def _thin_data(
    header: OutcomeHeader, stage: Literal["completed", "failed"], status: str, error_info: Mapping[str, Any]
) -> dict[str, Any]:
    event_name = f"cj_assessment.{stage}"
    return {
        **_event_data(header, event_name),
        "status": status,
        "system_metadata": {
            "entity_id": header.batch_id,
            "entity_type": "batch",
            "parent_id": None,
            "timestamp": wire_time(header.completed_at),
            "processing_stage": stage,
            "started_at": wire_time(header.started_at),
            "completed_at": wire_time(header.completed_at),
            "event": event_name,
            "error_info": dict(error_info),
        },
        "cj_assessment_job_id": header.job_id,
    }


def _refusal_info(refused: Refused, now: datetime) -> dict[str, Any]:
    return {
        "error_code": "VALIDATION_ERROR",
        "error_message": refused.detail,
        "correlation_id": str(refused.correlation_id),
        "timestamp": wire_time(now),
        "service": SERVICE,
        "details": {"field": (refused.field or "").removeprefix("data."), "reason": refused.reason},
    }


def _essay_result(essay: RankingEntry) -> dict[str, Any]:
    if essay.rank < 1 or not math.isfinite(essay.bt_score):
        raise ValueError(f"essay {essay.essay_id!r}: rank {essay.rank} and score {essay.bt_score} cannot be published")
    return {
        "essay_id": essay.essay_id,
        "normalized_score": 0.0,
        "letter_grade": "U",
        "confidence_score": 0.0,
        "confidence_label": "LOW",
        "bt_score": float(essay.bt_score),
        "rank": int(essay.rank),
        "is_anchor": essay.is_anchor,
        "feedback_uri": None,
        "metrics_uri": None,
        "display_name": "ANCHOR GRADE U" if essay.is_anchor else None,
    }


def _assessment_metadata(
    header: OutcomeHeader, essays: Sequence[RankingEntry], metadata: ResultMetadata
) -> dict[str, Any]:
    return {
        "anchor_essays_used": sum(essay.is_anchor for essay in essays),
        "calibration_method": "default",
        "anchor_grade_distribution": {},
        "comparison_count": metadata.comparison_count,
        "processing_duration_seconds": header.duration_seconds,
        "llm_temperature": metadata.temperature,
        "assignment_id": metadata.assignment_id,
        "course_code": metadata.course_code,
    }


def _outgoing(
    kind: OutcomeKind, event_type: str, header: OutcomeHeader, key: str, data: Mapping[str, Any]
) -> OutgoingEvent:
    value = write_envelope(
        event_id=header.event_id,
        event_type=event_type,
        timestamp=header.completed_at,
        source_service=SERVICE,
        correlation_id=header.correlation_id,
        data=data,
        metadata={"traceparent": header.traceparent} if header.traceparent else {},
    )
    return OutgoingEvent(kind, key.encode(), value)

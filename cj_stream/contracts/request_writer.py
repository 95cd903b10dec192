"""Writes assessment requests in the platform's current form: what `read_request` reads back as the same request."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from cj_stream.contracts.envelope import write_envelope
from cj_stream.contracts.fields import wire_time
from cj_stream.contracts.request_reader import EVENT_NAME, EVENT_TYPE, AssessmentRequest, RequestedOverrides

SOURCE = "cj_stream"


def write_request(request: AssessmentRequest, event_id: UUID) -> bytes:
    """Return the message that asks for ``request``; its key on the topic is the batch id.

    ``requested_at`` becomes the time of publication. Raises ``ValueError`` when it, the correlation id or the user id
    is missing, which the current form requires, and for ``essay_instructions``, which it has no field for: store that
    text and name it as ``prompt_storage_id``.
    """
    if request.correlation_id is None or request.requested_at is None or request.user_id is None:
        raise ValueError("a request needs correlation_id, requested_at and user_id: set all three")
    if request.essay_instructions is not None:
        raise ValueError("a request names its task by prompt_storage_id: store the text of essay_instructions first")
    return write_envelope(
        event_id=event_id,
        event_type=EVENT_TYPE,
        timestamp=request.requested_at,
        source_service=SOURCE,
        correlation_id=request.correlation_id,
        data=_data(request, request.requested_at),
        metadata=_metadata(request),
    )


def _data(request: AssessmentRequest, requested_at: datetime) -> dict[str, Any]:
    entity = {"entity_id": request.batch_id, "entity_type": "batch", "parent_id": None}
    stamped = {**entity, "timestamp": wire_time(requested_at)}
    progress = {"processing_stage": "pending", "started_at": None, "completed_at": None}
    return {
        "event_name": EVENT_NAME,
        **stamped,
        "system_metadata": {**stamped, **progress, "event": EVENT_NAME, "error_info": {}},
        "essays_for_cj": [{**essay._asdict(), "spellcheck_metrics": None} for essay in request.essays],
        "language": request.language,
        "course_code": request.course_code,
        "student_prompt_ref": _prompt_ref(request.prompt_storage_id),
        "llm_config_overrides": _overrides(request.overrides),
        "assignment_id": request.assignment_id,
        "user_id": request.user_id,
        "org_id": request.org_id,
    }


def _prompt_ref(storage_id: str | None) -> dict[str, Any] | None:
    if storage_id is None:
        return None
    return {"references": {"student_prompt_text": {"storage_id": storage_id, "path": ""}}}


def _overrides(overrides: RequestedOverrides) -> dict[str, Any] | None:
    if overrides == RequestedOverrides():
        return None
    return {
        "model_override": overrides.model,
        "temperature_override": overrides.temperature,
        "max_tokens_override": overrides.max_tokens,
        "provider_override": overrides.provider,
        "system_prompt_override": overrides.system_prompt,
        "judge_rubric_override": overrides.judge_rubric,
        "reasoning_effort": overrides.reasoning_effort,
        "output_verbosity": overrides.output_verbosity,
    }


def _metadata(request: AssessmentRequest) -> dict[str, Any]:
    config = {
        "batch_size": request.batch_size,
        "max_concurrent_batches": request.max_concurrent_batches,
        "partial_completion_threshold": request.completion_threshold,
        "llm_batching_mode_override": request.batching_mode,
        "pairing_policy": request.pairing_policy,
        "stop_rules": None if request.stop_rules is None else list(request.stop_rules),
        "reliability_target": request.reliability_target,
        "grade_boundaries": list(request.grade_boundaries) or None,
        "max_cost": request.max_cost,
        "priority": request.priority or None,
        "reuse_judgements": request.reuse_judgements,
    }
    knobs = {
        "max_comparisons": request.max_comparisons,
        "batch_config_overrides": _present(config) or None,
        "traceparent": request.traceparent,
    }
    return _present(knobs)


def _present(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}

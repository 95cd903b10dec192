"""Assessment requests: every shape the platform has sent since July 2025, read into one normal form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from msgspec import Struct, structs
from pydantic import BeforeValidator, Field

from cj_stream.contracts.envelope import as_envelope, read_object
from cj_stream.contracts.fields import (
    Identifier,
    Integer,
    Label,
    Number,
    Unneeded,
    WireModel,
    readable_identifier,
    readable_uuid,
)
from cj_stream.contracts.knobs import BatchingMode, read_knobs
from cj_stream.contracts.message_limits import REQUEST_LIMIT, REQUESTED_ESSAY_BYTES
from cj_stream.contracts.refusal import Refused, validated
from cj_stream.engine.texts import clip
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

EVENT_TYPE = "huleedu.els.cj_assessment.requested.v1"
EVENT_NAME = "els.cj_assessment.requested"
ANCHOR_PREFIX = "ANCHOR_"
"""Essay ids that begin with it are anchors, not students' essays."""

_BATCH_ID_PATHS = (
    ("entity_id",),
    ("system_metadata", "entity_id"),
    ("entity_ref", "entity_id"),
    ("system_metadata", "entity", "entity_id"),
)
"""Where the batch id may stand, in the order in which it is looked for."""


class RequestedEssay(NamedTuple):
    """One essay to be ranked and the storage id of its text."""

    essay_id: str
    text_storage_id: str


class RequestedOverrides(Struct, frozen=True, kw_only=True):
    """What the requester wants of the judge; ``None`` leaves it to the service. A temperature of 0.0 is a value."""

    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    provider: str | None = None
    system_prompt: str | None = None
    judge_rubric: str | None = None
    reasoning_effort: str | None = None
    output_verbosity: str | None = None


class AssessmentRequest(Struct, frozen=True, kw_only=True):
    """A request in its normal form.

    ``correlation_id`` is ``None`` where the message carried none. ``completion_threshold`` is a share, 0.5-1.0.
    ``requested_at`` is the publication by the requester's clock. Ids are kept in the requester's spelling.
    """

    batch_id: str
    correlation_id: UUID | None
    essays: tuple[RequestedEssay, ...]
    language: str | None
    course_code: str | None
    overrides: RequestedOverrides
    prompt_storage_id: str | None = None
    essay_instructions: str | None = None
    assignment_id: str | None = None
    user_id: str | None = None
    org_id: str | None = None
    max_comparisons: int | None = None
    completion_threshold: float | None = None
    batch_size: int | None = None
    max_concurrent_batches: int | None = None
    batching_mode: BatchingMode | None = None
    pairing_policy: PairingPolicy | None = None
    stop_rules: tuple[StopRule, ...] | None = None
    reliability_target: float | None = None
    grade_boundaries: tuple[float | str, ...] = ()
    max_cost: float | None = None
    priority: int = 0
    reuse_judgements: str | None = None
    traceparent: str | None = None
    requested_at: datetime | None = None


def _absent_if_blank(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


_Text = Annotated[str | None, BeforeValidator(_absent_if_blank)]


class _Essay(WireModel):
    essay_id: Identifier
    text_storage_id: Identifier


class _PromptText(WireModel):
    storage_id: _Text = None


class _References(WireModel):
    student_prompt_text: _PromptText | None = None


class _PromptRef(WireModel):
    references: _References | None = None


class _Overrides(WireModel):
    model_override: _Text = None
    temperature_override: Annotated[Number, Field(ge=0, le=2)] | None = None
    max_tokens_override: Annotated[Integer, Field(gt=0)] | None = None
    provider_override: _Text = None
    system_prompt_override: _Text = None
    judge_rubric_override: _Text = None
    reasoning_effort: Literal["none", "low", "medium", "high"] | None = None
    output_verbosity: Literal["low", "medium", "high"] | None = None


class _Request(WireModel):
    """What is asked for. The batch id is looked for apart, and what is only handed on does not fail a request."""

    essays_for_cj: list[_Essay]
    student_prompt_ref: _PromptRef | None = None
    essay_instructions: _Text = None
    llm_config_overrides: _Overrides | None = None
    # Handed back in the result, by which the requester knows it again: dropped, the result would be nobody's.
    assignment_id: Annotated[str, Field(max_length=100)] | None = None
    language: Unneeded[Label] = None
    course_code: Unneeded[Label] = None
    user_id: Unneeded[Label] = None
    org_id: Unneeded[Label] = None


def read_request(value: bytes | None, *, max_essays: int) -> AssessmentRequest:
    """Return the request in ``value``, with at most ``max_essays`` essays.

    Raises ``Refused``; ``Refused.answerable`` says whether the requester can be told by a failed event.
    """
    document = read_object(value, limit=max(REQUEST_LIMIT, REQUESTED_ESSAY_BYTES * max_essays))
    try:
        _refuse_other_events(document)
        return _normal_form(document, max_essays)
    except Refused as refused:
        data = document.get("data")
        raise refused.addressed(
            readable_identifier(_batch_id(data)),
            readable_uuid(document.get("correlation_id")),
            is_request=refused.reason != "wrong_event",
        ) from None


def _normal_form(document: Mapping[str, Any], max_essays: int) -> AssessmentRequest:
    envelope = as_envelope(document)
    request = validated(_Request, envelope.data, "data")
    knobs = read_knobs(envelope.metadata or {})
    essays = _checked_essays(request.essays_for_cj, max_essays)
    _refuse_unknown_marks(knobs.grade_boundaries, essays)
    prompt = request.student_prompt_ref and request.student_prompt_ref.references
    return AssessmentRequest(
        batch_id=_required_batch_id(envelope.data),
        correlation_id=envelope.correlation_id,
        essays=essays,
        language=request.language,
        course_code=request.course_code,
        overrides=_overrides(request.llm_config_overrides or _Overrides()),
        prompt_storage_id=prompt.student_prompt_text.storage_id if prompt and prompt.student_prompt_text else None,
        essay_instructions=request.essay_instructions,
        assignment_id=request.assignment_id,
        user_id=request.user_id,
        org_id=request.org_id,
        requested_at=envelope.event_timestamp,
        **structs.asdict(knobs),
    )


def _refuse_other_events(document: Mapping[str, Any]) -> None:
    """Refuse what was never meant as a request, so that no requester is told that a request of his failed."""
    data = document.get("data")
    if not isinstance(data, dict):
        return
    name = data.get("event_name")
    if isinstance(name, str):
        other = name != EVENT_NAME
    else:
        other = "essays_for_cj" not in data and document.get("event_type") != EVENT_TYPE
    if other:
        raise Refused(
            "wrong_event",
            f"data.event_name is {clip(repr(name), 80)}, this topic takes {EVENT_NAME!r}: send it to its own topic.",
            field="data.event_name",
        )


def _batch_id(data: object) -> str | None:
    found = (_at(data, path) for path in _BATCH_ID_PATHS)
    return next((item for item in found if isinstance(item, str) and item.strip()), None)


def _at(value: object, path: tuple[str, ...]) -> object:
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _required_batch_id(data: Mapping[str, Any]) -> str:
    batch_id = _batch_id(data)
    if batch_id is None:
        raise Refused("missing_batch_id", "No batch id: set data.entity_id.", field="data.entity_id")
    if readable_identifier(batch_id) is None:
        raise Refused(
            "invalid_value",
            f"The batch id has {len(batch_id)} characters: send at most 255, and no NUL among them.",
            field="data.entity_id",
        )
    return batch_id


def _checked_essays(essays: list[_Essay], max_essays: int) -> tuple[RequestedEssay, ...]:
    field = "data.essays_for_cj"
    if all(essay.essay_id.startswith(ANCHOR_PREFIX) for essay in essays):
        raise Refused("no_essays", f"{field} names no student's essay: send at least one.", field=field)
    if len(essays) > max_essays:
        detail = f"{field} has {len(essays)} essays, at most {max_essays} are taken: split the batch."
        raise Refused("too_many_essays", detail, field=field)
    essay_id, count = Counter(essay.essay_id for essay in essays).most_common(1)[0]
    if count > 1:
        detail = f"{field} has the essay id {clip(repr(essay_id), 80)} {count} times: send every essay once."
        raise Refused("duplicate_essay_ids", detail, field=field)
    return tuple(RequestedEssay(essay.essay_id, essay.text_storage_id) for essay in essays)


def _refuse_unknown_marks(boundaries: tuple[float | str, ...], essays: tuple[RequestedEssay, ...]) -> None:
    known = {essay.essay_id for essay in essays}
    unknown = next((mark for mark in boundaries if isinstance(mark, str) and mark not in known), None)
    if unknown is not None:
        field = "metadata.batch_config_overrides.grade_boundaries"
        detail = (
            f"{field} names {clip(repr(unknown), 80)}, which is not among the essays: name an essay or give a number."
        )
        raise Refused("invalid_value", detail, field=field)


def _overrides(wire: _Overrides) -> RequestedOverrides:
    return RequestedOverrides(
        model=wire.model_override,
        temperature=wire.temperature_override,
        max_tokens=wire.max_tokens_override,
        provider=wire.provider_override,
        system_prompt=wire.system_prompt_override,
        judge_rubric=wire.judge_rubric_override,
        reasoning_effort=wire.reasoning_effort,
        output_verbosity=wire.output_verbosity,
    )

"""What our own commands send: the platform's current form of a request, which reads back as the same request."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from support.wire.contract_samples import MAX_ESSAYS, document, raw

from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides, read_request
from cj_stream.contracts.request_writer import write_request
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

CURRENT = "request_current.json"
EVENT = UUID("feec6f51-042f-4068-9091-8b6f43684318")
NOW = datetime(2026, 3, 4, 9, 12, tzinfo=UTC)

REQUEST = AssessmentRequest(
    batch_id="b1",
    correlation_id=UUID("70d20bdd-79e1-409d-961f-8469230b5ac5"),
    essays=(RequestedEssay("e1", "s1"), RequestedEssay("e2", "s2")),
    language="en",
    course_code="ENG6",
    overrides=RequestedOverrides(),
    user_id="me",
    requested_at=NOW,
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40).filter(
    str.strip
)
absent = st.none()
overrides = st.builds(
    RequestedOverrides,
    model=absent | texts,
    temperature=absent | st.floats(0, 2),
    max_tokens=absent | st.integers(1, 10_000),
    provider=absent | texts,
    system_prompt=absent | texts,
    judge_rubric=absent | texts,
    reasoning_effort=absent | st.sampled_from(["none", "low", "medium", "high"]),
    output_verbosity=absent | st.sampled_from(["low", "medium", "high"]),
)
requests = st.builds(
    AssessmentRequest,
    batch_id=texts,
    correlation_id=st.uuids(),
    essays=st.lists(
        st.builds(RequestedEssay, texts.map("e{}".format), texts), min_size=1, max_size=5, unique_by=lambda e: e[0]
    ).map(tuple),
    language=texts,
    course_code=texts,
    overrides=overrides,
    prompt_storage_id=absent | texts,
    essay_instructions=absent,
    assignment_id=absent | texts,
    user_id=texts,
    org_id=absent | texts,
    max_comparisons=absent | st.integers(1, 10_000),
    completion_threshold=absent | st.floats(0.5, 1.0),
    batch_size=absent | st.integers(10, 200),
    max_concurrent_batches=absent | st.integers(1, 5),
    batching_mode=absent | st.sampled_from(["per_request", "serial_bundle", "provider_batch_api"]),
    pairing_policy=absent | st.sampled_from(PairingPolicy),
    stop_rules=absent | st.sets(st.sampled_from(StopRule)).map(tuple),
    reliability_target=absent | st.floats(0, 1),
    grade_boundaries=st.lists(st.floats(-5, 5), max_size=3).map(tuple),
    traceparent=absent | st.just("00-be9a6c5678f85478d174b1f350859442-45d5841cc58d41bb-01"),
    requested_at=st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - bounds are naive
)


def keys(value: object) -> object:
    if isinstance(value, dict):
        return {name: keys(child) for name, child in value.items()}
    return [keys(value[0])] if isinstance(value, list) else None


def written(request: AssessmentRequest) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(write_request(request, EVENT))
    return message


@given(requests)
def test_every_request_reads_back_as_it_was_written(request: AssessmentRequest) -> None:
    assert read_request(write_request(request, EVENT), max_essays=MAX_ESSAYS) == request


def test_the_platforms_own_request_is_written_as_the_platform_does_but_for_the_sender() -> None:
    sample = document(CURRENT)
    for essay in sample["data"]["essays_for_cj"]:
        essay["spellcheck_metrics"] = None
    message = written(read_request(raw(CURRENT), max_essays=MAX_ESSAYS))
    assert message | {"source_service": sample["source_service"]} == sample


def test_overrides_are_written_in_the_platforms_names() -> None:
    message = written(structs.replace(REQUEST, overrides=RequestedOverrides(model="m", temperature=0.0)))
    sample = document("request_llm_overrides.json")["data"]["llm_config_overrides"]
    assert keys(message["data"]["llm_config_overrides"]) == keys(sample)
    assert message["data"]["llm_config_overrides"]["temperature_override"] == 0.0


def test_what_was_not_asked_for_is_not_in_the_metadata() -> None:
    assert written(REQUEST)["metadata"] == {}
    assert written(REQUEST)["data"]["llm_config_overrides"] is None


@pytest.mark.parametrize("field", ["correlation_id", "requested_at", "user_id"])
def test_a_request_without_what_the_current_form_requires_is_not_written(field: str) -> None:
    with pytest.raises(ValueError, match="user_id"):
        write_request(structs.replace(REQUEST, **{field: None}), EVENT)


def test_instructions_as_text_have_no_place_in_the_current_form() -> None:
    with pytest.raises(ValueError, match="prompt_storage_id"):
        write_request(structs.replace(REQUEST, essay_instructions="Write."), EVENT)

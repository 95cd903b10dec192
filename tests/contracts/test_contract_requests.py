"""Requests: tolerant where the contract is, strict where a guess would harm a batch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from support.wire.contract_samples import ABSENT, MAX_ESSAYS, changed_sample, document, encoded, raw, with_value

from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedOverrides, read_request

CURRENT = "request_current.json"
OLDER_SHAPES = ["request_entity_ref.json", "request_flat_without_user.json"]


def read(value: bytes, max_essays: int = MAX_ESSAYS) -> AssessmentRequest:
    return read_request(value, max_essays=max_essays)


def read_changed(path: str, value: object, name: str = CURRENT) -> AssessmentRequest:
    return read(changed_sample(name, path, value))


def refused_changed(path: str, value: object, name: str = CURRENT) -> Refused:
    with pytest.raises(Refused) as caught:
        read_changed(path, value, name)
    return caught.value


def september_2025() -> dict[str, object]:
    message = document("request_flat_without_user.json")
    message["data"] |= {"user_id": "teacher-1", "org_id": None}
    return message


def test_the_current_shape_is_read_into_the_normal_form() -> None:
    request = read(raw(CURRENT))
    assert request.essays[1] == ("bcdc0251-cd4e-44a9-8592-8605b49213bf", "67bc7d48431b4db18b5a1c2ed98eef8f")
    assert request.prompt_storage_id == "cb0aabac34f94056886da98e490c9b67"
    assert (request.language, request.course_code) == ("en", "ENG6")
    assert request.user_id == "d7ab7d95-40a1-4895-8bda-6f0f9dd6388c"
    assert request.traceparent == "00-be9a6c5678f85478d174b1f350859442-45d5841cc58d41bb-01"
    assert request.requested_at == datetime(2026, 3, 4, 9, 12, 0, 418203, UTC)
    assert request.overrides == RequestedOverrides()
    assert request.max_comparisons is None


@pytest.mark.parametrize("name", OLDER_SHAPES)
def test_older_shapes_carry_their_instructions_and_no_user(name: str) -> None:
    request = read(raw(name))
    assert request.essay_instructions == document(name)["data"]["essay_instructions"]
    assert (request.prompt_storage_id, request.user_id, request.org_id, request.assignment_id) == (None,) * 4


def test_the_shape_of_september_2025_carries_instructions_and_a_user() -> None:
    request = read(encoded(september_2025()))
    assert request.essay_instructions is not None
    assert (request.user_id, request.org_id) == ("teacher-1", None)


def test_every_override_is_read_and_zero_is_a_temperature() -> None:
    assert read(raw("request_llm_overrides.json")).overrides == RequestedOverrides(
        model="claude-haiku-4-5-20251001",
        temperature=0.0,
        max_tokens=600,
        provider="anthropic",
        system_prompt="You compare two school essays and name the better one.",
        judge_rubric="Weigh argument 60 %, language 40 %.",
        reasoning_effort="low",
        output_verbosity="low",
    )


def test_the_knobs_of_the_envelope_are_read_and_the_hint_wins() -> None:
    request = read(raw("request_metadata_knobs.json"))
    assert request.max_comparisons == 24
    assert request.completion_threshold == 0.9
    assert (request.batch_size, request.max_concurrent_batches) == (10, 2)
    assert request.batching_mode == "serial_bundle"


# --- Tolerance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["", "data", "data.system_metadata", "data.essays_for_cj.0", "data.student_prompt_ref.references", "metadata"],
)
def test_unknown_fields_are_ignored_at_every_level(path: str) -> None:
    field = f"{path}.field_of_next_year".removeprefix(".")
    assert read_changed(field, {"deep": [1, None]}) == read(raw(CURRENT))


OPTIONAL = [
    "event_id",
    "event_timestamp",
    "schema_version",
    "data_schema_uri",
    "correlation_id",
    "metadata",
    "data.event_name",
    "data.timestamp",
    "data.entity_type",
    "data.parent_id",
    "data.entity_id",
    "data.student_prompt_ref",
    "data.student_prompt_ref.references",
    "data.student_prompt_ref.references.student_prompt_text",
    "data.student_prompt_ref.references.student_prompt_text.path",
    "data.student_prompt_ref.references.student_prompt_text.storage_id",
    "data.llm_config_overrides",
    "data.assignment_id",
    "data.user_id",
    "data.org_id",
    "data.essays_for_cj.0.spellcheck_metrics",
]


@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
@pytest.mark.parametrize("path", OPTIONAL)
def test_an_optional_field_may_be_null_or_absent(path: str, value: object) -> None:
    request = read_changed(path, value)
    assert request.batch_id == "55f18100-0257-4dc8-8f4d-78a17614d1d3"
    assert len(request.essays) == 5


@pytest.mark.parametrize(
    "field",
    [
        "model_override",
        "temperature_override",
        "max_tokens_override",
        "provider_override",
        "system_prompt_override",
        "judge_rubric_override",
        "reasoning_effort",
        "output_verbosity",
    ],
)
@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_every_override_may_be_null_or_absent(field: str, value: object) -> None:
    overrides = read_changed(f"data.llm_config_overrides.{field}", value, "request_llm_overrides.json").overrides
    assert getattr(overrides, field.removesuffix("_override")) is None


REQUIRED = [
    "data.essays_for_cj",
    "data.essays_for_cj.0.essay_id",
    "data.essays_for_cj.0.text_storage_id",
]


@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
@pytest.mark.parametrize("path", REQUIRED)
def test_a_missing_required_field_is_refused_and_answered(path: str, value: object) -> None:
    refused = refused_changed(path, value)
    assert refused.answerable
    assert refused.batch_id == "55f18100-0257-4dc8-8f4d-78a17614d1d3"


UNNEEDED = [
    "event_id",
    "event_type",
    "event_timestamp",
    "source_service",
    "schema_version",
    "data.timestamp",
    "data.entity_type",
    "data.parent_id",
    "data.system_metadata",
    "data.language",
    "data.course_code",
    "data.user_id",
    "data.org_id",
    "data.essays_for_cj.0.spellcheck_metrics",
]


@pytest.mark.parametrize("value", [None, ABSENT, -1, "later", [], {"deep": [1]}, "x" * 20_000], ids=repr)
@pytest.mark.parametrize("path", UNNEEDED)
def test_a_field_that_nobody_needs_costs_no_request(path: str, value: object) -> None:
    request, known = read_changed(path, value), read(raw(CURRENT))
    assert (request.batch_id, request.essays) == (known.batch_id, known.essays)
    assert (request.correlation_id, request.overrides) == (known.correlation_id, known.overrides)


def test_the_batch_id_is_looked_for_in_the_order_of_the_contract() -> None:
    message = document("request_minimal.json")
    message["data"] |= {
        "entity_id": "first",
        "system_metadata": {"entity_id": "second", "entity": {"entity_id": "fourth"}},
        "entity_ref": {"entity_id": "third"},
    }
    found = []
    for path in ("entity_id", "system_metadata.entity_id", "entity_ref.entity_id", "system_metadata.entity.entity_id"):
        found.append(read(encoded(message)).batch_id)
        message = with_value(message, f"data.{path}", " " if path == "entity_id" else None)
    assert found == ["first", "second", "third", "fourth"]


def test_an_event_type_other_than_the_topic_does_not_matter() -> None:
    assert read_changed("event_type", "ELS_CJ_ASSESSMENT_REQUESTED").batch_id


@pytest.mark.parametrize("spelling", [str.upper, lambda u: u.replace("-", ""), lambda u: f"{{{u}}}", str])
def test_the_correlation_id_may_be_spelt_in_any_way(spelling: Callable[[str], str]) -> None:
    known = "70d20bdd-79e1-409d-961f-8469230b5ac5"
    assert str(read_changed("correlation_id", spelling(known)).correlation_id) == known


def test_a_correlation_id_that_is_no_uuid_is_refused() -> None:
    assert refused_changed("correlation_id", "abc").reason == "invalid_value"


def test_a_request_without_correlation_id_has_none_and_cannot_be_answered() -> None:
    assert read_changed("correlation_id", ABSENT).correlation_id is None
    message = with_value(document("invalid/request_empty_essays.json"), "correlation_id", ABSENT)
    with pytest.raises(Refused) as caught:
        read(encoded(message))
    assert not caught.value.answerable


@pytest.mark.parametrize(
    ("field", "value"),
    [("language", "tlh"), ("course_code", "MATH9"), ("essay_instructions", "Write."), ("user_id", "")],
)
def test_free_values_are_taken_as_they_are(field: str, value: str) -> None:
    assert getattr(read_changed(f"data.{field}", value), field) == value


def test_any_provider_and_model_are_taken() -> None:
    message = document("request_llm_overrides.json")
    message["data"]["llm_config_overrides"] |= {"provider_override": "my-own", "model_override": "x" * 300}
    assert read(encoded(message)).overrides.provider == "my-own"


def test_a_blank_override_counts_as_absent() -> None:
    assert read_changed("data.llm_config_overrides", {"model_override": "  "}).overrides.model is None


@pytest.mark.parametrize("value", ["24", 24.5, 0, -3, True, None, [24], {}])
def test_a_wrong_limit_of_comparisons_is_ignored(value: object) -> None:
    assert read_changed("metadata", {"max_comparisons": value}).max_comparisons is None


def test_a_gigantic_limit_of_comparisons_still_fits_into_a_row() -> None:
    assert read_changed("metadata", {"max_comparisons": 10**30}).max_comparisons == 2**63 - 1


@pytest.mark.parametrize("value", ["turbo", 3, None, ["per_request"], ""])
def test_a_wrong_hint_is_ignored(value: object) -> None:
    knobs = {"llm_batching_mode_hint": value, "batch_config_overrides": {"llm_batching_mode_override": "per_request"}}
    assert read_changed("metadata", knobs).batching_mode == "per_request"


def test_the_case_of_a_hint_does_not_matter() -> None:
    knobs = {"llm_batching_mode_hint": "Provider_Batch_API"}
    assert read_changed("metadata", knobs).batching_mode == "provider_batch_api"


def test_how_pairs_are_chosen_and_when_to_stop_can_be_asked_for() -> None:
    mark = document(CURRENT)["data"]["essays_for_cj"][0]["essay_id"]
    wishes = {
        "pairing_policy": "Random",
        "stop_rules": ["decisions", "reliability"],
        "reliability_target": 0.8,
        "grade_boundaries": [-1, 0.5, mark],
    }
    request = read_changed("metadata", {"batch_config_overrides": wishes})
    assert (request.pairing_policy, request.reliability_target) == ("random", 0.8)
    assert request.stop_rules == ("decisions", "reliability")
    assert request.grade_boundaries == (-1.0, 0.5, mark)


@pytest.mark.parametrize(
    "wish",
    [
        {"pairing_policy": "guess"},
        {"stop_rules": ["never"]},
        {"reliability_target": 1.1},
        {"grade_boundaries": [True]},
        {"grade_boundaries": ["no such essay"]},
        {"grade_boundaries": 3},
    ],
)
def test_a_wish_that_cannot_be_met_fails_the_request(wish: dict[str, object]) -> None:
    with pytest.raises(Refused) as caught:
        read_changed("metadata", {"batch_config_overrides": wish})
    assert caught.value.answerable
    assert str(caught.value.field).startswith(f"metadata.batch_config_overrides.{next(iter(wish))}")


@pytest.mark.parametrize("value", ["", "00-xyz", 5, "00-" + "a" * 5000])
def test_a_trace_context_that_is_none_is_dropped(value: object) -> None:
    assert read_changed("metadata.traceparent", value).traceparent is None

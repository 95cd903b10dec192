"""Requests with a wrong value: refused, and answered where batch and correlation id are readable."""

from __future__ import annotations

import pytest
from support.wire.contract_samples import MAX_ESSAYS, changed_sample, raw

from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import AssessmentRequest, read_request

CURRENT = "request_current.json"


def read(value: bytes, max_essays: int = MAX_ESSAYS) -> AssessmentRequest:
    return read_request(value, max_essays=max_essays)


def read_changed(path: str, value: object, name: str = CURRENT) -> AssessmentRequest:
    return read(changed_sample(name, path, value))


def refused_changed(path: str, value: object, name: str = CURRENT) -> Refused:
    with pytest.raises(Refused) as caught:
        read_changed(path, value, name)
    return caught.value


@pytest.mark.parametrize(
    "overrides",
    [
        {"batch_size": 9},
        {"batch_size": 201},
        {"max_concurrent_batches": 0},
        {"max_concurrent_batches": 6},
        {"partial_completion_threshold": 0.49},
        {"partial_completion_threshold": 1.01},
        {"partial_completion_threshold": True},
        {"llm_batching_mode_override": "turbo"},
        "fast",
    ],
)
def test_a_wrong_value_in_the_batch_overrides_fails_the_request(overrides: object) -> None:
    refused = refused_changed("metadata", {"batch_config_overrides": overrides})
    assert refused.answerable
    assert refused.field is not None
    assert refused.field.startswith("metadata.batch_config_overrides")


@pytest.mark.parametrize("overrides", [None, {}, {"batch_size": None}, {"batch_size": "10"}, {"batch_size": 200}])
def test_batch_overrides_within_their_ranges_are_taken(overrides: object) -> None:
    assert read_changed("metadata", {"batch_config_overrides": overrides}).batch_id


@pytest.mark.parametrize(
    "overrides",
    [
        {"temperature_override": 2.01},
        {"temperature_override": -0.1},
        {"temperature_override": "warm"},
        {"max_tokens_override": 0},
        {"max_tokens_override": 10**30},
        {"reasoning_effort": "extreme"},
        {"output_verbosity": "none"},
        {"model_override": 4},
        "gpt",
    ],
)
def test_a_wrong_override_of_the_judge_fails_the_request(overrides: object) -> None:
    assert refused_changed("data.llm_config_overrides", overrides).answerable


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.assignment_id", "x" * 101),
        ("data.essays_for_cj.0", "essay"),
        ("data.essays_for_cj.0.essay_id", " "),
        ("data.essays_for_cj.0.essay_id", "a\x00b"),
        ("data.essays_for_cj.0.essay_id", "x" * 256),
        ("data.essays_for_cj.0.text_storage_id", ""),
        ("data.essays_for_cj.0.text_storage_id", 5),
        ("data.student_prompt_ref", "prompt"),
        ("data.student_prompt_ref.references.student_prompt_text.storage_id", 5),
        ("metadata", []),
    ],
)
def test_a_wrong_type_or_length_fails_the_request(path: str, value: object) -> None:
    assert refused_changed(path, value).answerable


@pytest.mark.parametrize("batch_id", ["a\x00b", "x" * 256])
def test_a_batch_id_that_cannot_be_a_key_is_refused_without_an_answer(batch_id: str) -> None:
    refused = refused_changed("data.entity_id", batch_id)
    assert refused.reason == "invalid_value"
    assert not refused.answerable


def test_more_essays_than_allowed_are_refused() -> None:
    with pytest.raises(Refused) as caught:
        read(raw(CURRENT), max_essays=4)
    assert caught.value.reason == "too_many_essays"
    assert caught.value.answerable
    assert len(read(raw(CURRENT), max_essays=5).essays) == 5


def test_anchors_alone_make_no_batch() -> None:
    anchors = [{"essay_id": "ANCHOR_1", "text_storage_id": "a"}, {"essay_id": "ANCHOR_2", "text_storage_id": "b"}]
    assert refused_changed("data.essays_for_cj", anchors).reason == "no_essays"


def test_half_a_surrogate_pair_is_refused_so_that_every_id_can_be_encoded() -> None:
    broken = raw(CURRENT).replace(b'"language": "en"', b'"language": "\\ud800"')
    with pytest.raises(Refused) as caught:
        read(broken)
    assert caught.value.reason == "not_json"

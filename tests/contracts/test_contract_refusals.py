"""What must be refused is refused, driven by the table of EXPECT.md, and says why without repeating the input."""

from __future__ import annotations

import pytest
from support.wire.contract_samples import (
    INDEX,
    MAX_ESSAYS,
    changed_sample,
    document,
    encoded,
    expectations,
    raw,
    with_value,
)

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.message_limits import CALLBACK_LIMIT, REQUEST_LIMIT
from cj_stream.contracts.refusal import DETAIL_LIMIT, Refused
from cj_stream.contracts.request_reader import read_request

REASONS = {
    "not_json.json": "not_json",
    "truncated_json.json": "not_json",
    "not_utf8.json": "not_utf8",
    "empty_value.json": "empty",
    "json_array.json": "not_an_object",
    "json_string.json": "not_an_object",
    "json_null.json": "not_an_object",
    "deeply_nested.json": "too_deep",
    "request_missing_data.json": "missing_field",
    "request_data_null.json": "wrong_type",
    "request_data_string.json": "wrong_type",
    "request_missing_batch_id.json": "missing_batch_id",
    "request_null_batch_id.json": "missing_batch_id",
    "request_missing_essays.json": "missing_field",
    "request_empty_essays.json": "no_essays",
    "request_duplicate_essay_ids.json": "duplicate_essay_ids",
    "request_essays_is_object.json": "wrong_type",
    "request_essay_without_storage_id.json": "missing_field",
    "request_essay_id_number.json": "wrong_type",
    "request_bad_correlation_id.json": "invalid_value",
    "request_wrong_event.json": "wrong_event",
    "callback_both_winner_and_error.json": "winner_and_error",
    "callback_neither.json": "neither_winner_nor_error",
    "callback_confidence_too_high.json": "out_of_range",
    "callback_confidence_zero.json": "out_of_range",
    "callback_confidence_text.json": "wrong_type",
    "callback_confidence_nan.json": "not_json",
    "callback_winner_without_confidence.json": "missing_field",
    "callback_winner_unknown.json": "unknown_winner",
    "callback_wrong_types.json": "wrong_type",
    "callback_error_detail_text.json": "wrong_type",
    "callback_no_correlation_id.json": "missing_correlation_id",
    "callback_correlation_not_uuid.json": "invalid_value",
    "callback_metadata_list.json": "wrong_type",
    "callback_justification_300kb.json": "out_of_range",
    "callback_missing_data.json": "missing_field",
}


def refusal_of_request(value: bytes | None) -> Refused:
    with pytest.raises(Refused) as caught:
        read_request(value, max_essays=MAX_ESSAYS)
    return caught.value


def refusal_of_callback(value: bytes | None) -> Refused:
    with pytest.raises(Refused) as caught:
        read_callback(value)
    return caught.value


def test_the_two_tables_of_invalid_samples_agree() -> None:
    indexed = {
        (entry["file"].removeprefix("invalid/"), "accepts" if entry["current"] else "refuses", entry["failed_event"])
        for entry in INDEX["invalid"]
    }
    assert {(name, model, failed) for name, _, model, failed in expectations()} == indexed
    assert {name for name, *_ in expectations()} == set(REASONS)


@pytest.mark.parametrize(
    ("name", "failed_event"), [(n, failed) for n, topic, _, failed in expectations() if topic in ("any", "request")]
)
def test_a_bad_request_is_refused_and_answered_when_it_can_be(name: str, failed_event: str) -> None:
    refused = refusal_of_request(raw(f"invalid/{name}"))
    assert refused.reason == REASONS[name]
    assert refused.answerable == (failed_event in ("must", "should"))
    assert 0 < len(refused.detail) <= DETAIL_LIMIT


@pytest.mark.parametrize("name", [name for name, topic, *_ in expectations() if topic in ("any", "callback")])
def test_a_bad_callback_is_refused_and_never_answered(name: str) -> None:
    refused = refusal_of_callback(raw(f"invalid/{name}"))
    assert refused.reason == REASONS[name]
    assert not refused.answerable
    assert 0 < len(refused.detail) <= DETAIL_LIMIT


@pytest.mark.parametrize(
    "name",
    # A bare NaN is no JSON, so nothing of that file is readable.
    [name for name, topic, *_ in expectations() if topic == "callback" and name != "callback_confidence_nan.json"],
)
def test_a_bad_callback_with_a_live_correlation_id_is_refused_as_well(name: str) -> None:
    live = "38f2536d-662e-47cd-8377-48fed20c5b1f"
    message = with_value(document(f"invalid/{name}"), "correlation_id", live)
    if "data" in message:
        message["data"]["correlation_id"] = live
    if name in ("callback_correlation_not_uuid.json", "callback_no_correlation_id.json"):
        assert str(read_callback(encoded(message)).correlation_id) == live
    else:
        assert str(refusal_of_callback(encoded(message)).correlation_id) == live


def test_a_missing_value_is_refused_on_both_topics() -> None:
    assert refusal_of_request(None).reason == "empty"
    assert refusal_of_callback(None).reason == "empty"


def test_a_request_beyond_the_size_limit_is_refused_unread() -> None:
    refused = refusal_of_request(changed_sample("request_current.json", "data.language", "x" * REQUEST_LIMIT))
    assert refused.reason == "too_large"
    assert f"at most {REQUEST_LIMIT} are taken" in refused.detail
    assert not refused.answerable


def test_a_callback_beyond_the_size_limit_is_refused_unread() -> None:
    refused = refusal_of_callback(changed_sample("callback_success.json", "data.provider", "x" * 600_000))
    assert (refused.reason, refused.correlation_id) == ("too_large", None)
    assert f"at most {CALLBACK_LIMIT} are taken" in refused.detail


def test_the_detail_names_the_field_and_what_to_do_but_not_the_input() -> None:
    own_words = "the student's own words"
    refused = refusal_of_request(changed_sample("request_current.json", "data.essays_for_cj.1.essay_id", [own_words]))
    assert refused.field == "data.essays_for_cj[1].essay_id"
    assert refused.field in refused.detail
    assert "send the message again" in refused.detail
    assert own_words not in refused.detail


def test_a_completed_event_on_the_request_topic_is_never_answered_even_with_essays() -> None:
    message = document("invalid/request_wrong_event.json")
    message["data"]["essays_for_cj"] = document("request_current.json")["data"]["essays_for_cj"]
    refused = refusal_of_request(encoded(message))
    assert refused.reason == "wrong_event"
    assert not refused.answerable
    assert refused.batch_id is not None


def test_a_nameless_event_without_essays_is_answered_only_if_its_envelope_says_request() -> None:
    message = document("invalid/request_missing_essays.json")
    del message["data"]["event_name"]
    assert refusal_of_request(encoded(message)).answerable
    message["event_type"] = "LLMComparisonResultV1"
    assert not refusal_of_request(encoded(message)).answerable

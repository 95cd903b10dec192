"""Callbacks: a verdict is never lost to a spelling and never invented."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import pytest
from support.wire.contract_samples import ABSENT, changed_sample, document, encoded, raw, with_value

from cj_stream.contracts.callback_reader import JUSTIFICATION_LIMIT, Callback, read_callback
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.texts import CUT_MARK

SUCCESS = "callback_success.json"
FAILURE = "callback_error_rate_limit.json"
CORRELATION = UUID("38f2536d-662e-47cd-8377-48fed20c5b1f")


def read_changed(path: str, value: object, name: str = SUCCESS) -> Callback:
    return read_callback(changed_sample(name, path, value))


def reason_of(path: str, value: object, name: str = SUCCESS) -> str:
    with pytest.raises(Refused) as caught:
        read_changed(path, value, name)
    assert not caught.value.answerable
    return caught.value.reason


def test_a_verdict_is_read_into_the_normal_form() -> None:
    callback = read_callback(raw(SUCCESS))
    data = document(SUCCESS)["data"]
    echo = data["request_metadata"]
    assert callback.correlation_id == CORRELATION
    assert (callback.provider, callback.model) == (data["provider"], data["model"])
    assert (callback.essay_a_id, callback.essay_b_id) == (echo["essay_a_id"], echo["essay_b_id"])
    assert callback.batch_id == echo["bos_batch_id"]
    assert callback.published_at == datetime.fromisoformat(document(SUCCESS)["event_timestamp"])


def test_a_failure_keeps_its_message_and_drops_its_stack_trace() -> None:
    callback = read_changed("data.error_detail.stack_trace", "Traceback " * 2000, FAILURE)
    assert callback.error_message == "Rate limit reached after 3 retries"
    assert b"Traceback" not in json.dumps(callback.error_message).encode()
    assert (callback.confidence, callback.justification) == (None, None)


@pytest.mark.parametrize(
    ("spelling", "winner"),
    [
        ("Essay A", "A"),
        ("ESSAY_B", "B"),
        ("\tessay a\n", "A"),
        ("eSSaY b", "B"),
        ("Essay_A ", "A"),
    ],
)
def test_a_winner_may_be_spelt_in_any_case_with_underscore_and_blanks(spelling: str, winner: str) -> None:
    assert read_changed("data.winner", spelling).winner == winner


@pytest.mark.parametrize("winner", ["A", "EssayA", "Essay C", "Essay  A", "Essay A or B", "tie", "", "Essay-A", "none"])
def test_a_winner_is_never_guessed(winner: str) -> None:
    assert reason_of("data.winner", winner) == "unknown_winner"


@pytest.mark.parametrize("winner", [1, True, ["Essay A"], {"slot": "A"}])
def test_a_winner_that_is_no_text_is_refused(winner: object) -> None:
    assert reason_of("data.winner", winner) == "wrong_type"


@pytest.mark.parametrize("spelling", ["Error", "ERROR", " error "])
def test_a_winner_called_error_is_a_failed_comparison(spelling: str) -> None:
    callback = read_changed("data.winner", spelling)
    assert (callback.winner, callback.error_code) == (None, "JUDGE_GAVE_NO_WINNER")


@pytest.mark.parametrize(("confidence", "read"), [(1, 1.0), (5.0, 5.0), ("4.5", 4.5), (" 3 ", 3.0)])
def test_a_confidence_between_1_and_5_is_read_from_numbers_and_numeric_strings(confidence: object, read: float) -> None:
    assert read_changed("data.confidence", confidence).confidence == read


@pytest.mark.parametrize(
    "confidence", [0, 0.99, 5.01, -1, "7.5", "nan", "inf", "high", True, [], None, ABSENT, 10**400]
)
def test_any_other_confidence_beside_a_winner_is_refused(confidence: object) -> None:
    assert reason_of("data.confidence", confidence)


@pytest.mark.parametrize(
    ("length", "kept"),
    [(0, 0), (500, 500), (501, 501), (2000, 2000), (2001, 2000), (10_001, 2000), (JUSTIFICATION_LIMIT, 2000)],
)
def test_a_justification_is_kept_up_to_2000_characters(length: int, kept: int) -> None:
    justification = read_changed("data.justification", "x" * length).justification
    assert justification is not None
    assert len(justification) == kept
    assert justification.endswith(CUT_MARK) == (length > 2000)


@pytest.mark.parametrize("text", ["x" * (JUSTIFICATION_LIMIT + 1), "å" * (JUSTIFICATION_LIMIT // 2 + 1)])
def test_a_justification_of_more_than_64_kibibytes_is_refused(text: str) -> None:
    assert reason_of("data.justification", text) == "out_of_range"


@pytest.mark.parametrize("value", [None, ABSENT, 5, ["because"], {}])
def test_a_verdict_counts_without_a_readable_justification(value: object) -> None:
    callback = read_changed("data.justification", value)
    assert (callback.winner, callback.justification) == ("A", "")


@pytest.mark.parametrize("left_over", ["left over", "x" * (JUSTIFICATION_LIMIT + 1)])
def test_a_justification_beside_an_error_is_ignored(left_over: str) -> None:
    callback = read_changed("data.justification", left_over, FAILURE)
    assert (callback.error_code, callback.justification) == ("RATE_LIMIT", None)


@pytest.mark.parametrize("left_over", [0, 7.5, "high", []])
def test_a_confidence_beside_an_error_is_ignored(left_over: object) -> None:
    callback = read_changed("data.confidence", left_over, FAILURE)
    assert (callback.error_code, callback.confidence) == ("RATE_LIMIT", None)


@pytest.mark.parametrize("code", ["LLM_WHATEVER", "no known code", "rate_limit", "X" * 255])
def test_an_unknown_error_code_is_a_failed_comparison(code: str) -> None:
    assert read_changed("data.error_detail.error_code", code, FAILURE).error_code == code


@pytest.mark.parametrize(("field", "value"), [("provider", "my-own-judge"), ("provider", ""), ("model", "unknown")])
def test_unknown_names_are_taken_as_they_are(field: str, value: str) -> None:
    assert getattr(read_changed(f"data.{field}", value), field) == value


@pytest.mark.parametrize("own", ["00000000-0000-0000-0000-000000000000", "20996112-7092-4cf8-8417-c27c59d9ec18"])
def test_the_correlation_id_of_an_error_is_never_matched_on(own: str) -> None:
    callback = read_changed("data.error_detail.correlation_id", own, FAILURE)
    assert str(callback.correlation_id) == document(FAILURE)["correlation_id"]


def test_a_long_error_code_is_cut() -> None:
    code = read_changed("data.error_detail.error_code", "X" * 5000, FAILURE).error_code
    assert code is not None
    assert len(code) == 255


def test_a_long_error_message_is_cut() -> None:
    message = read_changed("data.error_detail.message", "y" * 5000, FAILURE).error_message
    assert message is not None
    assert len(message) == 500


# --- Correlation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", [str.upper, lambda u: u.replace("-", ""), lambda u: f"{{{u}}}"])
def test_the_correlation_id_may_be_spelt_in_any_way(spelling: Callable[[str], str]) -> None:
    assert read_changed("data.correlation_id", spelling(str(CORRELATION))).correlation_id == CORRELATION


def test_the_correlation_id_of_the_data_counts_before_the_envelopes() -> None:
    other = "953e6e81-ddba-4614-a73d-e6beea749c45"
    assert read_changed("correlation_id", other).correlation_id == CORRELATION


@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_the_envelopes_correlation_id_stands_in_for_a_missing_one(value: object) -> None:
    assert read_changed("data.correlation_id", value).correlation_id == CORRELATION


def test_without_any_correlation_id_a_complete_echo_is_enough() -> None:
    message = with_value(with_value(document(SUCCESS), "correlation_id", ABSENT), "data.correlation_id", ABSENT)
    callback = read_callback(encoded(message))
    assert callback.correlation_id is None
    assert callback.batch_id == "55f18100-0257-4dc8-8f4d-78a17614d1d3"
    for key in ("essay_a_id", "essay_b_id", "bos_batch_id"):
        with pytest.raises(Refused, match="missing_correlation_id"):
            read_callback(encoded(with_value(message, f"data.request_metadata.{key}", ABSENT)))


@pytest.mark.parametrize("value", ["pair-17", "", 17])
def test_a_correlation_id_that_is_no_uuid_is_refused(value: object) -> None:
    assert reason_of("data.correlation_id", value) in ("invalid_value", "wrong_type")
    nowhere_else = with_value(document(SUCCESS), "data.correlation_id", ABSENT)
    with pytest.raises(Refused, match="correlation_id"):
        read_callback(encoded(with_value(nowhere_else, "correlation_id", value)))


@pytest.mark.parametrize("value", ["pair-17", "", 17])
def test_the_envelopes_correlation_id_is_not_needed_beside_the_datas(value: object) -> None:
    assert read_changed("correlation_id", value).correlation_id == CORRELATION


# --- Tolerance --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "data", "data.token_usage", "data.request_metadata"])
def test_unknown_fields_are_ignored_at_every_level(path: str) -> None:
    assert read_changed(f"{path}.news".removeprefix("."), {"deep": [1]}) == read_callback(raw(SUCCESS))


@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
@pytest.mark.parametrize(
    "path",
    ["event_id", "event_timestamp", "schema_version", "data_schema_uri", "correlation_id", "metadata"]
    + [f"data.{field}" for field in ("error_detail", "token_usage", "trace_id", "request_metadata")],
)
def test_an_optional_field_may_be_null_or_absent(path: str, value: object) -> None:
    assert read_changed(path, value).winner == "A"


@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
@pytest.mark.parametrize("field", ["details", "stack_trace", "trace_id", "span_id"])
def test_the_optional_fields_of_an_error_may_be_null_or_absent(field: str, value: object) -> None:
    assert read_changed(f"data.error_detail.{field}", value, FAILURE).error_code == "RATE_LIMIT"


UNNEEDED = [
    "event_id",
    "event_type",
    "event_timestamp",
    "source_service",
    "schema_version",
    "data_schema_uri",
    "metadata",
    "data.request_id",
    "data.provider",
    "data.model",
    "data.response_time_ms",
    "data.cost_estimate",
    "data.token_usage",
    "data.requested_at",
    "data.completed_at",
    "data.trace_id",
]
UNREADABLE = [None, ABSENT, -1, "later", True, 10**30, [], {"deep": [1]}, "x" * 20_000]


@pytest.mark.parametrize("value", UNREADABLE, ids=repr)
@pytest.mark.parametrize("path", UNNEEDED)
def test_a_field_that_nobody_needs_costs_no_verdict(path: str, value: object) -> None:
    callback, sent = read_changed(path, value), document(SUCCESS)["data"]
    assert callback.correlation_id == CORRELATION
    assert (callback.winner, callback.confidence) == ("A", sent["confidence"])
    assert callback.justification == sent["justification"]


@pytest.mark.parametrize("value", UNREADABLE, ids=repr)
@pytest.mark.parametrize("field", ["message", "correlation_id", "timestamp", "service", "operation", "details"])
def test_a_field_that_nobody_needs_costs_no_error_either(field: str, value: object) -> None:
    assert read_changed(f"data.error_detail.{field}", value, FAILURE).error_code == "RATE_LIMIT"


def test_all_that_nobody_needs_may_be_wrong_at_once() -> None:
    message = document(SUCCESS)
    for path in UNNEEDED:
        message = with_value(message, path, ["wrong"])
    assert read_callback(encoded(message)).winner == "A"


@pytest.mark.parametrize("value", [ABSENT, None, "", " ", 5])
def test_an_error_must_have_a_code(value: object) -> None:
    assert reason_of("data.error_detail.error_code", value, FAILURE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.request_metadata", [["essay_a_id", "x"]]),
        ("data.request_metadata", "echo"),
        ("data.error_detail", "boom"),
        ("data.error_detail", {}),
    ],
)
def test_what_could_mean_something_else_is_refused(path: str, value: object) -> None:
    assert reason_of(path, value)


def test_an_echo_of_another_kind_is_dropped_not_refused() -> None:
    callback = read_changed(
        "data.request_metadata", {"essay_a_id": 7, "essay_b_id": "b\x00", "bos_batch_id": "x" * 256}
    )
    assert (callback.essay_a_id, callback.essay_b_id, callback.batch_id) == (None, None, None)

"""The provider's HTTP API: what we ask, what an answer means, and what our own gateway answers."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from support.wire.contract_samples import ABSENT, changed_sample, document, encoded, raw

from cj_stream.contracts.comparison_api import (
    PROVIDERS,
    Accepted,
    ComparisonRequest,
    ImmediateVerdict,
    NotAccepted,
    comparison_request,
    echo_metadata,
    read_comparison_request,
    read_response,
    refusal_answer,
)
from cj_stream.contracts.refusal import Refused

FULL = "http_comparison_request.json"


def not_accepted(status: int, body: bytes) -> NotAccepted:
    answer = read_response(status, body)
    assert isinstance(answer, NotAccepted)
    return answer


def refused(body: bytes) -> Refused:
    with pytest.raises(Refused) as caught:
        read_comparison_request(body)
    return caught.value


# --- Asking -----------------------------------------------------------------------------------------------------------


def test_the_body_leaves_out_what_is_left_to_the_provider() -> None:
    request = ComparisonRequest(
        user_prompt="p", callback_topic="t", provider="mock", correlation_id=UUID(int=1), metadata={}, temperature=0.0
    )
    assert comparison_request(request) == {
        "user_prompt": "p",
        "callback_topic": "t",
        "llm_config_overrides": {"provider_override": "mock", "temperature_override": 0.0},
        "metadata": {},
        "correlation_id": "00000000-0000-0000-0000-000000000001",
    }


def test_the_metadata_is_what_the_platforms_own_client_sends() -> None:
    sample = document(FULL)["metadata"]
    ids = {"essay_a_id": sample["essay_a_id"], "essay_b_id": sample["essay_b_id"], "batch_id": sample["bos_batch_id"]}
    assert echo_metadata(**ids, job_id="4127", retry=False) == sample
    assert echo_metadata(**ids, job_id="4127", retry=True)["cj_request_type"] == "cj_retry"


# --- Answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "refused"),
        (401, "refused"),
        (403, "refused"),
        (404, "refused"),
        (422, "refused"),
        (429, "busy"),
        (503, "busy"),
        (500, "failed"),
        (502, "failed"),
        (504, "failed"),
        (301, "failed"),
        (204, "failed"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html>proxy</html>", b"[]", b'{"error": null}', b'{"error": {"code": 5}}'])
def test_the_status_decides_where_the_body_says_nothing(status: int, kind: str, body: bytes) -> None:
    answer = not_accepted(status, body)
    assert (answer.kind, answer.code, answer.retry_after_seconds) == (kind, f"HTTP_{status}", None)
    assert answer.message


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b"\xff"])
def test_an_unreadable_success_may_have_been_taken(status: int, body: bytes) -> None:
    assert not_accepted(status, body).kind == "failed"


@pytest.mark.parametrize("body", [{}, {"queue_id": None}, {"queue_id": ""}, {"error": "queue full"}])
def test_a_202_without_queue_id_was_not_taken(body: dict[str, Any]) -> None:
    assert not_accepted(202, encoded(body)).kind == "busy"


def test_a_queue_id_of_another_type_may_have_been_taken() -> None:
    assert not_accepted(202, b'{"queue_id": 17}').kind == "failed"


@pytest.mark.parametrize(("wait", "read"), [(None, None), ("soon", None), (2, 2.0), ("3", 3.0), (-1, None)])
def test_the_estimated_wait_is_only_a_hint(wait: object, read: float | None) -> None:
    assert read_response(202, encoded({"queue_id": "q", "estimated_wait_minutes": wait})) == Accepted("q", read)


def test_the_time_to_wait_is_found_in_the_details_and_one_level_deeper() -> None:
    assert not_accepted(202, raw("http_comparison_202_no_queue_id.json")).retry_after_seconds == 300
    assert not_accepted(429, raw("http_comparison_429.json")).retry_after_seconds == 12
    assert not_accepted(503, raw("http_comparison_503.json")).retry_after_seconds is None


@pytest.mark.parametrize("wait", [-5, "soon", True, None, [], 10**400])
def test_a_time_to_wait_that_is_none_is_dropped(wait: object) -> None:
    body = encoded({"error": {"code": "RATE_LIMIT", "details": {"retry_after": wait}}})
    assert not_accepted(429, body).retry_after_seconds is None


def test_an_error_may_be_a_text_or_an_object() -> None:
    assert not_accepted(400, raw("http_comparison_400_no_provider.json")).message == (
        "Provider configuration required: llm_config_overrides.provider_override must be specified"
    )
    assert not_accepted(401, raw("http_comparison_401.json")).message == "Provider rejected the configured key"


def test_a_provider_that_is_enabled_nowhere_is_not_asked_again() -> None:
    assert not_accepted(500, raw("http_comparison_500_config.json")).kind == "refused"


def test_a_long_message_is_cut() -> None:
    assert len(not_accepted(500, encoded({"error": "x" * 9000})).message) == 500


@pytest.mark.parametrize(("winner", "slot"), [("Essay B", "B"), ("essay_a", "A")])
def test_an_immediate_verdict_is_read(winner: str, slot: str) -> None:
    answer = read_response(200, changed_sample("http_comparison_200_old.json", "winner", winner))
    assert isinstance(answer, ImmediateVerdict)
    assert answer.winner == slot


@pytest.mark.parametrize(
    ("path", "value"), [("winner", "Essay C"), ("winner", None), ("confidence", 9), ("winner", "Error")]
)
def test_a_verdict_without_winner_is_a_failure(path: str, value: object) -> None:
    assert not_accepted(200, changed_sample("http_comparison_200_old.json", path, value)).kind == "failed"


# --- Our own gateway --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["correlation_id", "metadata", "prompt_blocks", "user_id", "llm_config_overrides.model_override"]
)
@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "absent"])
def test_an_optional_field_of_a_comparison_may_be_null_or_absent(path: str, value: object) -> None:
    assert read_comparison_request(changed_sample(FULL, path, value)).provider == "openai"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_of_the_contract_is_taken(provider: str) -> None:
    body = changed_sample(FULL, "llm_config_overrides.provider_override", provider)
    assert read_comparison_request(body).provider == provider


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("user_prompt", ABSENT),
        ("user_prompt", ""),
        ("callback_topic", None),
        ("correlation_id", "pair-17"),
        ("metadata", []),
        ("prompt_blocks", "none"),
        ("llm_config_overrides.provider_override", "my-own"),
        ("llm_config_overrides.temperature_override", 2.1),
        ("llm_config_overrides.reasoning_effort", "extreme"),
        ("llm_config_overrides.output_verbosity", "none"),
    ],
)
def test_a_wrong_field_is_answered_with_400(path: str, value: object) -> None:
    status, body = refusal_answer(refused(changed_sample(FULL, path, value)))
    assert status == 400
    assert body["error"].startswith("Invalid request format: ")


@pytest.mark.parametrize("overrides", [None, {}, {"provider_override": None}, {"provider_override": ""}])
def test_a_missing_provider_is_answered_as_the_platform_does(overrides: object) -> None:
    answer = refusal_answer(refused(changed_sample(FULL, "llm_config_overrides", overrides)))
    assert answer == (400, document("http_comparison_400_no_provider.json"))


def test_a_body_that_is_no_json_is_answered_with_500_and_an_empty_object_with_400() -> None:
    status, body = refusal_answer(refused(b"{"))
    assert status == 500
    assert body.keys() == document("http_comparison_500.json").keys()
    assert refusal_answer(refused(b"{}"))[0] == 400


def test_metadata_that_nests_too_deeply_to_be_echoed_is_refused() -> None:
    deep: object = "x"
    for _ in range(20):
        deep = {"level": deep}
    assert refusal_answer(refused(changed_sample(FULL, "metadata", deep)))[0] == 400
    assert json.dumps(read_comparison_request(raw(FULL)).metadata)

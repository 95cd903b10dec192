"""Every sample of the wire, driven by its index: what must be read is read, and means what the index says."""

from __future__ import annotations

import pytest
from support.wire.contract_samples import (
    CALLBACKS,
    CONTENT,
    FOLDER,
    INDEX,
    MAX_ESSAYS,
    REQUESTS,
    document,
    on_topic,
    raw,
)

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.comparison_api import (
    Accepted,
    ImmediateVerdict,
    NotAccepted,
    comparison_request,
    read_comparison_request,
    read_response,
)
from cj_stream.contracts.envelope import read_envelope
from cj_stream.contracts.request_reader import read_request

COMPARISON_ANSWERS = {
    "http_comparison_202.json": ("accepted", None),
    "http_comparison_202_no_queue_id.json": ("busy", "REQUEST_QUEUED"),
    "http_comparison_200_old.json": ("verdict", None),
    "http_comparison_400_no_provider.json": ("refused", "HTTP_400"),
    "http_comparison_400_invalid.json": ("refused", "HTTP_400"),
    "http_comparison_401.json": ("refused", "AUTHENTICATION_ERROR"),
    "http_comparison_429.json": ("busy", "RATE_LIMIT"),
    "http_comparison_500.json": ("failed", "HTTP_500"),
    "http_comparison_500_config.json": ("refused", "CONFIGURATION_ERROR"),
    "http_comparison_502.json": ("failed", "EXTERNAL_SERVICE_ERROR"),
    "http_comparison_503_breaker.json": ("busy", "HTTP_503"),
    "http_comparison_503.json": ("busy", "SERVICE_UNAVAILABLE"),
    "http_comparison_504.json": ("failed", "TIMEOUT"),
}
WINNERS = {
    "callback_success.json": "A",
    "callback_essay_b.json": "B",
    "callback_duplicate_new_request_id.json": "B",
    "callback_winner_snake_a.json": "A",
    "callback_winner_snake_b.json": "B",
    "callback_winner_lower_a.json": "A",
    "callback_winner_lower_b.json": "B",
    "callback_winner_upper_b.json": "B",
    "callback_no_metadata.json": "A",
    "callback_minimal.json": "B",
    "callback_edge_values.json": "A",
}
ERRORS = {
    "callback_winner_error_old.json": "JUDGE_GAVE_NO_WINNER",
    "callback_error_rate_limit.json": "RATE_LIMIT",
    "callback_error_timeout.json": "TIMEOUT",
    "callback_error_unknown_code.json": "PROVIDER_CONTENT_FILTERED",
    "callback_error_service_code.json": "LLM_PROVIDER_TIMEOUT",
    "callback_error_zero_correlation.json": "VALIDATION_ERROR",
}


def http_samples(path: str, role: str) -> list[dict[str, object]]:
    return [entry for entry in INDEX["samples"] if entry.get("path") == path and entry["role"] == role]


def test_the_index_names_every_sample_file() -> None:
    files = {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*") if path.is_file()}
    listed = {entry["file"] for entry in (*INDEX["samples"], *INDEX["invalid"])}
    assert files - listed == {"index.json", "content.json", "invalid/EXPECT.md"}
    assert listed <= files


def test_every_callback_and_answer_has_its_expectation() -> None:
    assert {*WINNERS, *ERRORS} == set(on_topic(CALLBACKS))
    answers = http_samples("/api/v1/comparison", "response body")
    assert {entry["file"] for entry in answers} == set(COMPARISON_ANSWERS)


@pytest.mark.parametrize("name", on_topic(REQUESTS))
def test_every_request_is_read_with_its_key_and_texts(name: str) -> None:
    request = read_request(raw(name), max_essays=MAX_ESSAYS)
    entry = next(entry for entry in INDEX["samples"] if entry["file"] == name)
    assert request.batch_id == entry["key"]
    assert str(request.correlation_id) == document(name)["correlation_id"]
    assert [essay.essay_id for essay in request.essays] == [
        essay["essay_id"] for essay in document(name)["data"]["essays_for_cj"]
    ]
    assert all(essay.text_storage_id in CONTENT for essay in request.essays)
    assert request.prompt_storage_id or request.essay_instructions or name == "request_minimal.json"


@pytest.mark.parametrize(("name", "winner"), WINNERS.items())
def test_every_verdict_is_read(name: str, winner: str) -> None:
    callback = read_callback(raw(name))
    data = document(name)["data"]
    assert (callback.winner, callback.error_code) == (winner, None)
    assert callback.confidence == data["confidence"]
    assert callback.justification == data["justification"]
    assert str(callback.correlation_id) == data["correlation_id"]


@pytest.mark.parametrize(("name", "code"), ERRORS.items())
def test_every_failed_comparison_is_read(name: str, code: str) -> None:
    callback = read_callback(raw(name))
    assert (callback.winner, callback.error_code) == (None, code)
    assert callback.confidence is None
    assert callback.error_message
    assert str(callback.correlation_id) == document(name)["data"]["correlation_id"]


@pytest.mark.parametrize("entry", [e for e in INDEX["samples"] if e["kind"] == "kafka"], ids=lambda e: e["file"])
def test_every_message_has_a_readable_envelope(entry: dict[str, str]) -> None:
    envelope = read_envelope(raw(entry["file"]))
    assert str(envelope.correlation_id) == document(entry["file"])["correlation_id"]
    assert envelope.data == document(entry["file"])["data"]


@pytest.mark.parametrize("entry", http_samples("/api/v1/comparison", "response body"), ids=lambda e: e["file"])
def test_every_answer_of_the_provider_means_what_the_index_says(entry: dict[str, object]) -> None:
    kind, code = COMPARISON_ANSWERS[str(entry["file"])]
    answer = read_response(int(str(entry["status"])), raw(str(entry["file"])))
    if kind == "accepted":
        assert answer == Accepted("ac9fe0c9-cad7-449c-8b2e-0c43502b1a3d", 1)
    elif kind == "verdict":
        assert isinstance(answer, ImmediateVerdict)
        assert (answer.winner, answer.confidence, answer.model) == ("A", 4.0, "gpt-4.1")
    else:
        assert isinstance(answer, NotAccepted)
        assert (answer.kind, answer.code) == (kind, code)
        assert answer.message


@pytest.mark.parametrize("entry", http_samples("/api/v1/comparison", "request body"), ids=lambda e: e["file"])
def test_every_comparison_request_is_read_and_built_again(entry: dict[str, object]) -> None:
    name = str(entry["file"])
    sent = document(name)
    request = read_comparison_request(raw(name))
    built = comparison_request(request)
    assert read_comparison_request(raw(name)) == request
    for field in ("user_prompt", "callback_topic", "correlation_id"):
        assert built[field] == sent[field]
    assert built["metadata"] == sent.get("metadata", {})
    chosen = {field: value for field, value in sent["llm_config_overrides"].items() if value is not None}
    assert built["llm_config_overrides"] == chosen

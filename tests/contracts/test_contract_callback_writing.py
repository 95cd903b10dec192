"""What our own judge gateway sends: the platform's current form of a callback, exactly."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from support.wire.contract_samples import document

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.callback_writer import write_callback

SUCCESS = "callback_success.json"
CORRELATION = UUID("38f2536d-662e-47cd-8377-48fed20c5b1f")


def shape(value: object) -> object:
    """Return the keys and types of a document; numbers count as one type, lists by their first element."""
    if isinstance(value, dict):
        return {key: shape(child) for key, child in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def written(**changes: Any) -> bytes:
    answer: dict[str, Any] = {
        "correlation_id": CORRELATION,
        "request_id": "ac9fe0c9-cad7-449c-8b2e-0c43502b1a3d",
        "winner": "A",
        "confidence": 4.0,
        "justification": "Essay A argues with its own evidence.",
        "error_code": None,
        "error_message": None,
        "provider": "mock",
        "model": "mock-model",
        "requested_at": datetime(2026, 3, 4, 9, 12, 3, 901877, UTC),
        "completed_at": datetime(2026, 3, 4, 9, 12, 8, 377112, UTC),
        "response_time_ms": 2090,
        "request_metadata": document(SUCCESS)["data"]["request_metadata"],
    }
    return write_callback(**answer | changes)


def failed(**changes: Any) -> bytes:
    error = {"error_code": "TIMEOUT", "error_message": "No answer", "winner": None, "confidence": None}
    return written(**error | changes)


def test_a_written_verdict_has_exactly_the_fields_and_types_of_the_sample() -> None:
    sample = document(SUCCESS)
    sample["data"]["trace_id"] = None
    assert shape(json.loads(written())) == shape(sample)
    assert list(json.loads(written())["data"]) == list(sample["data"])


def test_a_written_failure_has_exactly_the_fields_and_types_of_the_sample() -> None:
    sample = document("callback_error_timeout.json")
    sample["data"]["error_detail"]["details"] = {}
    echo = sample["data"]["request_metadata"]
    assert shape(json.loads(failed(request_metadata=echo))) == shape(sample)


def test_what_is_written_reads_back() -> None:
    callback = read_callback(written(winner="B", justification="ö" * 600))
    assert (callback.correlation_id, callback.winner, callback.confidence) == (CORRELATION, "B", 4.0)
    assert callback.justification is not None
    assert len(callback.justification) == 500
    assert callback.published_at == datetime(2026, 3, 4, 9, 12, 8, 377112, UTC)
    failure = read_callback(failed())
    assert (failure.winner, failure.error_code, failure.error_message) == (None, "TIMEOUT", "No answer")
    assert failure.model == "unknown"


def test_the_same_answer_has_the_same_bytes_and_another_answer_another_event_id() -> None:
    assert written() == written()
    other = json.loads(written(request_id="another"))
    assert other["event_id"] != json.loads(written())["event_id"]


@pytest.mark.parametrize(
    "changes",
    [
        {"winner": None},
        {"error_code": "TIMEOUT"},
        {"confidence": None},
        {"confidence": 0.5},
        {"confidence": float("nan")},
        {"completed_at": datetime(2026, 3, 4)},  # noqa: DTZ001 - a time without zone is what is tested
    ],
)
def test_an_answer_that_readers_would_refuse_is_not_written(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"callback|confidence|zone"):
        written(**changes)

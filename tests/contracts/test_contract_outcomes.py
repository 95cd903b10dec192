"""Outcomes: exactly the platform's current forms, deterministic, and never an event that its reader would refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.wire.contract_samples import MAX_ESSAYS, document, raw

from cj_stream.contracts.outcome_writer import (
    OutcomeHeader,
    OutgoingEvent,
    RankingEntry,
    ResultMetadata,
    completed_event,
    failed_event,
    refused_event,
    result_event,
)
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import read_request
from cj_stream.domain.states import FailureReason

METADATA = ResultMetadata(
    model="gpt-5.1", provider="openai", temperature=0.1, course_code="ENG6", assignment_id=None, comparison_count=10
)


def header_of(name: str) -> OutcomeHeader:
    """Return the header with which the sample's own values would be written."""
    message = document(name)
    data = message["data"]
    published = datetime.fromisoformat(message["event_timestamp"])
    started = data.get("system_metadata", {}).get("started_at")
    return OutcomeHeader(
        event_id=UUID(message["event_id"]),
        batch_id=data["entity_id"],
        job_id=data["cj_assessment_job_id"],
        correlation_id=UUID(message["correlation_id"]),
        started_at=datetime.fromisoformat(started).replace(tzinfo=UTC) if started else published - timedelta(hours=1),
        completed_at=published,
    )


def document_of(event: OutgoingEvent) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(event.value)
    return loaded


def comparable(message: dict[str, Any], *varying: str) -> dict[str, Any]:
    """Return the message without the fields that our clock writes otherwise than the sample's."""
    for path in varying:
        *steps, last = path.split(".")
        place = message
        for step in steps:
            place = place[step]
        assert place.pop(last) is not None
    return message


@pytest.mark.parametrize(
    "name",
    [
        "completed_thin.json",
        "completed_thin_partial.json",
        "completed_thin_single.json",
        "completed_thin_all_failed.json",
    ],
)
def test_a_completed_event_is_the_sample_to_the_letter(name: str) -> None:
    summary = document(name)["data"]["processing_summary"]
    event = completed_event(header_of(name), summary["successful_essay_ids"], summary["failed_essay_ids"])
    seconds = "data.processing_summary.processing_time_seconds"
    assert comparable(document_of(event), seconds) == comparable(document(name), seconds)
    assert list(document_of(event)["data"]) == list(document(name)["data"])
    assert (event.topic_kind, event.key.decode()) == ("completed", document(name)["data"]["entity_id"])


def test_the_processing_time_is_the_span_of_the_batch_and_never_negative() -> None:
    header = header_of("completed_thin.json")
    summary = document_of(completed_event(header, ["a"], []))["data"]["processing_summary"]
    assert summary["processing_time_seconds"] == 71.48
    skewed = msgspec.structs.replace(header, started_at=header.completed_at + timedelta(seconds=5))
    summary = document_of(completed_event(skewed, ["a"], []))["data"]["processing_summary"]
    assert summary["processing_time_seconds"] == 0


def test_a_completed_event_without_essays_is_impossible() -> None:
    with pytest.raises(ValueError, match="without essays"):
        completed_event(header_of("completed_thin.json"), [], [])
    with pytest.raises(ValueError, match="without essays"):
        completed_event(header_of("completed_thin.json"), ["ANCHOR_1"], [])


@pytest.mark.parametrize(("scored", "failed"), [(["a", "a"], []), (["a"], ["a"]), ([], ["b", "b"])])
def test_an_essay_stands_in_one_list_once(scored: list[str], failed: list[str]) -> None:
    with pytest.raises(ValueError, match="twice"):
        completed_event(header_of("completed_thin.json"), scored, failed)


def test_anchors_are_in_the_result_and_not_in_the_completed_event() -> None:
    header = header_of("completed_thin.json")
    summary = document_of(completed_event(header, ["a", "ANCHOR_1"], ["ANCHOR_2", "b"]))["data"]["processing_summary"]
    assert (summary["successful_essay_ids"], summary["failed_essay_ids"]) == (["a"], ["b"])
    assert (summary["total_essays"], summary["single_essay_batch"]) == (2, False)
    essays = [RankingEntry("ANCHOR_1", 2, -0.5), RankingEntry("a", 1, 0.5)]
    data = document_of(result_event(header, essays, METADATA))["data"]
    assert [(essay["essay_id"], essay["is_anchor"]) for essay in data["essay_results"]] == [
        ("a", False),
        ("ANCHOR_1", True),
    ]
    assert data["assessment_metadata"]["anchor_essays_used"] == 1


def test_a_low_success_rate_is_the_sample_to_the_letter() -> None:
    name = "failed_low_success_rate.json"
    details = document(name)["data"]["system_metadata"]["error_info"]["details"]
    event = failed_event(header_of(name), reason=FailureReason.LOW_SUCCESS_RATE, details=details)
    ended = "data.system_metadata.completed_at"
    assert comparable(document_of(event), ended) == comparable(document(name), ended)
    assert (event.topic_kind, event.key.decode()) == ("failed", document(name)["data"]["entity_id"])


def test_a_stuck_timeout_is_the_sample_but_for_the_zone_of_its_start() -> None:
    name = "failed_stuck_timeout.json"
    info = document(name)["data"]["system_metadata"]["error_info"]
    details = {key: value for key, value in info.items() if key != "reason"}
    event = failed_event(header_of(name), reason=FailureReason.STUCK, details=details)
    times = ("data.system_metadata.completed_at", "data.system_metadata.started_at")
    assert comparable(document_of(event), *times) == comparable(document(name), *times)
    assert document_of(event)["data"]["system_metadata"]["started_at"] == "2026-03-04T10:24:51.990201Z"


def test_a_refused_request_is_answered_in_the_form_of_the_sample() -> None:
    now = datetime(2026, 3, 4, 10, 11, 3, 410775, UTC)
    with pytest.raises(Refused) as caught:
        read_request(raw("invalid/request_empty_essays.json"), max_essays=MAX_ESSAYS)
    event = refused_event(caught.value, UUID(int=7), now)
    message, sample = document_of(event), document("failed_intake.json")
    info, sample_info = (m["data"]["system_metadata"].pop("error_info") for m in (message, sample))
    batch_id = document("invalid/request_empty_essays.json")["data"]["entity_id"]
    assert message["data"].pop("system_metadata") == sample["data"].pop("system_metadata") | {"entity_id": batch_id}
    assert message["data"] == sample["data"] | {"entity_id": batch_id}
    assert info.keys() == sample_info.keys()
    assert (info["error_code"], info["service"]) == (sample_info["error_code"], sample_info["service"])
    assert info["details"]["field"] == sample_info["details"]["field"]
    assert info["correlation_id"] == message["correlation_id"] == str(caught.value.correlation_id)
    assert event.key.decode() == batch_id


def test_a_refusal_without_address_is_not_answered() -> None:
    with pytest.raises(ValueError, match="cannot be answered"):
        refused_event(Refused("not_json", "no JSON"), UUID(int=1), datetime(2026, 3, 4, tzinfo=UTC))


def test_a_result_is_the_sample_to_the_letter() -> None:
    sample = document("result_rich.json")
    essays = [
        RankingEntry(essay["essay_id"], essay["rank"], essay["bt_score"]) for essay in sample["data"]["essay_results"]
    ]
    event = result_event(header_of("result_rich.json"), essays[::-1], METADATA)
    seconds = "data.assessment_metadata.processing_duration_seconds"
    assert comparable(document_of(event), seconds) == comparable(sample, seconds)
    assert list(document_of(event)["data"]) == list(document("result_rich.json")["data"])
    assert (event.topic_kind, event.key) == ("result", b"4127")


def test_a_result_with_anchors_has_the_fields_of_the_sample() -> None:
    sample = document("result_rich_anchors.json")["data"]
    essays = [RankingEntry(e["essay_id"], e["rank"], e["bt_score"]) for e in sample["essay_results"]]
    data = document_of(result_event(header_of("result_rich_anchors.json"), essays, METADATA))["data"]
    assert data.keys() == sample.keys()
    assert data["assessment_metadata"].keys() == sample["assessment_metadata"].keys()
    for ours, theirs in zip(data["essay_results"], sample["essay_results"], strict=True):
        assert ours.keys() == theirs.keys()
        assert (ours["is_anchor"], ours["display_name"]) == (theirs["is_anchor"], theirs["display_name"])


@pytest.mark.parametrize(
    "essays",
    [[], [RankingEntry("a", 0, 1.0)], [RankingEntry("a", 1, float("nan"))], [RankingEntry("a", 1, float("inf"))]],
)
def test_a_result_that_its_reader_would_refuse_is_impossible(essays: list[RankingEntry]) -> None:
    with pytest.raises(ValueError, match=r"cannot be published|at least one"):
        result_event(header_of("result_rich.json"), essays, METADATA)


def test_a_repeat_has_the_same_bytes() -> None:
    header = header_of("completed_thin.json")
    assert completed_event(header, ["a"], ["b"]) == completed_event(header, ["a"], ["b"])
    essays = [RankingEntry("a", 1, 0.5)]
    assert result_event(header, essays, METADATA) == result_event(header, essays, METADATA)


def test_metadata_never_replaces_the_key_and_carries_the_trace() -> None:
    header = header_of("completed_thin.json")
    assert document_of(completed_event(header, ["a"], []))["metadata"] == {}
    traced = msgspec.structs.replace(header, traceparent="00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    assert document_of(completed_event(traced, ["a"], []))["metadata"] == {"traceparent": traced.traceparent}

"""The envelope: strict JSON, tolerant fields, and a form that reads back."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from support.wire.contract_samples import ABSENT, changed_sample, document, raw

from cj_stream.contracts.envelope import read_envelope, read_object, write_envelope
from cj_stream.contracts.fields import wire_time
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.texts import (
    CUT_MARK,
    clip,
)

CURRENT = "request_current.json"
MOMENT = datetime(2026, 3, 4, 9, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2026-03-04T09:12:00Z",
        "2026-03-04T09:12:00.000000Z",
        "2026-03-04T10:12:00+01:00",
        "2026-03-04T09:12:00",
        "2026-03-04 09:12:00",
        1772615520,
        1772615520.0,
        "1772615520",
    ],
)
def test_a_time_is_read_in_every_form_of_the_contract(written: object) -> None:
    assert read_envelope(changed_sample(CURRENT, "event_timestamp", written)).event_timestamp == MOMENT


@pytest.mark.parametrize("written", [True, "soon", 1e300, 10**40, "0001-01-01T00:00:00+14:00", [], "", None, ABSENT])
def test_a_time_that_is_none_is_read_past(written: object) -> None:
    envelope = read_envelope(changed_sample(CURRENT, "event_timestamp", written))
    assert envelope.event_timestamp is None
    assert envelope.data == document(CURRENT)["data"]


@pytest.mark.parametrize("version", [1, 2, "3", 1.5, None, ABSENT, "one", []])
def test_any_schema_version_is_taken(version: object) -> None:
    assert read_envelope(changed_sample(CURRENT, "schema_version", version)) == read_envelope(raw(CURRENT))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "empty"),
        (b"{} trailing", "not_json"),
        (b'{"a": Infinity}', "not_json"),
        (b'{"a": 1e999}', "not_json"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a": 01}', "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        ('{"a": 1}'.encode("utf-16"), "not_utf8"),
        (b'{"a":' * 20_000, "too_deep"),
        (b"17", "not_an_object"),
    ],
)
def test_what_is_no_strict_json_object_is_refused(value: bytes, reason: str) -> None:
    with pytest.raises(Refused) as caught:
        read_object(value)
    assert caught.value.reason == reason


def test_the_size_limit_is_inclusive() -> None:
    assert read_object(b'{"a": 1}', limit=8) == {"a": 1}
    with pytest.raises(Refused, match="too_large"):
        read_object(b'{"a": 1} ', limit=8)


def test_raw_utf8_reads_like_escapes() -> None:
    assert read_object('{"a": "å"}'.encode()) == read_object(b'{"a": "\\u00e5"}')


def test_an_envelope_is_written_in_the_form_of_the_samples() -> None:
    sample = document("completed_thin.json")
    written = write_envelope(
        event_id=UUID(sample["event_id"]),
        event_type=sample["event_type"],
        timestamp=datetime(2026, 3, 4, 9, 13, 12, 210944, UTC),
        source_service=sample["source_service"],
        correlation_id=UUID(sample["correlation_id"]),
        data=sample["data"],
        metadata={},
    )
    assert list(json.loads(written).items()) == list(sample.items())
    assert "å".encode() in write_envelope(  # half the size of an escape, so that a large result fits into a record
        event_id=UUID(int=1),
        event_type="t",
        timestamp=MOMENT,
        source_service="s",
        correlation_id=UUID(int=2),
        data={"name": "å"},
        metadata=None,
    )


def test_times_are_written_in_utc_with_z() -> None:
    assert wire_time(datetime(2026, 3, 4, 10, 12, tzinfo=timezone(timedelta(hours=1)))) == "2026-03-04T09:12:00Z"
    with pytest.raises(ValueError, match="time zone"):
        wire_time(datetime(2026, 3, 4))  # noqa: DTZ001 - a time without zone is what is tested


def test_every_sample_file_of_the_index_is_strict_json() -> None:
    assert read_object(raw("index.json"))["samples"]


def test_a_text_is_cut_to_its_limit_with_a_mark() -> None:
    assert clip("abc", 3) == "abc"
    assert clip("x" * 50, 20) == "x" * (20 - len(CUT_MARK)) + CUT_MARK

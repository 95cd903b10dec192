"""Dead letters and timeout events: nothing of the original is lost, and both read back."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID

import pytest
from support.wire.contract_samples import MAX_ESSAYS, expectations, raw

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.envelope import read_envelope
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import read_request
from cj_stream.contracts.timeout_writer import BatchTimeoutDueV1, write_timeout_due
from cj_stream.dead_letters.letter import WHOLE_VALUE_LIMIT, dead_letter, read_dead_letter
from cj_stream.engine.dead_letters import Letter

MOMENT = datetime(2026, 3, 4, 11, 0, 0, 1, UTC)
REFUSED = Refused("not_json", "The message is no JSON: send JSON ö in UTF-8.")


def letter(key: bytes | None, value: bytes | None, refused: Refused = REFUSED) -> Letter:
    return dead_letter(
        key=key, value=value, topic="requests", partition=2, offset=17, timestamp=MOMENT, refused=refused
    )


@pytest.mark.parametrize(("name", "topic"), [(name, topic) for name, topic, *_ in expectations()])
def test_every_refused_sample_is_kept_unchanged_with_its_reason(name: str, topic: str) -> None:
    value = raw(f"invalid/{name}")
    with pytest.raises(Refused) as caught:
        read_callback(value) if topic == "callback" else read_request(value, max_essays=MAX_ESSAYS)
    stored = read_dead_letter(*letter(b"some key", value, caught.value))
    assert (stored.key, stored.value) == (b"some key", value)
    assert stored.is_whole
    assert (stored.reason, stored.detail) == (caught.value.reason, caught.value.detail)
    assert (stored.batch_id, stored.correlation_id) == (caught.value.batch_id, caught.value.correlation_id)


def test_the_headers_say_where_the_record_stood() -> None:
    sent = letter(None, b"{")
    assert dict(sent.headers) == {
        "cj-reason": b"not_json",
        "cj-detail": "The message is no JSON: send JSON ö in UTF-8.".encode(),
        "cj-topic": b"requests",
        "cj-partition": b"2",
        "cj-offset": b"17",
        "cj-timestamp": b"2026-03-04T11:00:00.000001Z",
        "cj-size": b"1",
        "cj-sha256": hashlib.sha256(b"{").hexdigest().encode(),
        "cj-service": b"cj_assessment_service",
    }
    stored = read_dead_letter(*sent)
    assert (stored.topic, stored.partition, stored.offset, stored.timestamp) == ("requests", 2, 17, MOMENT)


def test_a_value_beyond_the_ingress_limit_is_cut_to_64_kilobytes_and_known_by_its_digest() -> None:
    value = b"x" * (WHOLE_VALUE_LIMIT + 1)
    stored = read_dead_letter(*letter(b"k" * 5000, value))
    assert stored.value == value[: 64 * 1024]
    assert stored.key == b"k" * 1024
    assert not stored.is_whole
    assert stored.size == len(value)
    assert stored.sha256 == hashlib.sha256(value).hexdigest()
    assert read_dead_letter(*letter(None, value[:-1])).is_whole


def test_a_record_without_value_keeps_none() -> None:
    stored = read_dead_letter(*letter(None, None))
    assert (stored.key, stored.value, stored.size, stored.sha256) == (None, None, -1, "")
    assert stored.is_whole


def test_a_record_with_neither_key_nor_value_can_be_written_and_reads_back_as_it_was() -> None:
    sent = letter(None, None)
    assert (sent.key, sent.value) == (None, b"")  # aiokafka refuses to send a record without both
    stored = read_dead_letter(*sent)
    assert (stored.key, stored.value, stored.size) == (None, None, -1)
    assert read_dead_letter(*letter(None, b"")).value == b""


@pytest.mark.parametrize(("size", "whole"), [(0, True), (1023, True), (1024, False), (5000, False)])
def test_a_key_that_may_have_been_cut_is_known(size: int, whole: bool) -> None:
    assert read_dead_letter(*letter(b"k" * size, b"v")).has_whole_key is whole


@pytest.mark.parametrize("name", ["cj-reason", "cj-size", "cj-batch-id", "another"])
def test_a_header_without_a_value_is_no_header(name: str) -> None:
    headers: list[tuple[str, bytes | None]] = [*letter(b"k", b"v").headers, (name, None)]
    assert read_dead_letter(b"k", b"v", headers) == read_dead_letter(*letter(b"k", b"v"))
    with pytest.raises(Refused, match="headers"):
        read_dead_letter(b"k", b"v", [(name, None)])


def test_the_same_refusal_gives_the_same_letter() -> None:
    assert letter(b"k", b"v") == letter(b"k", b"v")


@pytest.mark.parametrize("headers", [[], [("cj-reason", b"x")], [("other", b"x")]])
def test_a_record_with_other_headers_is_no_dead_letter(headers: list[tuple[str, bytes]]) -> None:
    with pytest.raises(Refused, match="headers"):
        read_dead_letter(b"k", b"v", headers)


def test_a_timeout_event_reads_back() -> None:
    event = BatchTimeoutDueV1(
        batch_id="55f18100", run=2, due_at=MOMENT, window_end=MOMENT, reason="no activity for 4 hours"
    )
    value = write_timeout_due(event, event_id=UUID(int=1), correlation_id=UUID(int=2), now=MOMENT)
    envelope = read_envelope(value)
    assert (envelope.event_type, envelope.event_id) == ("cj.batch.timeout_due.v1", UUID(int=1))
    assert envelope.event_timestamp == MOMENT
    assert BatchTimeoutDueV1.model_validate(envelope.data) == event

"""Whatever arrives has one fate: it is taken, or it becomes one dead letter with its reason. The agents live on."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any
from uuid import UUID

import pytest
from support.wire.contract_samples import document, encoded, raw, with_value
from support.wire.ingress import Ingress

from cj_stream.contracts.message_limits import (
    CALLBACK_LIMIT,
    MOST_ESSAYS,
    REQUEST_LIMIT,
)
from cj_stream.domain.events import BatchRequested, CallbackReceived
from cj_stream.engine.limits import EVENT_LIMIT
from cj_stream.operations.settings import Settings

REQUEST, CALLBACK = "request_current.json", "callback_success.json"
SIZED = {REQUEST: "data.essays_for_cj.0.note", CALLBACK: "data.request_metadata.note"}
LIMITS = {REQUEST: REQUEST_LIMIT, CALLBACK: CALLBACK_LIMIT}


@pytest.fixture
def ingress() -> Ingress:
    return Ingress()


def topic_of(ingress: Ingress, name: str) -> str:
    settings = ingress.settings
    return settings.assessment_request_topic if name == REQUEST else settings.llm_provider_callback_topic


def padded(name: str, size: int) -> bytes:
    """Return a sample, valid but for its size, of exactly ``size`` bytes."""
    empty = with_value(document(name), SIZED[name], "")
    return encoded(with_value(empty, SIZED[name], "x" * (size - len(encoded(empty)))))


def with_essays(count: int) -> dict[str, Any]:
    """Return a request with ids and spellcheck figures as the platform's; the figures are read past."""
    chance = Random(count)
    figures = document(REQUEST)["data"]["essays_for_cj"][1]["spellcheck_metrics"]
    essays = [
        {"essay_id": str(_uuid(chance)), "text_storage_id": _uuid(chance).hex, "spellcheck_metrics": figures}
        for _ in range(count)
    ]
    return with_value(document(REQUEST), "data.essays_for_cj", essays)


def _uuid(chance: Random) -> UUID:
    return UUID(int=chance.getrandbits(128))


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


def inside(name: str, json_text: bytes) -> bytes:
    """Return a sample with more JSON in a field that nobody reads."""
    return raw(name).rstrip()[:-1] + b', "unknown": ' + json_text + b"}"


UNREADABLE = [
    pytest.param(lambda _: None, "empty", id="a tombstone"),
    pytest.param(lambda _: b"", "empty", id="no bytes"),
    pytest.param(lambda _: b"\x00" * 100, "not_json", id="NUL bytes"),
    pytest.param(lambda name: raw(name) + b"\x00", "not_json", id="a NUL byte at the end"),
    pytest.param(lambda name: b"\xef\xbb\xbf" + raw(name), "not_json", id="a byte order mark"),
    pytest.param(lambda name: raw(name).decode().encode("utf-16"), "not_utf8", id="UTF-16"),
    pytest.param(lambda name: inside(name, b'"\xff\xfe"'), "not_utf8", id="bytes that are no UTF-8"),
    pytest.param(lambda name: inside(name, b'"\xed\xa0\x80"'), "not_utf8", id="a surrogate in UTF-8"),
    pytest.param(lambda name: inside(name, rb'"\ud800"'), "not_json", id="half a surrogate pair"),
    pytest.param(lambda _: nested(100_000), "too_deep", id="100,000 arrays in each other"),
    pytest.param(lambda _: nested(80_000, b'{"a":', b"}"), "too_deep", id="80,000 objects in each other"),
    pytest.param(lambda name: inside(name, nested(100_000)), "too_deep", id="a request around 100,000 arrays"),
    pytest.param(lambda name: inside(name, b"1e400"), "not_json", id="a number beyond floating point"),
    pytest.param(lambda name: inside(name, b"9" * 100_000), "not_json", id="100,000 digits"),
    pytest.param(lambda name: inside(name, b"NaN"), "not_json", id="NaN"),
    pytest.param(lambda name: inside(name, b"-Infinity"), "not_json", id="infinity"),
    pytest.param(lambda _: b"[{}]", "not_an_object", id="an array"),
    pytest.param(lambda _: b'"text"', "not_an_object", id="a string"),
    pytest.param(lambda _: b"null", "not_an_object", id="null"),
    pytest.param(lambda name: padded(name, LIMITS[name] + 1), "too_large", id="a byte too many"),
    pytest.param(lambda name: padded(name, 2 * LIMITS[name]), "too_large", id="twice the limit"),
]


@pytest.mark.parametrize("name", [REQUEST, CALLBACK])
@pytest.mark.parametrize(("value_of", "reason"), UNREADABLE)
async def test_what_cannot_be_read_is_refused_with_its_reason(
    ingress: Ingress, name: str, value_of: Callable[[str], bytes | None], reason: str
) -> None:
    for key in (b"k", None):
        fate = await ingress.take(topic_of(ingress, name), value_of(name), key=key)
        assert fate.letter is not None
        assert fate.letter.reason == reason
    assert (await ingress.take(topic_of(ingress, name), raw(name))).kind == "forwarded"


READABLE = [
    pytest.param(lambda name: padded(name, LIMITS[name]), id="the largest message"),
    pytest.param(lambda name: inside(name, nested(200)), id="arrays in each other"),
    pytest.param(lambda name: inside(name, b"9" * 300), id="a number of 300 digits"),
    pytest.param(lambda name: inside(name, b"1e-400"), id="a number next to nothing"),
    pytest.param(lambda name: inside(name, rb'"\ud83d\ude00 \u0000"'), id="a surrogate pair and a NUL in a string"),
    pytest.param(lambda name: b" \n\t" + raw(name) + b"\r\n ", id="white space around it"),
    pytest.param(lambda name: encoded({**document(name), **{f"f{i}": i for i in range(5_000)}}), id="unknown fields"),
]


@pytest.mark.parametrize("name", [REQUEST, CALLBACK])
@pytest.mark.parametrize("value_of", READABLE)
async def test_what_is_odd_but_valid_is_taken(ingress: Ingress, name: str, value_of: Callable[[str], bytes]) -> None:
    plain = await ingress.take(topic_of(ingress, name), raw(name))
    odd = await ingress.take(topic_of(ingress, name), value_of(name))
    assert odd.kind == "forwarded"
    assert odd.event.batch_id == plain.event.batch_id


async def test_of_a_key_that_is_there_twice_the_last_one_counts(ingress: Ingress) -> None:
    twice = raw(REQUEST).replace(b'"language": "en"', b'"language": "sv", "language": "en"')
    fate = await ingress.take(topic_of(ingress, REQUEST), twice)
    assert isinstance(fate.event, BatchRequested)
    assert fate.event.context.language == "en"
    again = inside(REQUEST, b"0, " + b'"correlation_id": "00000000-0000-0000-0000-000000000007"')
    fate = await ingress.take(topic_of(ingress, REQUEST), again)
    assert fate.event.correlation_id == "00000000-0000-0000-0000-000000000007"


async def test_a_verdict_that_is_there_twice_is_the_last_one(ingress: Ingress) -> None:
    original = document(CALLBACK)["data"]["winner"]
    twice = raw(CALLBACK).replace(b'"winner":', b'"winner": "Essay B", "winner": "Error", "winner":')
    fate = await ingress.take(topic_of(ingress, CALLBACK), twice)
    assert isinstance(fate.event, CallbackReceived)
    assert f"Essay {fate.event.winner}" == original


@pytest.mark.parametrize("key", [None, b"", b"\x00\xff" * 50_000, b"\x1b]0;owned\x07"])
@pytest.mark.parametrize("timestamp", [-0.001, 0.0, 9.2e15, -9.2e15])
@pytest.mark.parametrize("name", [REQUEST, CALLBACK])
async def test_absurd_keys_and_record_times_change_nothing(
    ingress: Ingress, name: str, key: bytes | None, timestamp: float
) -> None:
    topic = topic_of(ingress, name)
    assert (await ingress.take(topic, raw(name), key=key, timestamp=timestamp)).kind == "forwarded"
    assert (await ingress.take(topic, b"rubbish", key=key, timestamp=timestamp)).kind == "refused"
    told = encoded(with_value(document(REQUEST), "data.essays_for_cj", []))
    fate = await ingress.take(topic_of(ingress, REQUEST), told, key=key, timestamp=timestamp)
    assert fate.kind == "refused, and told"


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 0, -1, 253402300799])
async def test_times_at_the_ends_of_the_calendar_are_taken(ingress: Ingress, written: object) -> None:
    for name in (REQUEST, CALLBACK):
        value = encoded(with_value(document(name), "event_timestamp", written))
        assert (await ingress.take(topic_of(ingress, name), value)).kind == "forwarded"


@pytest.mark.parametrize("written", ["0001-01-01T00:00:00+14:00", 1e18, 10**30, "10000-01-01T00:00:00Z"])
async def test_times_beyond_the_calendar_are_read_past(ingress: Ingress, written: object) -> None:
    for name in (REQUEST, CALLBACK):
        value = encoded(with_value(document(name), "event_timestamp", written))
        assert (await ingress.take(topic_of(ingress, name), value)).kind == "forwarded"


async def test_a_request_whose_event_is_too_large_is_refused_and_its_requester_is_told(ingress: Ingress) -> None:
    value = encoded(with_value(document(REQUEST), "data.essay_instructions", "x" * EVENT_LIMIT))
    fate = await ingress.take(topic_of(ingress, REQUEST), value)
    assert fate.letter is not None
    assert fate.told is not None
    assert fate.told["entity_id"] == document(REQUEST)["data"]["entity_id"]
    info: dict[str, Any] = fate.told["system_metadata"]["error_info"]
    assert info["details"]["reason"] == "too_large"
    assert str(EVENT_LIMIT) in info["error_message"]


@pytest.mark.parametrize("max_essays", [2_000, MOST_ESSAYS])
async def test_as_many_essays_as_are_allowed_go_through_with_all_that_the_platform_says_of_them(
    max_essays: int,
) -> None:
    ingress = Ingress(Settings(invalid_input_share=1, accumulate_milliseconds=1e-6, max_essays=max_essays))
    fate = await ingress.take(topic_of(ingress, REQUEST), json.dumps(with_essays(max_essays), indent=2).encode())
    assert fate.kind == "forwarded"
    assert len(fate.event.essays) == max_essays
    assert (await ingress.take(topic_of(ingress, REQUEST), encoded(with_essays(max_essays + 1)))).told


async def test_another_event_that_is_too_large_is_nobodys_request(ingress: Ingress) -> None:
    other = json.loads(padded(REQUEST, REQUEST_LIMIT))
    other["data"]["event_name"] = "something.else"
    fate = await ingress.take(topic_of(ingress, REQUEST), encoded(other))
    assert fate.kind == "refused"

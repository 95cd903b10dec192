"""Whatever arrives, the only error is ``Refused``; hypothesis prints the input that breaks this."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.wire.contract_samples import CALLBACKS, MAX_ESSAYS, REQUESTS, document, encoded, on_topic

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.comparison_api import read_comparison_request, read_response, refusal_answer
from cj_stream.contracts.envelope import read_envelope
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import read_request
from cj_stream.dead_letters.letter import read_dead_letter

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["", " ", "\x00", "nan", "1e400", "Essay A", "Error", 10**400, -1, 0, 2**63, "\ud800", "x" * 300]
    ),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3),
    max_leaves=5,
)
FAST = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read_everything(value: bytes) -> None:
    """Read ``value`` as each kind of message; an accepted one must survive being stored as a row."""
    with suppress(Refused):
        read_envelope(value)
    with suppress(Refused):
        msgspec.msgpack.encode(read_callback(value))
    with suppress(Refused):
        msgspec.msgpack.encode(read_request(value, max_essays=MAX_ESSAYS))
    for status in (200, 202, 400, 500, 503):
        msgspec.msgpack.encode(read_response(status, value))
    try:
        json.dumps(read_comparison_request(value).metadata)
    except Refused as refused:
        json.dumps(refusal_answer(refused))


def paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the path of every value in a document."""
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in children for found in paths(child, (*path, key)))]


def put(whole: Any, path: tuple[str | int, ...], value: object, *, remove: bool) -> Any:
    if not path:
        return value
    place = whole
    for step in path[:-1]:
        place = place[step]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return whole


@FAST
@given(st.binary())
def test_arbitrary_bytes_are_read_or_refused(value: bytes) -> None:
    read_everything(value)


@FAST
@given(JSON)
def test_arbitrary_json_is_read_or_refused(value: object) -> None:
    read_everything(encoded(value))


@FAST
@given(
    name=st.sampled_from([*on_topic(REQUESTS), *on_topic(CALLBACKS), "http_comparison_request.json"]),
    seed=st.integers(0, 2**32),
    value=JSON,
    remove=st.booleans(),
)
def test_a_sample_with_any_value_anywhere_is_read_or_refused(name: str, seed: int, value: object, remove: bool) -> None:
    whole = document(name)
    path = random.Random(seed).choice(paths(whole))
    read_everything(encoded(put(whole, path, value, remove=remove)))


@FAST
@given(name=st.sampled_from([*on_topic(REQUESTS), *on_topic(CALLBACKS)]), position=st.floats(0, 1), byte=st.binary())
def test_a_sample_with_damaged_bytes_is_read_or_refused(name: str, position: float, byte: bytes) -> None:
    value = encoded(document(name))
    at = int(position * len(value))
    read_everything(value[:at] + byte + value[at + 1 :])
    read_everything(value[:at])


@FAST
@given(st.lists(st.tuples(st.sampled_from(["cj-reason", "cj-size", "cj-partition", "x"]), st.binary())))
def test_arbitrary_headers_are_read_or_refused(headers: list[tuple[str, bytes]]) -> None:
    with suppress(Refused):
        read_dead_letter(b"k", b"v", headers)


@pytest.mark.parametrize("depth", [100, 900, 5_000, 100_000])
@pytest.mark.parametrize("bracket", [b"[", b'{"a":'])
def test_any_depth_of_nesting_is_read_or_refused(depth: int, bracket: bytes) -> None:
    closing = b"]" if bracket == b"[" else b"}"
    nested = bracket * depth + b"1" + closing * depth
    message = encoded(document("http_comparison_request.json"))
    for value in (nested, message[:-1] + b', "metadata": {"x": ' + nested + b"}}", b'{"data": ' + nested + b"}"):
        read_everything(value)
        with suppress(Refused):
            json.dumps(read_comparison_request(value).metadata)

"""Whatever lies on the events topic has its fate, and the agent lives on. Damaged records: see ``tests/fuzz``."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
import structlog
from support.domain.story import BATCH, START
from support.wire.event_log import EVENTS, TOPIC, EventLog

from cj_stream.agents import batches
from cj_stream.contracts.event_log import encode_event
from cj_stream.engine.messages import (
    VERSION,
    encode_message,
)


@pytest.fixture(autouse=True)
def _without_tracebacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(*_: object) -> Any:
        raise structlog.DropEvent

    monkeypatch.setattr(batches, "log", structlog.wrap_logger(None, [drop]))


def event_with(**fields: object) -> bytes:
    """Return a message of one event with anything in its fields."""
    event = msgspec.msgpack.decode(encode_event(EVENTS[3]))
    return encode_message([msgspec.msgpack.encode({**event, **fields})])


NESTED = b"\x91" * 50_000 + b"\x90"
STRANGE = [
    pytest.param(None, id="no value"),
    pytest.param(b"", id="no bytes"),
    pytest.param(b"rubbish", id="text"),
    pytest.param(b'{"event_type": "x"}', id="JSON"),
    pytest.param(NESTED, id="arrays in each other"),
    pytest.param(encode_message([NESTED]), id="an event of arrays in each other"),
    pytest.param(event_with()[:-3], id="a part of a message"),
    pytest.param(msgspec.msgpack.encode((VERSION - 1, [b"\xc1"])), id="an event that is none"),
    pytest.param(event_with(run=2**32), id="a run that fits into no key"),
    pytest.param(event_with(run=-1), id="a run below all"),
    pytest.param(
        encode_message([msgspec.msgpack.encode({"type": "Callback", "batch_id": BATCH, "correlation_id": "no UUID"})]),
        id="no UUID",
    ),
]


@pytest.mark.parametrize("key", [None, b"", b"k" * 300_000])
@pytest.mark.parametrize("value", STRANGE)
async def test_what_is_no_event_becomes_one_dead_letter(value: bytes | None, key: bytes | None) -> None:
    log = EventLog()
    for timestamp in (START, -0.001, 9.2e15):
        await log.read(value, key, timestamp)
    assert [(letter.topic, letter.offset) for letter in log.letters] == [(TOPIC, i) for i in range(3)]
    assert not log.batches


async def test_a_field_that_nobody_knows_may_nest_as_deeply_as_it_likes() -> None:
    log = EventLog()
    event = msgspec.msgpack.decode(encode_event(EVENTS[3]))
    encoded = msgspec.msgpack.encode({**event, "news": None})
    await log.read(encode_message([encoded[:-1] + NESTED]))
    assert len(log.letters) <= 1
    await log.read(encode_message([encode_event(EVENTS[0])]))
    assert log.batches == [BATCH]

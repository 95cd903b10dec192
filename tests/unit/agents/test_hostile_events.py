"""Whatever lies on the events topic has its fate, and the agent lives on: damaged records, strange and forged ones."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
import structlog
from fake_producer import FakeProducer, Produced
from fuzz.mutations import damaged
from ingress import METRICS
from story import BATCH, FIRST, IDS, PARTITION, START, MemoryTable, requested

from cj_stream.agents import batches
from cj_stream.agents.batches import BatchesAgent
from cj_stream.agents.dead_letters import DeadLetters
from cj_stream.agents.invalid_share import InvalidShare
from cj_stream.contracts.dead_letters import StoredDeadLetter, read_dead_letter
from cj_stream.domain.events import Callback, ContentLoaded, OperatorCommand, PairsPlanned, VerdictReceived
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.policy import Policy
from cj_stream.operations.settings import Settings
from cj_stream.streaming.messages import VERSION, encode_event, encode_message
from cj_stream.streaming.publisher import Deliveries
from cj_stream.tables.batches import BatchRows

SEEDS = 200
EVENTS = [
    requested(4),
    ContentLoaded(batch_id=BATCH, run=1),
    PairsPlanned(batch_id=BATCH, run=1, iteration=1, pairs=((0, 1), (2, 3))),
    VerdictReceived(batch_id=BATCH, run=1, index=0, attempt=1, winner="A", confidence=4.0),
    Callback(batch_id=BATCH, correlation_id=FIRST, winner="B", confidence=2.0),
    OperatorCommand(batch_id=BATCH, action=cast("Any", "finalize")),
]


class Partition:
    """One partition of the log, read by the real agent. Its limit on bad input is off."""

    def __init__(self) -> None:
        self.producer = FakeProducer(prompt=True)
        self.sender = self.producer.sender()
        self.rows = BatchRows(cast("Any", MemoryTable()), self.sender)
        self.held: list[int] = []
        engine: Any = SimpleNamespace(
            fence=SimpleNamespace(check=lambda: None),
            opener=SimpleNamespace(opened_at={PARTITION: START}, read=lambda *_: False),
            releases=SimpleNamespace(hold=lambda _, offset, __: self.held.append(offset)),
        )
        share = InvalidShare(Settings(invalid_input_share=1))
        deliveries = Deliveries(self.sender.promise)
        letters = DeadLetters(self.producer.publisher(), deliveries, "letters", METRICS, share)
        self.agent = BatchesAgent(engine, self.rows, letters, METRICS, self._batches)

    def _batches(self, partition: int) -> PartitionBatches:
        return PartitionBatches(IDS, Policy(), lambda batch_id, run: self.rows.load(partition, batch_id, run))

    async def read(self, value: bytes | None, key: bytes | None = None, timestamp: float = START) -> None:
        offset = len(self.held)
        message = SimpleNamespace(
            topic="events", partition=PARTITION, offset=offset, key=key, value=value, timestamp=timestamp
        )
        await self.agent.handle(cast("Any", message))
        assert await self.sender.settled(10)
        assert self.held[-1] == offset, "the message was handled to its end"

    @property
    def letters(self) -> list[StoredDeadLetter]:
        return [_letter(record) for record in self.producer.records if record.topic == "letters"]


def _letter(record: Produced) -> StoredDeadLetter:
    return read_dead_letter(record.key, record.value, record.headers or [])


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
    pytest.param(encode_message([encode_event(Callback(batch_id=BATCH, correlation_id="no UUID"))]), id="no UUID"),
]


@pytest.mark.parametrize("key", [None, b"", b"k" * 300_000])
@pytest.mark.parametrize("value", STRANGE)
async def test_what_is_no_event_becomes_one_dead_letter(value: bytes | None, key: bytes | None) -> None:
    partition = Partition()
    for timestamp in (START, -0.001, 9.2e15):
        await partition.read(value, key, timestamp)
    assert [(letter.topic, letter.offset) for letter in partition.letters] == [("events", i) for i in range(3)]
    assert not list(partition.rows.heads(PARTITION))


async def test_a_field_that_nobody_knows_may_nest_as_deeply_as_it_likes() -> None:
    partition = Partition()
    event = msgspec.msgpack.decode(encode_event(EVENTS[3]))
    encoded = msgspec.msgpack.encode({**event, "news": None})
    await partition.read(encode_message([encoded[:-1] + NESTED]))
    assert len(partition.letters) <= 1
    await partition.read(encode_message([encode_event(EVENTS[0])]))
    assert [head.batch_id for head in partition.rows.heads(PARTITION)] == [BATCH]


async def test_damaged_messages_stop_nobody() -> None:
    whole = [encode_event(event) for event in EVENTS]
    for seed in range(SEEDS):
        chance, partition = Random(seed), Partition()
        print("seed", seed)  # noqa: T201 (pytest shows it when the test fails)
        await partition.read(encode_message(whole[:1]))
        events = [damaged(chance, event) if chance.random() < 0.5 else event for event in whole]
        value = encode_message(events)
        await partition.read(damaged(chance, value) if chance.random() < 0.3 else value)
        await partition.read(encode_message([encode_event(requested(3, batch_id="another"))]))
        assert "another" in {head.batch_id for head in partition.rows.heads(PARTITION)}

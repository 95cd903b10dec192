from __future__ import annotations

import pytest
from support.engine.fake_producer import FakeProducer, no_exit
from support.engine.until import until

from cj_stream.engine.messages import PartitionOpened
from cj_stream.engine.opening import Opener

NOW = 1000.0


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer(prompt=True)


def opener(producer: FakeProducer) -> Opener:
    return Opener(producer.sender(), "events", lambda: NOW)


async def markers(producer: FakeProducer, count: int) -> dict[int, PartitionOpened]:
    """The newest marker of each partition, once ``count`` of them were produced."""
    await until(lambda: len(producer.records) >= count)
    found: dict[int, PartitionOpened] = {}
    for record in producer.records:
        (event,) = record.events()
        assert isinstance(event, PartitionOpened)
        assert record.partition is not None
        found[record.partition] = event
    return found


async def test_every_assigned_partition_gets_a_marker_of_its_own(producer: FakeProducer) -> None:
    opens = opener(producer)
    opens.assigned({2, 0})
    sent = await markers(producer, 2)
    assert [(record.topic, record.partition) for record in producer.records] == [("events", 0), ("events", 2)]
    assert sent[0].nonce != sent[2].nonce
    assert opens.owned == {0, 2}
    assert opens.opened_at == {}
    assert not opens.ready


async def test_reading_the_marker_opens_the_partition(producer: FakeProducer) -> None:
    opens = opener(producer)
    opens.assigned({0, 2})
    sent = await markers(producer, 2)
    assert opens.read(0, sent[0])
    assert opens.opened_at == {0: NOW}
    assert not opens.ready
    assert opens.read(2, sent[2])
    assert opens.ready


async def test_the_marker_of_another_worker_partition_or_assignment_opens_nothing(producer: FakeProducer) -> None:
    opens = opener(producer)
    opens.assigned({0, 2})
    sent = await markers(producer, 2)
    assert not opens.read(0, sent[2])
    assert not opens.read(7, sent[0])
    assert not opens.read(0, PartitionOpened(nonce="of another worker"))
    opens.revoked()
    assert not opens.read(0, sent[0])
    opens.assigned({0})
    again = await markers(producer, 3)
    assert not opens.read(0, sent[0])
    assert opens.read(0, again[0])


async def test_a_revocation_closes_everything(producer: FakeProducer) -> None:
    opens = opener(producer)
    opens.assigned({0})
    assert opens.read(0, (await markers(producer, 1))[0])
    opens.revoked()
    assert (opens.owned, opens.opened_at, opens.ready) == (frozenset(), {}, False)


async def test_a_worker_is_ready_only_after_an_assignment_even_of_no_partition(producer: FakeProducer) -> None:
    opens = opener(producer)
    assert not opens.ready
    opens.assigned(set())
    assert opens.ready


async def test_the_process_ends_when_a_marker_cannot_be_sent(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = no_exit(monkeypatch, "sender", "opening")
    producer.failure = RuntimeError("the broker is gone")
    opener(producer).assigned({0})
    await until(lambda: reasons)
    assert reasons[0] == "could not produce to events"

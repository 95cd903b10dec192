from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.engine.fake_producer import FakeProducer, no_exit
from support.engine.until import until

from cj_stream.contracts.event_log import EVENTS
from cj_stream.domain.events import Event, OutcomePublished, VerdictReceived
from cj_stream.engine import forwarder as gathering
from cj_stream.engine.forwarder import EventTooLargeError, Forwarder
from cj_stream.engine.limits import (
    EVENT_LIMIT,
    GATHERED_LIMIT,
    RECORD_LIMIT,
)
from cj_stream.engine.sender import Sender

SOON = 0.01  # seconds of gathering
NEVER = 3600.0


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


def told(number: int) -> OutcomePublished:
    return OutcomePublished(batch_id="b", run=1, outcome=f"completed:{number}")


def judged(size: int) -> VerdictReceived:
    return VerdictReceived(batch_id="b", run=1, index=0, attempt=1, winner="A", justification="x" * size)


def forwarder(sender: Sender, accumulate: float = SOON) -> Forwarder[Event]:
    return Forwarder(sender, "events", accumulate, EVENTS)


async def test_events_of_one_partition_gathered_in_time_travel_in_one_message(producer: FakeProducer) -> None:
    sender = producer.sender()
    forwards = forwarder(sender)
    deliveries = [asyncio.ensure_future(forwards.deliver(3, told(number))) for number in range(3)]
    await asyncio.sleep(0)
    assert producer.records == []
    await until(lambda: len(producer.records) == 1)
    record = producer.records[0]
    assert (record.topic, record.partition, record.key) == ("events", 3, None)
    assert record.events() == [told(0), told(1), told(2)]
    await settle(producer, sender)
    assert [delivery.result().offset for delivery in deliveries] == [0, 0, 0]


async def test_partitions_do_not_share_messages(producer: FakeProducer) -> None:
    sender = producer.sender()
    forwards = forwarder(sender)
    forwards.forward(3, told(0))
    forwards.forward(5, told(1))
    await until(lambda: len(producer.records) == 2)
    assert {record.partition: record.events() for record in producer.records} == {3: [told(0)], 5: [told(1)]}
    await settle(producer, sender)


async def test_what_comes_after_a_message_was_sent_goes_into_the_next_one(producer: FakeProducer) -> None:
    sender = producer.sender()
    forwards = forwarder(sender)
    forwards.forward(3, told(0))
    await until(lambda: len(producer.records) == 1)
    forwards.forward(3, told(1))
    await until(lambda: len(producer.records) == 2)
    assert [record.events() for record in producer.records] == [[told(0)], [told(1)]]
    await settle(producer, sender)


async def test_an_event_is_outstanding_from_the_moment_it_was_taken_over(producer: FakeProducer) -> None:
    """Or else a commit could pass its source while it is still being gathered."""
    sender = producer.sender()
    forwarder(sender).forward(3, told(0))
    assert sender.outstanding == 1
    await until(lambda: len(producer.records) == 1)
    assert sender.outstanding > 0
    settled = asyncio.ensure_future(sender.settled(10))
    await asyncio.sleep(0)
    assert not settled.done()
    await settle(producer, sender)
    await settled
    assert sender.outstanding == 0


async def test_whoever_waits_for_a_delivery_may_be_cancelled_and_the_others_wait_on(producer: FakeProducer) -> None:
    sender = producer.sender()
    forwards = forwarder(sender)
    given_up, other = (asyncio.ensure_future(forwards.deliver(3, told(number))) for number in range(2))
    await until(lambda: len(producer.records) == 1)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert sender.outstanding > 0
    assert not other.done()
    await settle(producer, sender)
    assert other.result().offset == 0


async def test_a_full_message_does_not_wait(producer: FakeProducer) -> None:
    sender = producer.sender()
    forwards = forwarder(sender, accumulate=NEVER)
    forwards.forward(3, told(0))
    assert producer.records == []
    forwards.forward(3, judged(GATHERED_LIMIT))
    await until(lambda: len(producer.records) == 2)
    assert [len(record.events()) for record in producer.records] == [1, 1]
    await settle(producer, sender)


async def test_no_gathered_message_is_larger_than_a_record_may_be(producer: FakeProducer) -> None:
    sender = producer.sender()
    forwards = forwarder(sender)
    sizes = [GATHERED_LIMIT // 3] * 5 + [EVENT_LIMIT - 1000] * 2 + [10] * 3
    for size in sizes:
        forwards.forward(3, judged(size))
    await until(lambda: sum(len(record.events()) for record in producer.records) == len(sizes))
    assert all(len(record.value or b"") < RECORD_LIMIT for record in producer.records)
    assert [len(event.justification) for record in producer.records for event in record.events()] == sizes
    await settle(producer, sender)


class Behind:
    """Input that waits; ``asked`` counts how often that was asked."""

    def __init__(self) -> None:
        self.waits = True
        self.asked = 0

    def __call__(self) -> bool:
        self.asked += 1
        return self.waits


async def test_while_input_waits_events_are_gathered_for_longer(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "BEHIND_SECONDS", NEVER)
    behind, sender = Behind(), producer.sender()
    forwards = Forwarder(sender, "events", SOON, EVENTS, behind)
    forwards.forward(3, told(0))
    await until(lambda: behind.asked == 3)
    forwards.forward(3, told(1))
    assert (producer.records, sender.outstanding) == ([], 1)
    behind.waits = False
    await until(lambda: len(producer.records) == 1)
    assert producer.records[0].events() == [told(0), told(1)]
    await settle(producer, sender)


async def test_events_are_not_gathered_without_end_while_input_waits(producer: FakeProducer) -> None:
    behind, sender = Behind(), producer.sender()
    Forwarder(sender, "events", SOON, EVENTS, behind).forward(3, told(0))
    await until(lambda: len(producer.records) == 1)
    assert 0 < behind.asked <= gathering.BEHIND_SECONDS / SOON
    await settle(producer, sender)


async def test_an_event_that_somebody_waits_for_is_not_kept_back_while_input_waits(producer: FakeProducer) -> None:
    behind, sender = Behind(), producer.sender()
    forwards = Forwarder(sender, "events", SOON, EVENTS, behind)
    forwards.forward(3, told(0))
    delivery = asyncio.ensure_future(forwards.deliver(3, told(1)))
    await until(lambda: len(producer.records) == 1)
    assert behind.asked == 0
    await settle(producer, sender)
    assert (await delivery).offset == 0


async def test_an_event_that_fits_into_no_record_is_not_taken_over(producer: FakeProducer) -> None:
    sender = producer.sender()
    with pytest.raises(EventTooLargeError, match=r"VerdictReceived of batch b has 9900.. bytes, at most 990000 fit"):
        forwarder(sender).forward(3, judged(EVENT_LIMIT))
    assert (producer.records, sender.outstanding) == ([], 0)


async def test_the_process_ends_when_a_message_cannot_be_sent(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = no_exit(monkeypatch, "sender", "forwarder")
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    producer.failure = RuntimeError("the broker is gone")
    forwarder(producer.sender(), accumulate=0).forward(3, told(0))
    await until(lambda: "a gathered message was not sent" in reasons)
    assert reasons[0] == "could not produce to events"


async def settle(producer: FakeProducer, sender: Sender) -> None:
    """Acknowledge everything, and let the forwarder hear of it: a task that is still running would be cancelled."""
    for number in range(len(producer.records)):
        producer.acknowledge(number)
    await sender.settled(10)
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def test_a_message_that_waits_for_room_in_the_producer_is_not_overtaken(producer: FakeProducer) -> None:
    """Two events of a partition keep their order, or a request could be taken for the copy of one behind it."""
    sender = producer.sender()
    room = asyncio.Event()
    waiting: list[bool] = []
    send = sender.send

    async def first_waits(*args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        if kwargs["partition"] == 3 and not waiting:
            waiting.append(True)
            await room.wait()
        return await send(*args, **kwargs)

    sender.send = first_waits
    forwards = forwarder(sender)
    forwards.forward(3, told(0))
    await until(lambda: not forwards._gathering)
    forwards.forward(3, told(1))
    forwards.forward(5, told(2))
    await until(lambda: len(producer.records) == 1)
    assert producer.records[0].events() == [told(2)], "other partitions do not wait"
    room.set()
    await until(lambda: len(producer.records) == 3)
    assert [record.events() for record in producer.records if record.partition == 3] == [[told(0)], [told(1)]]
    await settle(producer, sender)

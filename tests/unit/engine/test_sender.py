from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.engine.fake_producer import FakeProducer, ProcessEndedError, no_exit
from support.engine.until import until

from cj_stream.engine import sender as sender_module
from cj_stream.engine.conditions import ConditionKind
from cj_stream.engine.fence import now


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer()


async def test_a_record_is_outstanding_until_the_broker_has_it(producer: FakeProducer) -> None:
    sender = producer.sender()
    promise = await sender.send("topic", key=b"k", value=b"v", partition=4, headers=[("h", b"1")])
    record = producer.records[0]
    assert (record.topic, record.key, record.value, record.partition) == ("topic", b"k", b"v", 4)
    assert record.headers == [("h", b"1")]
    assert (sender.outstanding, promise.done()) == (1, False)
    producer.acknowledge(0)
    assert (await promise).offset == 0
    assert sender.outstanding == 0


class Full(FakeProducer):
    """A producer that has no room for a record until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.room = asyncio.Event()

    async def send(self, *args: Any) -> asyncio.Future[Any]:
        await self.room.wait()
        return await super().send(*args)


async def test_a_record_is_outstanding_before_the_producer_has_room_for_it() -> None:
    producer = Full()
    sender = producer.sender()
    sending = asyncio.create_task(sender.send("topic", key=None, value=b"v"))
    await asyncio.sleep(0)
    assert (producer.records, sender.outstanding) == ([], 1)
    producer.room.set()
    promise = await sending
    producer.acknowledge(0)
    await promise
    assert (sender.outstanding, sender.interrupted) == (0, False)


async def test_whoever_is_cancelled_before_there_was_room_leaves_nothing_to_wait_for_and_a_note() -> None:
    """Or the local store could be called clean although a row was to say more."""
    producer = Full()
    sender = producer.sender()
    sending = asyncio.create_task(sender.send("topic", key=None, value=b"v"))
    await asyncio.sleep(0)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert (sender.outstanding, sender.interrupted) == (0, True)


async def test_settled_waits_for_what_is_outstanding_now_and_not_for_what_comes_later(producer: FakeProducer) -> None:
    sender = producer.sender()
    await sender.send("topic", key=None, value=b"1")
    settled = asyncio.ensure_future(sender.settled(10))
    await asyncio.sleep(0)
    await sender.send("topic", key=None, value=b"2")
    producer.acknowledge(0)
    await settled
    assert sender.outstanding == 1


async def test_nothing_outstanding_is_settled_at_once(producer: FakeProducer) -> None:
    await asyncio.wait_for(producer.sender().settled(10), 1)


async def test_whoever_wants_to_hears_of_the_acknowledgement_first(producer: FakeProducer) -> None:
    sender = producer.sender()
    offsets: list[int] = []
    promise = await sender.send("topic", key=None, value=b"", on_ack=lambda metadata: offsets.append(metadata.offset))
    producer.acknowledge(0)
    await promise
    assert offsets == [0]


async def test_the_process_ends_when_a_record_cannot_be_produced(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = no_exit(monkeypatch, "sender")
    producer.failure = RuntimeError("the broker is gone")
    with pytest.raises(ProcessEndedError):
        await producer.sender().send("topic", key=None, value=b"")
    assert reasons == ["could not produce to topic"]


@pytest.mark.parametrize("how", ["error", "cancelled"])
async def test_the_process_ends_when_a_record_is_not_acknowledged(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    reasons = no_exit(monkeypatch, "sender")
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    await producer.sender().send("topic", key=None, value=b"")
    promise = producer.records[0].promise
    if how == "error":
        promise.set_exception(RuntimeError("too large"))
    else:
        promise.cancel()
    await until(lambda: reasons)
    assert reasons == ["the broker has not acknowledged a record for topic"]


async def test_the_process_ends_when_somebody_drops_a_promise(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = no_exit(monkeypatch, "sender")
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    producer.sender().promise("a gathered message").cancel()
    await until(lambda: reasons)
    assert reasons == ["a gathered message was cancelled before it was acknowledged"]


async def test_nothing_is_sent_by_a_worker_that_the_group_may_have_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = no_exit(monkeypatch, "fence")
    producer = FakeProducer()
    sender = producer.sender()
    sender._fence.contact(now() - 4000)
    with pytest.raises(ProcessEndedError):
        await sender.send("topic", key=None, value=b"stale")
    assert producer.records == []
    assert len(reasons) == 1


async def test_an_acknowledgement_that_cannot_be_taken_note_of_ends_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reasons = no_exit(monkeypatch, "process")
    producer = FakeProducer()

    def fail(_metadata: object) -> None:
        raise OSError("the disk is full")

    await producer.sender().send("topic", key=None, value=b"row", on_ack=fail)
    producer.acknowledge(0)
    await until(lambda: reasons)
    assert reasons == ["what follows an acknowledgement failed"]


async def test_a_topic_that_acknowledges_nothing_for_long_is_named_until_it_does(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = producer.sender()
    conditions = producer.conditions
    await sender.send("the log", key=None, value=b"1")
    sender.look(conditions)
    assert not conditions.current
    monkeypatch.setattr(sender_module, "LATE_SECONDS", -1.0)
    sender.look(conditions)
    (condition,) = conditions.current
    assert (condition.kind, condition.subject) == (ConditionKind.TOPIC_REFUSES, "the log")
    assert "min.insync.replicas" in condition.what
    producer.acknowledge(0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    sender.look(conditions)
    assert conditions.current == ()

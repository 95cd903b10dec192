from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata, TopicPartition
from support.engine.fake_producer import FakeProducer, ProcessEndedError, no_exit
from support.engine.until import until

from cj_stream.engine import sender as sender_module
from cj_stream.engine.fence import now
from cj_stream.engine.overrides.producer import IdempotentProducer, record_batches
from cj_stream.engine.sender import LANE_FLUSHES, Unsent

BATCH_BYTES = 2_000


def rows(count: int, *, size: int = 10) -> list[Unsent]:
    return [(b"key-%d" % number, b"v" * size, [("h", b"1")]) for number in range(count)]


class Slow(FakeProducer):
    """A producer that takes one flush of a partition when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.room = asyncio.Semaphore(0)

    async def append(self, topic: str, partition: int, records: Sequence[Unsent]) -> asyncio.Future[Any]:
        await self.room.acquire()
        return await super().append(topic, partition, records)


@pytest.fixture
async def slow() -> AsyncIterator[Slow]:
    producer = Slow()
    yield producer
    for _ in range(100):
        producer.room.release()
    await asyncio.sleep(0.01)


async def test_a_flush_is_one_promise_that_is_kept_when_the_broker_has_all_of_it() -> None:
    producer = FakeProducer()
    sender = producer.sender()
    offsets: list[int] = []
    promise = await sender.flush("changelog", 3, rows(5), on_ack=lambda metadata: offsets.append(metadata.offset))
    assert sender.outstanding == 1
    await until(lambda: len(producer.records) == 5)
    assert {(record.topic, record.partition) for record in producer.records} == {("changelog", 3)}
    assert not await sender.settled(0.01)
    producer.acknowledge(4)
    assert (await promise).offset == 4
    assert (sender.outstanding, offsets) == (0, [4])


async def test_a_flush_is_outstanding_before_the_producer_has_taken_it(slow: Slow) -> None:
    sender = slow.sender()
    await sender.flush("changelog", 3, rows(1))
    assert (slow.records, sender.outstanding) == ([], 1)
    assert not await sender.settled(0.01)


async def test_the_flushes_of_a_partition_go_out_in_order_and_hold_up_no_other_partition(slow: Slow) -> None:
    sender = slow.sender()
    await sender.flush("changelog", 3, [(b"first", b"", ())])
    await sender.flush("changelog", 3, [(b"second", b"", ())])
    await sender.flush("changelog", 4, [(b"other", b"", ())])
    await asyncio.sleep(0)
    slow.room.release()
    slow.room.release()
    await until(lambda: len(slow.records) == 2)
    assert [record.key for record in slow.records] == [b"first", b"other"]
    slow.room.release()
    await until(lambda: len(slow.records) == 3)
    assert slow.records[2].key == b"second"


async def test_whoever_writes_faster_than_the_producer_takes_it_waits(slow: Slow) -> None:
    sender = slow.sender()
    for _ in range(LANE_FLUSHES):
        await sender.flush("changelog", 3, rows(1))
    one_more = asyncio.create_task(sender.flush("changelog", 3, rows(1)))
    await asyncio.sleep(0.01)
    assert not one_more.done()
    assert sender.outstanding == LANE_FLUSHES + 1
    slow.room.release()
    await asyncio.wait_for(one_more, 5)
    assert sender.outstanding == LANE_FLUSHES + 1


async def test_a_flush_whose_writer_is_cancelled_is_written_all_the_same(slow: Slow) -> None:
    sender = slow.sender()
    flushes = [asyncio.create_task(sender.flush("changelog", 3, rows(1))) for _ in range(LANE_FLUSHES + 1)]
    await asyncio.sleep(0.01)
    flushes[-1].cancel()
    await asyncio.wait([flushes[-1]])
    for _ in flushes:
        slow.room.release()
    await until(lambda: len(slow.records) == LANE_FLUSHES + 1)
    assert (sender.outstanding, sender.interrupted) == (LANE_FLUSHES + 1, False)


async def test_a_worker_out_of_touch_flushes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also not what waited in the lane while the process stood still."""
    reasons = no_exit(monkeypatch, "fence")
    monkeypatch.setattr(sender_module, "end_process", lambda *_, **__: None)
    producer = Slow()
    sender = producer.sender()
    await sender.flush("changelog", 3, rows(1))
    await sender.flush("changelog", 3, rows(1))
    await asyncio.sleep(0)
    sender._fence.contact(now() - 2_000)
    producer.room.release()
    await until(lambda: len(reasons) == 1)
    assert len(producer.records) == 1
    with pytest.raises(ProcessEndedError):
        await sender.flush("changelog", 3, rows(1))


async def test_a_flush_that_cannot_be_delivered_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons: list[str] = []
    monkeypatch.setattr(sender_module, "_undeliverable", lambda why, *_: reasons.append(why))
    producer = FakeProducer()
    await producer.sender().flush("changelog", 3, rows(2))
    await until(lambda: len(producer.records) == 2)
    monkeypatch.setattr(sender_module, "end_process", lambda why, **_: reasons.append(why))
    producer.records[0].promise.cancel()
    await asyncio.sleep(0)
    assert reasons[0] == "the broker has not acknowledged a record for changelog"
    reasons.clear()
    producer.failure = MessageSizeTooLargeError()
    await producer.sender().flush("changelog", 3, rows(2))
    await until(lambda: reasons)
    assert reasons[0] == "could not produce to changelog"


# --- The producer ----------------------------------------------------------------------------------------------------


class AioKafka:
    """Stands in for aiokafka's producer: its own batches, acknowledged when the test says so."""

    def __init__(self) -> None:
        self.batches: list[BatchBuilder] = []
        self.futures: list[asyncio.Future[Any]] = []
        self.late = 0

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(BATCH_BYTES, 0)

    async def send_batch(self, batch: BatchBuilder, _topic: str, *, partition: int) -> asyncio.Future[Any]:
        assert partition == 3
        if self.late:
            self.late -= 1
            raise KafkaTimeoutError
        self.batches.append(batch)
        self.futures.append(asyncio.get_running_loop().create_future())
        return self.futures[-1]

    def acknowledge(self, number: int, base_offset: int) -> None:
        at = TopicPartition("changelog", 3)
        self.futures[number].set_result(RecordMetadata(*at, at, base_offset, -1, 0, 0))

    def producer(self) -> IdempotentProducer:
        producer = IdempotentProducer.__new__(IdempotentProducer)
        producer._producer = cast("Any", self)
        return producer


async def test_what_fits_into_one_record_batch_is_sent_in_one_that_takes_nothing_else() -> None:
    kafka = AioKafka()
    sent = await kafka.producer().append("changelog", 3, rows(20))
    (batch,) = kafka.batches
    assert (batch.record_count(), batch.closed()) == (20, True)
    kafka.acknowledge(0, 100)
    assert (await sent).offset == 119


async def test_what_is_larger_comes_in_several_batches_and_is_there_when_the_last_one_is() -> None:
    kafka = AioKafka()
    sent = await kafka.producer().append("changelog", 3, rows(100, size=50))
    counts = [batch.record_count() for batch in kafka.batches]
    assert len(counts) > 2
    assert sum(counts) == 100
    kafka.acknowledge(len(counts) - 1, 900)
    await asyncio.sleep(0)
    assert not sent.done(), "the first ones may still be refused"
    for number in range(len(counts) - 1):
        kafka.acknowledge(number, 0)
    assert (await sent).offset == 900 + counts[-1] - 1


async def test_a_flush_fails_when_one_of_its_batches_is_refused() -> None:
    kafka = AioKafka()
    sent = await kafka.producer().append("changelog", 3, rows(100, size=50))
    kafka.futures[0].set_exception(MessageSizeTooLargeError())
    for number in range(1, len(kafka.futures)):
        kafka.acknowledge(number, 0)
    with pytest.raises(MessageSizeTooLargeError):
        await sent


def test_a_record_that_is_larger_than_a_batch_is_in_one_alone() -> None:
    kafka = AioKafka()
    large: Any = (b"large", b"v" * 3 * BATCH_BYTES, [])
    batches = list(record_batches(kafka, [*rows(2), large, *rows(1)]))
    assert [batch.record_count() for batch in batches] == [2, 1, 1]
    assert batches[1].size() > 3 * BATCH_BYTES


async def test_what_waits_for_those_before_it_is_not_given_up() -> None:
    kafka = AioKafka()
    kafka.late = 3
    await kafka.producer().append("changelog", 3, rows(1))
    assert len(kafka.batches) == 1

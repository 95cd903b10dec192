"""Flushes on a real broker: each lies in the log as one, also beside records that are sent alone."""

from __future__ import annotations

import asyncio
import time
from itertools import groupby
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from cj_stream.engine.clock import Clock
from cj_stream.engine.conditions import Conditions
from cj_stream.engine.fence import Fence
from cj_stream.engine.overrides.producer import IdempotentProducer
from cj_stream.engine.sender import Sender, Unsent
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

SEED = 1
FLUSHES = 60
LARGEST = 40
BATCH_BYTES = 16 * 1024


class _Producer(IdempotentProducer):
    """The real producer, without a Faust app around it."""

    def __init__(self, producer: AIOKafkaProducer[bytes, bytes]) -> None:
        self._producer = cast("Any", producer)

    async def send(self, topic: str, key: Any, value: Any, partition: Any, *_: Any) -> Any:
        return await cast("Any", self._producer).send(topic, value, key=key, partition=partition)


def _rows(flush: int, count: int, size: int) -> list[Unsent]:
    return [(b"%d" % flush, b"%d %s" % (number, b"v" * size), [("h", b"1")]) for number in range(count)]


async def _read(settings: Settings, at: TopicPartition, count: int) -> list[tuple[str, int]]:
    consumer: AIOKafkaConsumer[bytes, bytes] = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    await consumer.start()
    try:
        consumer.assign([at])
        await consumer.seek_to_beginning(at)
        found: list[tuple[str, int]] = []
        while len(found) < count:
            fetched = await asyncio.wait_for(consumer.getmany(timeout_ms=1000), 30)
            found += [
                (record.key.decode(), int(record.value.split(b" ")[0]))
                for records in fetched.values()
                for record in records
            ]
        return found
    finally:
        await consumer.stop()


async def test_a_flush_lies_in_the_log_as_one_in_order_also_beside_records_that_are_sent_alone(
    settings: Settings,
) -> None:
    print(f"seed {SEED}")  # noqa: T201 - pytest shows it when the test fails
    random, at = Random(SEED), TopicPartition(settings.batch_events_topic, 1)
    kafka: AIOKafkaProducer[bytes, bytes] = AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap,
        enable_idempotence=True,
        acks="all",
        linger_ms=5,
        max_batch_size=BATCH_BYTES,
    )
    await kafka.start()
    try:
        clock = Clock(time.time, Conditions(time.time), 30)
        app: Any = SimpleNamespace(producer=_Producer(kafka))
        sender = Sender(app, Fence(3600), clock)
        counts: dict[int, int] = {}
        offsets: list[int] = []
        for flush in range(FLUSHES):
            counts[flush] = random.randint(1, LARGEST)
            size = random.choice((10, 10, 10, 2_000))
            await sender.send(*at[:1], key=b"alone", value=b"%d alone" % flush, partition=at.partition)
            rows = _rows(flush, counts[flush], size)
            await sender.flush(at.topic, at.partition, rows, on_ack=lambda metadata: offsets.append(metadata.offset))
        assert await sender.settled(30)
        found = await _read(settings, at, FLUSHES + sum(counts.values()))
    finally:
        await kafka.stop()
    flushed = [(int(key), number) for key, number in found if key != "alone"]
    assert flushed == [(flush, number) for flush, count in counts.items() for number in range(count)]
    assert [number for key, number in found if key == "alone"] == list(range(FLUSHES))
    last = [number for number, (key, row) in enumerate(found) if key != "alone" and row == counts[int(key)] - 1]
    assert offsets == last, "each promise is kept with the offset of its last record"
    pieces = [(key, len(list(rows))) for key, rows in groupby(found, key=lambda record: record[0]) if key != "alone"]
    small = {str(flush) for flush, count in counts.items() if count * 2_100 < BATCH_BYTES}
    assert all(count == counts[int(key)] for key, count in pieces if key in small)

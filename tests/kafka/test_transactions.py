from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from stage import new_request, staged

from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

HALF_SECOND = 0.5 / 60
TIMINGS = {
    "comparison_deadline_minutes": HALF_SECOND,
    "batch_monitor_interval_minutes": HALF_SECOND,
    "max_attempts": 1,
}


async def test_timeouts_fire_although_the_callback_topic_ends_in_the_marker_of_a_transaction(
    settings: Settings, tmp_path: Path
) -> None:
    """Such a marker is never read: the committed offset would stay below it, and look as if callbacks lay unread."""
    async with staged(settings, tmp_path, judge="faults:silent=1", **TIMINGS) as stage:
        await stage.fleet.start()
        ends = await _write_in_transactions(settings, stray=b'{"no": "callback of ours"}')
        assert ends > settings.partitions, "there is a marker in the log besides the records"
        await stage.ask(new_request("batch-1", 2))
        await stage.ended("batch-1")
        assert stage.mailbox.outcomes("failed", "batch-1")


async def _write_in_transactions(settings: Settings, stray: bytes) -> int:
    """Write to every partition of the callback topic, in one transaction; return the sum of the end offsets."""
    topic = settings.llm_provider_callback_topic
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, transactional_id=secrets.token_hex(4))
    await producer.start()
    try:
        partitions = await producer.partitions_for(topic)
        async with producer.transaction():
            for partition in partitions:
                await producer.send_and_wait(topic, stray, partition=partition)
        return sum((await _ends(settings, [TopicPartition(topic, number) for number in partitions])).values())
    finally:
        await producer.stop()


async def _ends(settings: Settings, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends
    finally:
        await consumer.stop()

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import TopicPartition
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.stage import new_request, staged

from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

HALF_SECOND = 0.5 / 60
TIMINGS: dict[str, Any] = {
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


async def test_only_committed_verdicts_count_and_an_open_transaction_holds_back_timeouts_but_nothing_for_good(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path, **TIMINGS, session_timeout_seconds=3, heartbeat_seconds=0.5) as stage:
        await stage.fleet.start(2)
        stage.provider.holds = lambda _: True
        async with _transactions(settings) as (first, second):
            await first.begin_transaction()
            topic = settings.llm_provider_callback_topic
            await _send(first, topic, sorted(await first.partitions_for(topic)), b'{"no": "callback of ours"}')
            request = new_request("batch-1", 4)
            await stage.ask(request)
            await stage.fleet.until(lambda: len(stage.provider.held) == 6, "all comparisons are submitted")
            await second.begin_transaction()
            for callback in stage.provider.held:
                await second.send_and_wait(topic, callback.flipped())
            await second.abort_transaction()
            await stage.provider.release()
            # The deadlines have passed, and the verdicts lie behind the open transaction.
            waits = "deadlines wait: input lies unread"
            await stage.fleet.until(lambda: any(waits in worker.log for worker in stage.fleet.workers), waits)
            await first.commit_transaction()
            await stage.ended("batch-1")
        stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert set(stage.provider.submissions.values()) == {1}


@asynccontextmanager
async def _transactions(settings: Settings) -> AsyncIterator[tuple[AIOKafkaProducer, AIOKafkaProducer]]:
    bootstrap = settings.kafka_bootstrap
    first, second = (
        AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=secrets.token_hex(4)) for _ in range(2)
    )
    async with first, second:
        yield first, second


async def _send(producer: AIOKafkaProducer, topic: str, partitions: list[int], value: bytes) -> None:
    for partition in partitions:
        await producer.send_and_wait(topic, value, partition=partition)


async def _write_in_transactions(settings: Settings, stray: bytes) -> int:
    """Write to every partition of the callback topic, in a transaction; return the sum of the end offsets.

    That of the first partition is aborted: there is nothing in it that anybody gets to read.
    """
    topic = settings.llm_provider_callback_topic
    async with _transactions(settings) as (producer, _):
        partitions = sorted(await producer.partitions_for(topic))
        async with producer.transaction():
            await _send(producer, topic, partitions[1:], stray)
        await producer.begin_transaction()
        await _send(producer, topic, partitions[:1], stray)
        await producer.abort_transaction()
        return sum((await _ends(settings, [TopicPartition(topic, number) for number in partitions])).values())


async def _ends(settings: Settings, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka_bootstrap)
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(partitions)
        return ends
    finally:
        await consumer.stop()

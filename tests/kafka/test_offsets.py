"""Committed offsets that are not in the log any more, on a real broker and with two workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.errors import TopicAlreadyExistsError
from aiokafka.structs import TopicPartition
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.stage import Stage, document_of, new_request, staged

from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

pytestmark = pytest.mark.kafka

REQUEST_PARTITIONS = 3


async def test_what_happened_to_the_logs_while_no_worker_ran_is_told_and_what_is_there_is_read(
    settings: Settings, tmp_path: Path
) -> None:
    deleted, ahead = (TopicPartition(settings.assessment_request_topic, number) for number in (1, 2))
    async with staged(settings, tmp_path) as stage:
        await stage.fleet.start(2)
        await stage.ask(new_request("handled-1", 2), partition=deleted.partition)
        await stage.ask(new_request("handled-2", 2), partition=ahead.partition)
        await stage.ended("handled-1", "handled-2")
        stage.provider.holds = lambda _: True
        await stage.ask(live := new_request("live", 4), partition=0)
        await stage.fleet.until(lambda: len(stage.provider.held) == 6, "all comparisons are submitted")
        await stage.settled()
        await _stop(stage)

        # Two of three requests are deleted before they are read.
        for name in ("lost-1", "lost-2", "kept"):
            await stage.ask(new_request(name, 2), partition=deleted.partition)
        async with _admin(settings) as admin:
            await admin.delete_records({deleted: RecordsToDelete(before_offset=3)})
            # The rows of a live batch were made from a log that is no more.
            await admin.delete_topics([settings.batch_events_topic])
        await create_topics(settings.kafka, registry(settings), 1)
        # Committed beyond the end: a topic made anew, a lost tail, or somebody's hand.
        await stage.ask(new_request("unread", 2), partition=ahead.partition)

        async def left() -> bool:
            return await stage.mailbox.members() == 0

        await stage.fleet.until(left, "the group is empty: only then may somebody else commit for it")
        await _commit(settings, ahead, 1000)
        await _start(stage)
        await stage.provider.release()
        await stage.ended("kept", "unread", "live")

        assert await stage.fleet.metric("cj_lost_input_records", topic=deleted.topic) == 2
        logs = [line for worker in stage.fleet.workers for line in worker.log.splitlines()]
        told = [line for line in logs if "input is gone" in line and deleted.topic in line]
        assert len(told) == 2, told
        assert any(all(part in line for part in ("partition=1", "first=1", "end=3", "records=2")) for line in told)
        assert any(all(part in line for part in ("partition=2", "first=2", "end=1000")) for line in told)
        assert "lost_input" in {found["kind"] for found in await _degraded(stage)}
        assert any("is not the one its rows were made from" in line for line in logs)
        assert set(stage.provider.submissions.values()) == {1}, "what was handled was not handled again"
        # The mailbox reads everything again when one of its topics is made anew.
        published = {(at.partition, at.offset): at.value for at in stage.mailbox.outcome_records("completed")}
        ended = [document_of(value)["data"]["entity_id"] for value in published.values()]
        assert sorted(ended) == ["handled-1", "handled-2", "kept", "live", "unread"]
        assert await stage.fleet.batch("lost-1") is None
        stage.check_outcome(await expected_batch(live, stage.settings, judge_of()))


async def test_a_topic_that_is_made_anew_or_grows_under_running_workers_is_read_from_its_beginning(
    settings: Settings, tmp_path: Path
) -> None:
    topic = settings.assessment_request_topic
    async with staged(settings, tmp_path) as stage:
        await stage.fleet.start(2)
        for number in range(2):
            await stage.ask(new_request(f"old-{number}", 2), partition=0)
        await stage.ended("old-0", "old-1")

        # As many records as before: by its offsets alone the new topic looks like the old one.
        await _make_anew(settings, topic, REQUEST_PARTITIONS)
        for number in range(2):
            await stage.ask(new_request(f"new-{number}", 2), partition=0)
        await stage.ended("new-0", "new-1")
        assert any("input is gone" in worker.log for worker in stage.fleet.workers)

        async with _admin(settings) as admin:
            await admin.create_partitions({topic: NewPartitions(total_count=REQUEST_PARTITIONS + 2)})
        await _written(stage, "added", REQUEST_PARTITIONS + 1)
        await stage.ended("added")

        # Fewer partitions than the workers have been assigned.
        await _make_anew(settings, topic, 1)
        await _written(stage, "fewer", 0)
        await stage.ended("fewer")
        assert set(stage.provider.submissions.values()) == {1}


async def test_a_topic_that_is_gone_holds_up_no_commit_of_the_others(settings: Settings, tmp_path: Path) -> None:
    # So long that the topic is gone before it is committed that the last request is handled.
    async with staged(settings, tmp_path, commit_interval_seconds=3.0) as stage:
        (worker,) = await stage.fleet.start(1)
        stage.provider.holds = lambda _: True
        await stage.ask(new_request("live", 4))
        await stage.fleet.until(lambda: len(stage.provider.held) == 6, "all comparisons are submitted")
        await stage.settled()
        await stage.ask(new_request("last", 2))

        async def handled() -> bool:
            return await stage.fleet.batch("last") is not None

        await stage.fleet.until(handled, "the last request is handled")
        async with _admin(settings) as admin:
            await admin.delete_topics([settings.assessment_request_topic])
        await stage.provider.release()
        await stage.ended("live", "last")
        assert worker.runs


async def _written(stage: Stage, name: str, partition: int) -> None:
    """Send a request as soon as the sender knows of the partition."""
    while True:
        try:
            return await stage.ask(new_request(name, 2), partition=partition)
        except (AssertionError, ValueError):
            await asyncio.sleep(0.1)


async def _make_anew(settings: Settings, topic: str, partitions: int) -> None:
    async with _admin(settings) as admin:
        await admin.delete_topics([topic])
        while True:
            response = await admin.create_topics([NewTopic(topic, partitions, 1)])
            ((_topic, code, _message),) = response.topic_errors
            if code != TopicAlreadyExistsError.errno:
                assert code == 0, code
                return
            await asyncio.sleep(0.05)


async def _commit(settings: Settings, at: TopicPartition, offset: int) -> None:
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, group_id=settings.app_id, enable_auto_commit=False
    ) as consumer:
        consumer.assign([at])
        await consumer.commit({at: offset})


async def _stop(stage: Stage) -> None:
    for worker in stage.fleet.workers:
        worker.terminate()
    for worker in stage.fleet.workers:
        assert await stage.fleet.ended(worker) == 0


async def _start(stage: Stage) -> None:
    for worker in stage.fleet.workers:
        worker.start()
    await stage.fleet.ready()


async def _degraded(stage: Stage) -> list[dict[str, str]]:
    answers = [await stage.fleet._get(f"{worker.url}/healthz/ready") for worker in stage.fleet.workers]
    return [found for answer in answers if answer for found in answer["degraded"]]


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()

"""What somebody else writes into the changelog, in a transaction: it hides no row of ours, and stops no recovery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.stage import Stage, new_request, staged

from cj_stream.operations.settings import Settings

pytestmark = [pytest.mark.kafka, pytest.mark.soak]  # an open transaction is told after half a minute

JUDGED = 3


async def test_rows_behind_somebody_s_open_transaction_are_recovered_and_its_end_is_passed_over(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path) as stage, transactional(settings) as somebody:
        await stage.fleet.start(2)
        stage.provider.holds = lambda _: True
        request = new_request("batch-1", 4)
        await stage.ask(request)
        await stage.fleet.until(lambda: len(stage.provider.held) == 6, "all comparisons are submitted")
        await stage.settled()

        await somebody.begin_transaction()
        for partition in range(settings.partitions):
            await somebody.send_and_wait(settings.changelog_topic, b"no row of ours", b"key", partition=partition)
        for callback in stage.provider.held[:JUDGED]:
            await stage.provider.say(callback.value)
        del stage.provider.held[:JUDGED]
        await stage.settled()
        for worker in stage.fleet.workers:
            worker.kill()
            worker.start()
        await stage.fleet.until(lambda: all(_told(stage)), "both workers tell what the recovery waits for", 90)
        await somebody.abort_transaction()
        await stage.fleet.ready()
        assert any("is no record" in worker.log for worker in stage.fleet.workers)
        batch = await stage.fleet.batch("batch-1")
        assert batch is not None
        assert batch["completed_comparisons"] == JUDGED

        await stage.provider.release()
        await stage.ended("batch-1")
        stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert set(stage.provider.submissions.values()) == {1}


def _told(stage: Stage) -> list[bool]:
    return ["kind=open_transaction" in worker.log for worker in stage.fleet.workers]


@asynccontextmanager
async def transactional(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Give the producer of somebody who writes in transactions."""
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, transactional_id=f"{settings.app_id}-else")
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()

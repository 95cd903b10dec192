from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from support.installation.command_runs import run_command
from support.installation.fleet import WorkerProcess, environment
from support.installation.stage import Stage, batches_everywhere, new_request, staged

from cj_stream.engine.process import NOT_CONFIGURED
from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

pytestmark = pytest.mark.kafka

FIRST_WAVE = 6
"""All pairs of four essays."""


async def test_a_changelog_made_anew_stops_the_workers_until_it_is_written_back_and_then_batches_go_on(
    settings: Settings, tmp_path: Path
) -> None:
    """One worker stopped in order and one was killed: only what it had to throw away holds their rows."""
    async with staged(settings, tmp_path) as stage:
        stage.provider.holds = lambda _: True
        workers = await stage.fleet.start(2)
        batches = batches_everywhere(settings.partitions, settings)
        for batch_id in batches:
            await stage.ask(new_request(batch_id, essays=4))
        await stage.fleet.until(lambda: len(stage.provider.held) == FIRST_WAVE * len(batches), "all wait for callbacks")
        await stage.settled()
        workers[0].kill()
        workers[1].terminate()
        await stage.fleet.ended(workers[1])
        before = {worker.name: _databases(worker) for worker in workers}

        await _make_anew(settings)
        for worker in workers:
            worker.start(may_end=True)
        for worker in workers:
            assert await stage.fleet.ended(worker) == NOT_CONFIGURED
            assert f"the changelog {settings.changelog_topic} was deleted and made anew" in worker.log
            assert f"cj-stream changelog rebuild {worker.data_dir}" in worker.log
            assert _databases(worker) == before[worker.name]

        await _stopped(stage)
        told = await _rebuild(stage, workers)
        assert f"rows to {settings.changelog_topic}" in told
        for worker in workers:
            worker.start()
        await stage.fleet.ready()
        submitted = len(stage.provider.submissions)
        await stage.provider.release()
        await stage.ended(*batches)
        for batch_id in batches:
            assert (await stage.fleet.batch(batch_id) or {})["state"] == "COMPLETED"
        assert submitted == FIRST_WAVE * len(batches), "nothing was submitted under another id"


def _databases(worker: WorkerProcess) -> set[str]:
    return {str(path) for path in worker.data_dir.glob("v*/tables/*.db/*") if path.suffix in {".sst", ".log"}}


async def _make_anew(settings: Settings) -> None:
    topic = settings.changelog_topic
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        await admin.delete_topics([topic])
        while any(found["topic"] == topic for found in await admin.describe_topics()):  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.05)
    finally:
        await admin.close()
    await create_topics(settings.kafka, registry(settings), 1)


async def _stopped(stage: Stage) -> None:
    """Wait until the group has forgotten the worker that was killed."""

    async def nobody() -> bool:
        return await stage.mailbox.members() == 0

    await stage.fleet.until(nobody, "the group is empty")


async def _rebuild(stage: Stage, workers: Sequence[WorkerProcess]) -> str:
    folders = [str(worker.data_dir) for worker in workers]
    done = await asyncio.to_thread(
        run_command, "changelog", "rebuild", "--yes", *folders, env=environment(stage.settings)
    )
    assert done.exit_code == 0, done.output
    return done.output

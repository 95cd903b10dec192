from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.installation.fleet import SAFE_EXIT, Fleet
from support.installation.relay import relay

from cj_stream.devkit.kafka_config import free_port
from cj_stream.engine.process import NOT_CONFIGURED
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka


async def test_a_worker_refuses_to_start_on_a_missing_or_wrong_topic_and_names_it(
    settings: Settings, tmp_path: Path
) -> None:
    async with Fleet(settings, tmp_path) as fleet:
        missing = fleet.worker(dead_letters_topic=f"{settings.app_id}.no-such-topic")
        wrong = fleet.worker(partitions=settings.partitions + 1)
        for worker in (missing, wrong):
            worker.start(may_end=True)
        assert await fleet.ended(missing) == NOT_CONFIGURED
        assert f"topic {settings.app_id}.no-such-topic does not exist" in missing.log
        assert await fleet.ended(wrong) == NOT_CONFIGURED
        assert f"topic {settings.batch_events_topic} has a partition count of 4 instead of 5" in wrong.log


async def test_of_two_workers_on_one_folder_one_refuses_to_start(settings: Settings, tmp_path: Path) -> None:
    async with Fleet(settings, tmp_path) as fleet:
        both = [fleet.worker(data_dir=tmp_path / "folder") for _ in range(2)]
        for worker in both:
            worker.start(may_end=True)
        await fleet.until(lambda: sum(worker.runs for worker in both) == 1, "one of them ends")
        (refused,) = [worker for worker in both if not worker.runs]
        assert refused.exit_code == NOT_CONFIGURED
        assert str(tmp_path / "folder") in refused.log
        await fleet.ready()


async def test_of_two_workers_with_one_name_only_one_runs_and_the_other_says_why(
    settings: Settings, tmp_path: Path
) -> None:
    named = settings.model_copy(update={"worker_id": "worker-1", "session_timeout_seconds": 30.0})
    async with Fleet(named, tmp_path) as fleet:
        first, second = fleet.worker(), fleet.worker()
        first.start()
        await fleet.ready()
        second.start(may_end=True)
        assert await fleet.ended(second) == NOT_CONFIGURED
        assert f"the worker at {first.url}" in second.log
        assert "has the name worker-1" in second.log
        # One that does not answer cannot be told from what a kill has left behind: its partitions are taken over.
        first.send(signal.SIGSTOP)
        second.start()

        async def taken_over() -> bool:
            return len(await fleet.partitions(second)) == settings.partitions

        await fleet.until(taken_over, "the second one has all partitions")
        first.send(signal.SIGCONT)
        assert await fleet.ended(first) == SAFE_EXIT
        assert "another worker has joined under its name" in first.log
        assert second.runs


async def test_a_worker_waits_for_its_broker(settings: Settings, tmp_path: Path) -> None:
    port = free_port()
    async with Fleet(settings, tmp_path) as fleet:
        worker = fleet.worker(kafka_bootstrap=f"127.0.0.1:{port}")
        worker.start()
        await fleet.until(lambda: "waiting for Kafka" in worker.log, "the worker says what it waits for")
        assert worker.runs
        async with relay(port, settings.kafka_bootstrap):
            await fleet.ready()

"""An app of another kind on the engine, with workers that are killed, frozen, stopped and scaled."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka.structs import TopicPartition
from second_app.trial import WORKERS, trial
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.stage import new_request, staged

from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

SEED = 1


async def test_every_effect_is_carried_out_once_and_after_its_cause_is_committed(broker: str, tmp_path: Path) -> None:
    # What is started before the commit would come much sooner than the commit.
    async with trial(broker, tmp_path, seed=SEED, commit_interval_seconds=1.0) as played:
        committed: dict[str, dict[TopicPartition, int]] = {}

        async def asked(order: str) -> None:
            committed[order] = await played.mailbox.committed()

        played.bank.asked = asked
        await played.fleet.start(1)
        await played.order(60)
        await played.settled()
        played.check()
        assert played.copies
        assert {len(calls) for calls in played.bank.calls.values()} == {1}
        causes = played.causes()
        assert not [order for order, offsets in committed.items() if offsets[causes[order][0]] <= causes[order][1]]
        assert len(played.mailbox.records[played.settings.dead_letter_topic]) == 1


async def test_nothing_is_done_twice_when_workers_come_and_go_in_order(broker: str, tmp_path: Path) -> None:
    async with trial(broker, tmp_path, seed=SEED) as played:
        played.bank.seconds = lambda: played.random.uniform(0, 1)
        (first,) = await played.fleet.start(1)
        await asyncio.gather(played.order(60), played.fleet.start(1))
        await asyncio.gather(played.order(60), played.stop(first))
        await played.settled()
        played.check()
        assert {len(calls) for calls in played.bank.calls.values()} == {1}


async def test_nothing_is_lost_or_applied_twice_whoever_is_killed_or_frozen(broker: str, tmp_path: Path) -> None:
    async with trial(broker, tmp_path, seed=SEED) as played:
        played.bank.seconds = lambda: played.random.uniform(0, 1)
        first, second = await played.fleet.start(2)
        await asyncio.gather(played.order(60), played.kill(first, keeps_disk=True))
        await played.fleet.ready()
        await asyncio.gather(played.order(60), played.freeze(second))
        await asyncio.gather(played.order(30), played.kill(first, keeps_disk=False))
        await played.settled()
        played.check()
        played.check_calls()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(10))
async def test_nothing_is_lost_or_applied_twice_whatever_happens(broker: str, tmp_path: Path, seed: int) -> None:
    async with trial(broker, tmp_path, seed=seed) as played:
        played.bank.seconds = lambda: played.random.uniform(0, 1)
        await played.fleet.start(WORKERS)
        await played.play(steps=10)
        await played.settled()
        played.check()
        played.check_calls()


async def test_two_apps_on_one_broker_and_one_machine_do_not_disturb_each_other(
    settings: Settings, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "service", tmp_path / "charges"
    ours.mkdir()
    async with staged(settings, ours) as stage, trial(settings.kafka_bootstrap, theirs, seed=SEED) as played:
        (worker,) = await stage.fleet.start(1)
        (other,) = await played.fleet.start(1)
        request = new_request("beside")
        await asyncio.gather(stage.ask(request), played.order(60))
        await asyncio.gather(stage.ended("beside"), played.settled())
        played.check()
        stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert worker.runs
        assert other.runs
        for process in (worker, other):
            assert "works on our input" not in process.log

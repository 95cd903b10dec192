from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from support.installation.fleet import SAFE_EXIT
from support.installation.stage import staged

from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    encode_heartbeat,
)
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

TESTS = str(Path(__file__).parents[1])


async def test_a_worker_in_which_something_stands_still_ends_itself_and_loses_nothing(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", TESTS, prepend=":")
    async with staged(settings, tmp_path, loop_stall_seconds=3, partition_stall_seconds=3) as stage:
        worker = stage.fleet.worker(session_timeout_seconds=60)
        await stage.provider.say(b"no callback at all")
        worker.app = "support.apps.broken_app"
        reasons = {
            "hangs": "a partition has unread messages and its committed offset does not move",
            "blocks": "an event loop does not turn",
        }
        for mistake, reason in reasons.items():
            monkeypatch.setenv("BROKEN", mistake)
            worker.start(may_end=True)
            assert await stage.fleet.ended(worker) == SAFE_EXIT, mistake
            assert reason in worker.tail(60), mistake
            assert not stage.mailbox.dead_letters
        assert settings.llm_provider_callback_topic in worker.log
        assert "broken_app.py" in worker.log, "the stack shows where the main thread hangs"
        worker.app = "cj_stream.app"
        worker.start()
        await stage.fleet.until(lambda: len(stage.mailbox.dead_letters) == 1, "the message is handled after all")


async def test_a_recovery_that_waits_for_a_record_nobody_gets_ends_the_worker(
    settings: Settings, tmp_path: Path
) -> None:
    """Here it lies in the changelog behind a transaction that stays open; upstream issues 176, 597 and 651."""
    topic = settings.changelog_topic
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, transactional_id=secrets.token_hex(4))
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(topic, encode_heartbeat(0), key=HEARTBEAT_KEY, partition=2)
        async with staged(settings, tmp_path, opening_stall_seconds=4) as stage:
            worker = stage.fleet.worker()
            worker.start(may_end=True)
            assert await stage.fleet.ended(worker) == SAFE_EXIT
            assert "taking over the partitions makes no step" in worker.log
            assert f"{topic}-2" in worker.tail(3)
    finally:
        await producer.stop()

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.installation.fleet import SAFE_EXIT, Fleet
from support.installation.relay import relay

from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.engine.clients import Kafka
from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import NAMES, Settings
from cj_stream.operations.topic_registry import registry

pytestmark = [pytest.mark.kafka, pytest.mark.soak]  # most of it is the silence of a client that is not answered


async def test_a_worker_whose_cluster_has_moved_ends_itself_to_be_started_again(
    settings: Settings, tmp_path: Path
) -> None:
    """Its bootstrap address leads to other brokers by now."""
    port, former = free_port(), LocalKafka(tmp_path / "kafka")
    try:
        address = await asyncio.to_thread(former.start, free_port())
        await create_topics(Kafka(address, NAMES), registry(settings), 1)
        async with Fleet(settings, tmp_path) as fleet:
            worker = fleet.worker(kafka_bootstrap=f"127.0.0.1:{port}", cluster_lost_seconds=3)
            async with relay(port, address):
                worker.start()
                await fleet.ready()
            await asyncio.to_thread(former.stop)
            worker.may_end = True
            async with relay(port, settings.kafka_bootstrap):
                assert await fleet.ended(worker) == SAFE_EXIT
                assert "answers at CJ_KAFKA_BOOTSTRAP: it has to connect anew" in worker.log
    finally:
        await asyncio.to_thread(former.stop)

"""A real broker for the tests, and settings whose topics no other test shares."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from cj_stream.contracts.topics import registry
from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.operations.settings import Settings
from cj_stream.streaming.provisioning import create_topics

_TOPIC_SETTINGS = [name for name in Settings.model_fields if name.endswith("_topic")]


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bootstrap address of the broker of CJ_KAFKA_BOOTSTRAP, or of one that lives as long as the tests."""
    own = os.environ.get("CJ_KAFKA_BOOTSTRAP")
    if own:
        yield own
        return
    kafka = LocalKafka(tmp_path_factory.mktemp("kafka"))
    try:
        yield kafka.start(free_port())
    finally:
        kafka.stop()


@pytest.fixture
async def settings(broker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settings]:
    """Settings with names of their own and short timings; their topics exist until the test has ended."""
    for name in [name for name in os.environ if name.startswith("CJ_")]:
        monkeypatch.delenv(name)
    prefix = f"test-{secrets.token_hex(4)}"
    print(f"topics and app id begin with {prefix}")  # noqa: T201 - pytest shows it when the test fails
    settings = Settings(
        kafka_bootstrap=broker,
        app_id=prefix,
        partitions=4,
        session_timeout_seconds=3,
        heartbeat_seconds=0.5,
        commit_interval_seconds=0.1,
        accumulate_milliseconds=5,
        batch_monitor_interval_minutes=1 / 60,
        data_dir=tmp_path / "worker",
        web_port=0,
        **{name: f"{prefix}.{Settings.model_fields[name].default}" for name in _TOPIC_SETTINGS},
    )
    specs = registry(settings)
    await create_topics(broker, specs, 1)
    yield settings
    await _delete(broker, [spec.name for spec in specs])


async def _delete(bootstrap: str, topics: list[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        async with asyncio.timeout(30):
            await admin.delete_topics(topics)
    finally:
        await admin.close()

"""A real broker for the tests, and settings whose topics no other test shares."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.installation.own_topics import own_topics

from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.operations.settings import Settings


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
    async with own_topics(broker, tmp_path) as settings:
        yield settings

"""Workers killed, frozen, stopped and scaled, and the broker taken away, with outcomes known in advance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kills.play import run, tried
from kills.schedules import SHORT, UNHARMED

from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port

pytestmark = pytest.mark.kafka

SEED = 1


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """A broker that may be stopped: nobody else uses it."""
    kafka = LocalKafka(tmp_path_factory.mktemp("broker"))
    kafka.start(free_port())
    try:
        yield kafka
    finally:
        kafka.stop()


async def test_whatever_is_killed_and_whenever_every_batch_ends_as_known(kafka: LocalKafka, tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201 - pytest shows it when the test fails
    async with tried(kafka, tmp_path, seed=SEED) as trial:
        await run(trial, SHORT)
        assert not trial.broken
        assert {code for _, code in trial.ends} <= {-9, 70}


async def test_nothing_is_submitted_twice_when_workers_come_and_go_in_order(kafka: LocalKafka, tmp_path: Path) -> None:
    print(f"seed {SEED}")  # noqa: T201 - pytest shows it when the test fails
    async with tried(kafka, tmp_path, seed=SEED) as trial:
        await run(trial, UNHARMED, workers=1)
        assert not trial.broken
        assert not trial.ends
        assert set(trial.post.submissions.values()) == {1}

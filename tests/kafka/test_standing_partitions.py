from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from own_topics import own_topics
from stage import Stage, batches_everywhere, new_request, staged

from cj_stream.contracts.topics import changelog_topic
from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.operations.settings import Settings
from cj_stream.streaming.record_format import read_header, read_start
from cj_stream.tables.codec import HEARTBEAT_KEY, encode_heartbeat

pytestmark = pytest.mark.kafka


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[LocalKafka]:
    """A broker whose disk the test may damage."""
    kafka = LocalKafka(tmp_path / "kafka")
    try:
        kafka.start(free_port())
        yield kafka
    finally:
        kafka.stop()


@pytest.fixture
async def own(kafka: LocalKafka, tmp_path: Path) -> AsyncIterator[Settings]:
    async with own_topics(str(kafka.status().bootstrap), tmp_path) as settings:
        yield settings


def damage(kafka: LocalKafka, topic: str, partition: int, offset: int) -> None:
    """Change the last byte of the batch that holds ``offset``, on the broker's disk."""
    (segment,) = (kafka.folder / "data" / f"{topic}-{partition}").glob("*.log")
    content = memoryview(segment.read_bytes())
    at = 0
    while read_header(content[at:]).behind <= offset:
        at += read_start(content[at:])[1]
    last = at + read_start(content[at:])[1] - 1
    with segment.open("r+b") as file:
        file.seek(last)
        file.write(bytes([content[last] ^ 0xFF]))


async def degraded(stage: Stage) -> set[str]:
    """Return the partitions that any worker says to stand."""
    answers = [await stage.fleet._get(f"{worker.url}/healthz/ready") for worker in stage.fleet.workers]
    return {found["subject"] for answer in answers if answer for found in answer["degraded"]}


async def test_partitions_that_cannot_be_read_stand_and_everything_else_is_served(
    own: Settings, kafka: LocalKafka, tmp_path: Path
) -> None:
    async with staged(own, tmp_path) as stage:
        settings, box = stage.settings, stage.mailbox
        requests, callbacks = settings.assessment_request_topic, settings.llm_provider_callback_topic
        events, changelog = settings.batch_events_topic, changelog_topic(settings)
        for partition, topic in enumerate((requests, callbacks, events)):
            for value in (b"before", b"damaged", b"behind"):
                await box.send(topic, value, partition=partition)
            damage(kafka, topic, partition, 1)
        for position in range(3):
            await box.send(changelog, encode_heartbeat(position), key=HEARTBEAT_KEY, partition=3)
        damage(kafka, changelog, 3, 1)
        batches = batches_everywhere(4, settings)
        for batch_id in batches:
            await stage.ask(new_request(batch_id, 4), partition=1)

        standing = {f"{requests}-0", f"{callbacks}-1", f"{events}-2", f"{changelog}-3"}
        workers = [stage.fleet.worker() for _ in range(2)]
        for worker in workers:
            worker.start()

        async def told() -> bool:
            return standing <= await degraded(stage)

        await stage.fleet.until(told, "all four partitions are said to stand, by workers that are ready")
        # Homes 0 and 1 are served: 6 comparisons of each; what lies before the damage has been handled.
        await stage.fleet.until(lambda: len(stage.provider.submissions) >= 12, "the batches that can be are served")
        await stage.fleet.until(lambda: len(box.dead_letters) >= 3, "what lies before the damage is handled")
        assert {letter.value for letter in box.dead_letters} == {b"before"}
        assert await stage.fleet.metric("cj_conditions", kind="standing_partition") >= 4
        for topic, partition in ((requests, 0), (callbacks, 1), (events, 2), (changelog, 3)):
            assert f"partition {partition} of {topic} stands at offset 1: its checksum is wrong" in (
                workers[0].log + workers[1].log
            )

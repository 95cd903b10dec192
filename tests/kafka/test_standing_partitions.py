from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr
from support.installation.fleet import WorkerProcess, environment
from support.installation.own_topics import own_topics
from support.installation.stage import Stage, batches_everywhere, new_request, staged

from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.engine.record_format import read_header, read_start
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    encode_heartbeat,
)
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

OPERATOR = "somebody who may"
MEGABYTE = 1024 * 1024
MEMORY_LIMIT = 450 * MEGABYTE
"""A worker that unpacks 200 MB whole has twice that in addition to the 150 MB it has otherwise."""


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


async def post(worker: WorkerProcess, topic: str, partition: int, **body: Any) -> tuple[int, dict[str, Any]]:
    """Have the batch that a partition stands at stepped over."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {OPERATOR}"}) as http,
        http.post(f"{worker.url}/partitions/{topic}/{partition}/step-over", json={"offset": 1, **body}) as response,
    ):
        return response.status, await response.json()


def most_memory(worker: WorkerProcess) -> int:
    """Return how many bytes of memory a worker has had at most."""
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


async def test_partitions_that_cannot_be_read_stand_and_everything_else_is_served(  # noqa: C901, PLR0915 (one installation)
    own: Settings, kafka: LocalKafka, tmp_path: Path
) -> None:
    async with staged(own, tmp_path, operator_token=SecretStr(OPERATOR)) as stage:
        settings, box = stage.settings, stage.mailbox
        requests, callbacks = settings.assessment_request_topic, settings.llm_provider_callback_topic
        events, changelog = settings.batch_events_topic, settings.changelog_topic
        for partition, topic in enumerate((requests, callbacks, events)):
            for value in (b"before", b"damaged", b"behind"):
                await box.send(topic, value, partition=partition)
            damage(kafka, topic, partition, 1)
        for _ in range(3):
            await box.send(changelog, encode_heartbeat(0), key=HEARTBEAT_KEY, partition=3)
        damage(kafka, changelog, 3, 1)
        batches = batches_everywhere(4, settings)
        for batch_id in batches:
            await stage.ask(new_request(batch_id, 4), partition=1)

        standing = {f"{requests}-0", f"{callbacks}-1", f"{events}-2", f"{changelog}-3"}
        workers = [stage.fleet.worker() for _ in range(2)]
        for worker in workers:
            worker.start()

        async def told() -> bool:
            # By both: while the second one joins, no partition stands at any of them.
            ready = all([await stage.fleet._get(f"{worker.url}/healthz/ready") for worker in workers])
            return ready and await degraded(stage) == standing

        async def ended(*batch_ids: str) -> bool:
            shown = [await stage.fleet.batch(batch_id) for batch_id in batch_ids]
            return all(batch and batch["finished_at"] for batch in shown)

        def refused() -> set[tuple[str, bytes | None]]:
            return {(letter.reason, letter.value) for letter in box.dead_letters if letter.topic != changelog}

        await stage.fleet.until(told, "all four partitions are said to stand, by workers that are ready")
        # Homes 0 and 1 are served, with 6 comparisons each; what lies before the damage has been handled.
        await stage.fleet.until(lambda: len(stage.provider.submissions) >= 12, "the batches that can be are served")
        await stage.fleet.until(lambda: len(box.dead_letters) >= 3, "what lies before the damage is handled")
        assert {value for _, value in refused()} == {b"before"}
        logs = workers[0].log + workers[1].log
        for topic, partition in ((requests, 0), (callbacks, 1), (events, 2), (changelog, 3)):
            assert f"partition {partition} of {topic} stands at offset 1: its checksum is wrong" in logs

        # An operator goes on, through any worker.
        assert (await post(workers[0], requests, 2))[0] == 404
        assert (await post(workers[0], changelog, 3))[0] == 409
        status, answer = await post(workers[0], events, 2)
        assert (status, answer["error"]["code"]) == (409, "loses_events")
        assert (await post(workers[0], events, 2, accept_loss=True))[0] == 202
        assert (await post(workers[0], callbacks, 1))[0] == 202
        assert (await post(workers[1], requests, 0))[0] == 202
        await stage.fleet.until(lambda: ended(*batches[:3]), "the batches end whose verdicts and events lay behind")
        await stage.fleet.until(lambda: len(box.dead_letters) >= 9, "what was stepped over is a dead letter")
        stepped_over = [letter for letter in box.dead_letters if letter.reason == "not_read"]
        assert {(letter.topic, letter.offset) for letter in stepped_over} == {
            (requests, 1),
            (callbacks, 1),
            (events, 1),
        }
        assert all("its checksum is wrong" in letter.detail for letter in stepped_over)
        assert all(letter.value and b"damage" in letter.value for letter in stepped_over)
        assert await degraded(stage) == {f"{changelog}-3"}

        await _reads_every_codec_and_no_bomb(stage, workers)

        # The changelog is mended while nobody writes to it.
        for worker in workers:
            worker.terminate()
        await stage.fleet.until(lambda: not any(worker.runs for worker in workers), "the workers have stopped")

        async def nobody_is_in_the_group() -> bool:
            return await box.members() == 0

        await stage.fleet.until(nobody_is_in_the_group, "the broker has seen the last worker go")
        step = ("partitions", "step-over", changelog, "3", "1")
        command = [sys.executable, "-c", "from cj_stream.cli.main import main; main()", *step]
        refusing = await _run(command, settings)
        assert "rows of the table are lost for good: offsets 1 to 1 of partition 3" in refusing
        assert "Stepping over offsets 1 to 1 of partition 3" in await _run([*command, "--accept-loss"], settings)
        for worker in workers:
            worker.start()
        await stage.fleet.ready()
        await stage.fleet.until(lambda: ended(*batches), "the batch of the partition whose changelog stood ends")
        assert await degraded(stage) == set(), stage.fleet.tails()


async def _reads_every_codec_and_no_bomb(stage: Stage, workers: list[WorkerProcess]) -> None:
    """Records compressed in each way are read, and 200 MB behind 200 kB are one dead letter."""
    settings, box = stage.settings, stage.mailbox
    before = len(box.dead_letters)
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        value = b"a callback, compressed with " + codec.encode() * 20
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, compression_type=codec) as producer:
            await producer.send_and_wait(settings.llm_provider_callback_topic, value, partition=2)
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka_bootstrap, compression_type="gzip", max_request_size=2**30
    ) as producer:
        await producer.send_and_wait(settings.llm_provider_callback_topic, bytes(200 * MEGABYTE), partition=2)
    await stage.fleet.until(lambda: len(box.dead_letters) >= before + 5, "each of them is a dead letter")
    *compressed, bomb = box.dead_letters[before:]
    assert [letter.reason for letter in compressed] == ["not_json"] * 4
    assert (bomb.reason, bomb.value) == ("not_read", None)
    assert str(200 * MEGABYTE)[:3] in bomb.detail
    assert max(map(most_memory, workers)) < MEMORY_LIMIT


async def _run(command: list[str], settings: Settings) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, **environment(settings)},
    )
    output, _ = await process.communicate()
    return " ".join(output.decode().split())

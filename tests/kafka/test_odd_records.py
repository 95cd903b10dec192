"""Records that are odd as records, whatever is in them: no key and no value, headers of any kind, absurd times."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from command_runs import run_command
from counting_provider import judge_of
from fleet import environment
from oracle import expected_batch
from stage import Stage, new_request, staged

from cj_stream.contracts.dead_letters import CUT_VALUE_LIMIT, KEY_LIMIT, StoredDeadLetter, read_dead_letter
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

Headers = list[tuple[str, bytes | None]]

LATEST = 2**63 - 1
"""Milliseconds since the epoch: the largest that a record can hold, long after the end of the calendar."""
WORKERS = 2


class Odd(NamedTuple):
    """A record that is no message; ``at`` in milliseconds, None for now."""

    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = []  # noqa: RUF012 (never changed)
    at: int | None = None


ODD = [
    Odd(),
    Odd(key=b""),
    Odd(key=b"k"),
    Odd(value=b""),
    Odd(key=b"", value=b""),
    Odd(key=b"k" * 300_000),
    Odd(key=b"\xff\x00" * 1_000, value=b"\xff\x00"),
    Odd(value=b"x" * 1_000_000),
    Odd(at=-1),
    Odd(value=b"x", at=0),
    Odd(at=LATEST),
    Odd(headers=[("cj-reason", None), ("cj-reason", b"\xff"), ("", b""), ("\u202e\x00", b"x"), ("cj-size", b"-1")]),
    Odd(value=b"x", headers=[(f"h{i}", b"v" * 100) for i in range(2_000)]),
]


async def test_odd_records_become_one_dead_letter_each_and_the_partitions_move_on(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path, invalid_input_minimum=1_000) as stage:
        topics = (settings.assessment_request_topic, settings.llm_provider_callback_topic, settings.batch_events_topic)
        await _let_any_time_in(settings, topics)
        worker, _ = await stage.fleet.start(WORKERS)
        sent: Counter[tuple[str, int, int]] = Counter()
        async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, max_request_size=2**21) as producer:
            for topic, odd in product(topics, ODD):
                sent[topic, 0, await _put(producer, topic, odd)] += 1
            # What somebody puts among the dead letters is none, and neither command nor start stumbles over it.
            for odd in ODD:
                await _put(producer, settings.dead_letters_topic, odd)
        requests = [new_request(f"batch-{partition}", 4) for partition in range(3)]
        for partition, request in enumerate(requests):
            await stage.ask(request, partition)
        await stage.ended(*(request.batch_id for request in requests))
        for request in requests:
            stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert _letters(stage) == sent
        _are_as_they_came(stage)
        assert [worker.runs for worker in stage.fleet.workers] == [True] * WORKERS
        await _commands_cope(stage, len(sent))
        worker.terminate()
        assert await stage.fleet.ended(worker) == 0
        worker.start()
        await stage.fleet.ready()


async def _let_any_time_in(settings: Settings, topics: tuple[str, ...]) -> None:
    """Take records of any time: by default Kafka refuses what is more than an hour ahead."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        any_time = {"message.timestamp.after.max.ms": str(LATEST), "max.message.bytes": "2097152"}
        # All that is not named goes back to Kafka's own: the events topic and the dead letters take any time too.
        names = (*topics, settings.dead_letters_topic)
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, any_time) for name in names])
    finally:
        await admin.close()


async def _put(producer: AIOKafkaProducer, topic: str, odd: Odd) -> int:
    """Send a record to partition 0 as it is: the usual call takes none without both key and value."""
    batch = producer.create_batch()
    assert batch.append(key=odd.key, value=odd.value, timestamp=odd.at, headers=odd.headers) is not None
    metadata = await (await producer.send_batch(batch, topic, partition=0))
    return int(metadata.offset)


def _written(stage: Stage) -> list[Any]:
    records = stage.mailbox.records[stage.settings.dead_letters_topic]
    return [record for record in records if dict(record.headers).get("cj-service")]


def _letters(stage: Stage) -> Counter[tuple[str, int, int]]:
    return Counter((letter.topic, letter.partition, letter.offset) for letter in _read(stage))


def _read(stage: Stage) -> list[StoredDeadLetter]:
    return [read_dead_letter(record.key, record.value, record.headers) for record in _written(stage)]


def _are_as_they_came(stage: Stage) -> None:
    topic = stage.settings.assessment_request_topic
    letters = sorted((letter for letter in _read(stage) if letter.topic == topic), key=lambda letter: letter.offset)
    for odd, letter in zip(ODD, letters, strict=True):
        assert letter.key == (None if odd.key is None else odd.key[:KEY_LIMIT])
        assert letter.size == (-1 if odd.value is None else len(odd.value))
        assert letter.value in (odd.value, None if odd.value is None else odd.value[:CUT_VALUE_LIMIT])


async def _commands_cope(stage: Stage, count: int) -> None:
    variables = environment(stage.settings)

    async def dlq(*arguments: str) -> Any:
        return await asyncio.to_thread(run_command, "dlq", *arguments, env=variables)

    listed = json.loads((await dlq("list", "--limit", "1000", "--json")).stdout)
    reasons = Counter(row["reason"] for row in listed["dead_letters"])
    assert reasons.pop("not_a_dead_letter") == len(ODD)
    assert reasons.total() == count
    shown = [
        await dlq("show", str(next(row["number"] for row in listed["dead_letters"] if row["reason"] == reason)))
        for reason in ("empty", "not_a_dead_letter")
    ]
    assert [each.exit_code for each in shown] == [0, 0]
    replayed = await dlq("replay", "--all", "--json")
    assert replayed.exit_code == 1
    assert json.loads(replayed.stdout)["sent"] == 0

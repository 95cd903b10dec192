"""Records that are odd as records, whatever is in them, and requests as large as can be: neither stops anybody."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, uuid4, uuid5

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from msgspec.structs import replace
from support.domain.oracle import expected_batch
from support.installation.command_runs import run_command
from support.installation.counting_provider import judge_of
from support.installation.fleet import environment
from support.installation.stage import Stage, new_request, staged
from support.wire.contract_samples import document

from cj_stream.contracts.fields import IDENTIFIER_LIMIT
from cj_stream.contracts.message_limits import REQUEST_LIMIT
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay
from cj_stream.contracts.request_writer import write_request
from cj_stream.dead_letters.letter import CUT_VALUE_LIMIT, LETTER_KEY_BYTES, StoredDeadLetter, read_dead_letter
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

Headers = list[tuple[str, bytes | None]]

LATEST = 2**63 - 1
"""Milliseconds since the epoch: the largest that a record can hold, long after the end of the calendar."""
LONGEST_FILE = 128
"""Characters of a storage id where texts are files."""


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


def as_the_platform_names_them(count: int) -> tuple[RequestedEssay, ...]:
    return tuple(
        RequestedEssay(str(uuid5(NAMESPACE_OID, f"essay {i}")), uuid5(NAMESPACE_OID, f"text {i}").hex)
        for i in range(count)
    )


def as_long_as_can_be(count: int) -> tuple[RequestedEssay, ...]:
    return tuple(RequestedEssay(f"{i:x>{IDENTIFIER_LIMIT}}", f"{i:y>{LONGEST_FILE}}") for i in range(count))


async def test_odd_records_become_one_dead_letter_each_and_the_largest_requests_are_judged(
    settings: Settings, tmp_path: Path
) -> None:
    topics = (settings.assessment_request_topic, settings.llm_provider_callback_topic, settings.batch_events_topic)
    async with staged(settings, tmp_path, invalid_input_minimum=1_000) as stage:
        await _let_any_time_in(settings, topics[:2])
        sent: Counter[tuple[str, int, int]] = Counter()
        async with AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap, compression_type="gzip", max_request_size=2 * REQUEST_LIMIT
        ) as producer:
            for topic, odd in product(topics, ODD):
                sent[topic, 0, await _put(producer, topic, odd)] += 1
            # What somebody puts among the dead letters is none, and neither command nor start stumbles over it.
            for odd in ODD:
                await _put(producer, settings.dead_letters_topic, odd)
            requests = [new_request(f"batch-{partition}", 4) for partition in range(3)]
            for partition, request in enumerate(requests):
                await stage.ask(request, partition)
            for name, essays in (("platform", as_the_platform_names_them), ("longest", as_long_as_can_be)):
                requests.append(replace(new_request(name, max_comparisons=20), essays=essays(settings.max_essays)))
                await _ask_largely(stage, producer, requests[-1])
        await stage.fleet.start(2)
        await stage.ended(*(request.batch_id for request in requests))
        for request in requests:
            stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert Counter((letter.topic, letter.partition, letter.offset) for letter in _letters(stage)) == sent
        _are_as_they_came(stage)
        assert [worker.runs for worker in stage.fleet.workers] == [True, True]
        await _commands_cope(stage, len(sent))


async def _let_any_time_in(settings: Settings, topics: tuple[str, ...]) -> None:
    """Take records of any time: by default Kafka refuses what is more than an hour ahead."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    await admin.start()
    try:
        any_time = {"message.timestamp.after.max.ms": str(LATEST)}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, name, any_time) for name in topics])
    finally:
        await admin.close()


async def _put(producer: AIOKafkaProducer, topic: str, odd: Odd) -> int:
    """Send a record to partition 0 as it is: the usual call takes none without both key and value."""
    batch = producer.create_batch()
    assert batch.append(key=odd.key, value=odd.value, timestamp=odd.at, headers=odd.headers) is not None
    metadata = await (await producer.send_batch(batch, topic, partition=0))
    return int(metadata.offset)


async def _ask_largely(stage: Stage, producer: AIOKafkaProducer, request: AssessmentRequest) -> None:
    """Send a request as the platform does, with spellcheck figures for each essay."""
    for essay in request.essays:
        (stage.content / f"{essay.text_storage_id}.txt").write_text(f"An essay called {essay.essay_id}.")
    figures = document("request_current.json")["data"]["essays_for_cj"][1]["spellcheck_metrics"]
    message = json.loads(write_request(request, uuid4()))
    for essay in message["data"]["essays_for_cj"]:
        essay["spellcheck_metrics"] = figures
    value = json.dumps(message).encode()
    assert len(value) > 500_000
    await producer.send_and_wait(stage.settings.assessment_request_topic, value, key=request.batch_id.encode())


def _letters(stage: Stage) -> list[StoredDeadLetter]:
    records = stage.mailbox.records[stage.settings.dead_letters_topic]
    ours = [record for record in records if dict(record.headers).get("cj-service")]
    return [read_dead_letter(record.key, record.value, record.headers) for record in ours]


def _are_as_they_came(stage: Stage) -> None:
    topic = stage.settings.assessment_request_topic
    letters = sorted((letter for letter in _letters(stage) if letter.topic == topic), key=lambda letter: letter.offset)
    for odd, letter in zip(ODD, letters, strict=True):
        assert letter.key == (None if odd.key is None else odd.key[:LETTER_KEY_BYTES])
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
    for reason in ("empty", "not_a_dead_letter"):
        number = next(row["number"] for row in listed["dead_letters"] if row["reason"] == reason)
        assert (await dlq("show", str(number))).exit_code == 0
    replayed = await dlq("replay", "--all", "--json")
    assert replayed.exit_code == 1
    assert json.loads(replayed.stdout)["sent"] == 0

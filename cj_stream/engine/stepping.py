"""Going on in a changelog behind a record batch that cannot be read, for good and for all who read it later.

The rows that are there are written once more to the end of the partition; then everything up to behind the batch is
deleted. Recovery keeps the row with the highest position (`table`), so rows that are there twice do no harm, and what
is broken off anywhere can be done again. The workers have to be stopped: a row of theirs could come in between.
While records are deleted the topic is configured so that they can be; no worker starts on it should it stay so.

Test: ``tests/kafka/test_standing_partitions.py``.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, PolicyViolationError, for_code
from aiokafka.structs import TopicPartition

from cj_stream.engine.changelog import ChangelogError, write_rows
from cj_stream.engine.clients import Kafka
from cj_stream.engine.dead_letters import NOT_READ_REASON, Letter, LetterMaker, Refusal, RefusedInput
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.engine.record_batches import Damage
from cj_stream.engine.rows import (
    row_position,
)

POLL_MS = 500
_OF_THE_TOPIC = 1
PATIENCE_SECONDS = 30.0


@dataclass
class Surviving:
    """What a partition of the changelog still has, read past all batches that cannot be read."""

    damages: list[Damage] = field(default_factory=list)
    rows: dict[bytes, tuple[int, bytes | None]] = field(default_factory=dict)
    """By key the newest row, and its offset."""

    def apply(self, record: Any) -> None:
        """Keep what recovery would keep."""
        before = self.rows.get(record.key, (0, None))[1]
        if record.value is None or before is None or _position(record.value) >= _position(before):
            self.rows[record.key] = (record.offset, record.value)

    def rows_before(self, offset: int) -> list[tuple[bytes, bytes]]:
        """Return the rows that lie before ``offset`` and nowhere behind it, in the order that they were written."""
        lying = [(at, key, value) for key, (at, value) in self.rows.items() if at < offset and value is not None]
        return [(key, value) for _, key, value in sorted(lying)]


async def read_past(kafka: Kafka, topic: str, partition: int) -> Surviving:
    """Read a partition of the changelog from its beginning to its end. Raises `ChangelogError`."""
    at, surviving = TopicPartition(topic, partition), Surviving()
    async with _reading(kafka, at) as (consumer, guard):
        end = (await consumer.end_offsets([at]))[at]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while await consumer.position(at) < end:
            fetched = await consumer.getmany(at, timeout_ms=POLL_MS)
            for record in fetched.get(at, ()):
                surviving.apply(record)
            damage = guard.damages().get(at)
            if damage is not None:
                if damage.behind is None:
                    raise ChangelogError(f"where the batch at offset {damage.offset} ends cannot be told: {damage.why}")
                surviving.damages.append(damage)
                consumer.seek(at, damage.behind)
            if fetched or damage is not None:
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif time.monotonic() > deadline:
                raise ChangelogError(f"Kafka at {kafka.bootstrap} does not answer: {topic}-{partition} ends too early")
    return surviving


async def step_over(
    kafka: Kafka, at: TopicPartition, surviving: Surviving, damage: Damage, letters: str, envelope: LetterMaker
) -> int:
    """Write the rows before ``damage`` again, the batch to the topic ``letters``, and delete up to behind it.

    Returns how many rows were written. Raises `ChangelogError`.
    """
    if damage.behind is None:
        raise ChangelogError(f"where the batch at offset {damage.offset} ends cannot be told")
    written = await write_rows(kafka, at.topic, at.partition, surviving.rows_before(damage.offset))
    admin = kafka.admin()
    try:
        await _put(kafka, letters, next(envelope(_refused(at, damage))))
        await admin.start()
        await _delete(admin, at, damage.behind)
    except (KafkaError, OSError, TimeoutError) as error:
        raise ChangelogError(f"{at.topic}-{at.partition} still has the batch: {error!r}; run it again") from error
    finally:
        await admin.close()
    return written


async def _delete(admin: AIOKafkaAdminClient, at: TopicPartition, behind: int) -> None:
    """Delete what lies before ``behind``. A broker deletes on request only where records may be deleted at all."""
    found = await _own_configs(admin, at.topic)
    deletable = {"cleanup.policy": "compact,delete", "retention.ms": "-1", "retention.bytes": "-1"}
    await _configure(admin, at.topic, {**found, **deletable})
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                await admin.delete_records({at: RecordsToDelete(before_offset=behind)})
            except PolicyViolationError:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(POLL_MS / 1000)  # the broker has not applied the configuration yet
            else:
                return
    finally:
        await _configure(admin, at.topic, {**found, "cleanup.policy": "compact"})


async def _own_configs(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    ((_code, _message, _kind, _name, entries),) = response.resources
    # In the first version of the answer the field says whether it is a default, later where it comes from.
    return {entry[0]: entry[1] for entry in entries if entry[3] == _OF_THE_TOPIC and response.API_VERSION > 0}


async def _configure(admin: AIOKafkaAdminClient, topic: str, configs: dict[str, str]) -> None:
    (response,) = await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs)])
    for code, message, *_ in response.resources:
        if code:
            raise for_code(code)(message)


async def _put(kafka: Kafka, topic: str, letter: Letter) -> None:
    async with kafka.producer() as producer:
        await producer.send_and_wait(topic, letter.value, letter.key, headers=letter.headers)


def _refused(at: TopicPartition, damage: Damage) -> RefusedInput:
    why = f"offsets {damage.offset} to {(damage.behind or 0) - 1} could not be read: {damage.why}"
    refusal = Refusal(NOT_READ_REASON, why)
    return RefusedInput(None, damage.batch, at.topic, at.partition, damage.offset, datetime.now(UTC), refusal)


@asynccontextmanager
async def _reading(kafka: Kafka, at: TopicPartition) -> AsyncIterator[tuple[Any, FetchGuard]]:
    consumer = kafka.consumer()
    guard = FetchGuard(None, lambda _topic: True, time.time)
    try:
        await consumer.start()
        guard.attach(consumer)
        consumer.assign([at])
        await consumer.seek_to_beginning(at)
        yield consumer, guard
    except (KafkaError, OSError, TimeoutError) as error:
        raise ChangelogError(f"Kafka at {kafka.bootstrap} does not tell about {at.topic}: {error!r}") from error
    finally:
        await consumer.stop()


def _position(value: bytes) -> int:
    try:
        return row_position(value)
    except Exception:  # noqa: BLE001 (not a row of ours: any other is newer)
        return -1

"""Reading the dead-letter topic as it lies on the broker, and deleting its beginning.

Its records are known by their offsets: the topic has one partition, so an offset is a number that nothing else has.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaConnectionError, KafkaError

from cj_stream.contracts.dead_letters import StoredDeadLetter, read_dead_letter
from cj_stream.contracts.fields import moment
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.engine.overrides.isolation import READ_COMMITTED
from cj_stream.engine.provisioning import partition_counts

_READ_SECONDS = 10.0
_POLL_MS = 500


class DeadLetterError(Exception):
    """The dead letters cannot be read or deleted; the text says why and what to do."""


@dataclass(frozen=True)
class KeptLetter:
    """A record of the topic. ``letter`` is None where it is no dead letter of ours, and ``why_not`` says so."""

    number: int
    refused_at: datetime
    letter: StoredDeadLetter | None
    why_not: str = ""


class Span(NamedTuple):
    """The numbers there are: from ``first`` up to, without it, ``end``."""

    first: int
    end: int


class DeadLetterTopic:
    """The dead letters that the broker keeps; from `open_dead_letters`."""

    def __init__(self, bootstrap: str, topic: str, consumer: AIOKafkaConsumer[bytes | None, bytes | None]) -> None:
        self._guard = FetchGuard(None, lambda _topic: True, time.time)
        self._guard.attach(consumer)
        self._bootstrap = bootstrap
        self._at = TopicPartition(topic, 0)
        self._consumer = consumer

    async def span(self) -> Span:
        """Return the numbers that are kept now."""
        first = await self._consumer.beginning_offsets([self._at])
        end = await self._consumer.end_offsets([self._at])
        return Span(first[self._at], end[self._at])

    async def since(self, moment: datetime) -> int:
        """Return the number of the first dead letter written at ``moment`` or later, the end when there is none."""
        found = await self._consumer.offsets_for_times({self._at: int(moment.timestamp() * 1000)})
        return (await self.span()).end if found[self._at] is None else found[self._at].offset

    async def read(self, start: int, end: int) -> AsyncIterator[KeptLetter]:
        """Yield the dead letters from ``start`` up to ``end``, without it, in order.

        A batch of records that cannot be read is one that is no dead letter of ours.

        Raises:
            DeadLetterError: the broker stops answering.

        """
        self._consumer.seek(self._at, start)
        deadline = time.monotonic() + _READ_SECONDS
        while await self._consumer.position(self._at) < end:
            fetched = await self._consumer.getmany(self._at, timeout_ms=_POLL_MS)
            standing = self._guard.standing().get(self._at)
            if standing is not None:
                yield KeptLetter(standing.offset, datetime.now(UTC), None, f"it cannot be read: {standing.why}")
                self._consumer.seek(self._at, standing.behind or standing.offset + 1)
            if fetched or standing is not None:
                deadline = time.monotonic() + _READ_SECONDS
            elif time.monotonic() > deadline:
                raise DeadLetterError(f"Kafka at {self._bootstrap} does not answer: the dead letters end too early")
            for record in fetched.get(self._at, ()):
                if record.offset < end:
                    yield _kept(record)

    async def drop(self, end: int) -> None:
        """Delete all dead letters up to the number ``end``, without it, for good."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap)
        try:
            await admin.start()
            await admin.delete_records({self._at: RecordsToDelete(before_offset=end)})
        finally:
            await admin.close()


def _kept(record: Any) -> KeptLetter:
    refused_at = moment(record.timestamp / 1000)
    try:
        letter = read_dead_letter(record.key, record.value, record.headers)
    except Refused as refused:
        return KeptLetter(record.offset, refused_at, None, refused.detail)
    return KeptLetter(record.offset, refused_at, letter)


@asynccontextmanager
async def open_dead_letters(bootstrap: str, topic: str) -> AsyncIterator[DeadLetterTopic]:
    """Open the dead letters of ``topic``.

    Raises:
        DeadLetterError: there is no such topic, or Kafka refuses.
        ProvisioningError: no broker answers.

    """
    # Asked first: a broker that creates topics on demand would create the one that is read.
    if topic not in await partition_counts(bootstrap):
        raise DeadLetterError(
            f"there is no topic {topic} at {bootstrap}: create it with cj-stream topics create, or set "
            "CJ_DEAD_LETTERS_TOPIC to its name"
        )
    consumer: AIOKafkaConsumer[bytes | None, bytes | None] = AIOKafkaConsumer(
        bootstrap_servers=bootstrap, enable_auto_commit=False, isolation_level=READ_COMMITTED
    )
    try:
        await consumer.start()
        consumer.assign([TopicPartition(topic, 0)])
        yield DeadLetterTopic(bootstrap, topic, consumer)
    except KafkaConnectionError as error:
        raise DeadLetterError(f"Kafka at {bootstrap} does not answer any more: {error}") from error
    except KafkaError as error:
        raise DeadLetterError(f"Kafka at {bootstrap} refused: {error}") from error
    finally:
        await consumer.stop()

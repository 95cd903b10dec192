"""Reading the dead-letter topic as it lies on the broker, and deleting its beginning.

Its records are known by their offsets: the topic has one partition, so an offset is a number that nothing else has.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, NamedTuple, TypeVar

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaConnectionError, KafkaError

from cj_stream.engine.clients import READ_COMMITTED, Consumer, Kafka
from cj_stream.engine.dead_letters import Letter, Refusal
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.engine.provisioning import partition_counts
from cj_stream.engine.texts import moment

LetterT = TypeVar("LetterT")
Read = Callable[[Any, Any, Any], LetterT]

REFUSED_AT = "refused-at"
"""Header of a letter that was written again: when it was refused, in milliseconds since the epoch."""
_MOST_DIGITS = 15
_READ_SECONDS = 10.0
_POLL_MS = 500


class DeadLetterError(Exception):
    """The dead letters cannot be read or deleted; the text says why and what to do."""


@dataclass(frozen=True)
class KeptLetter(Generic[LetterT]):
    """A record of the topic. ``letter`` is None where it is no dead letter of ours, and ``why_not`` says so.

    ``record`` is all of it, None where it cannot be read.
    """

    number: int
    refused_at: datetime
    letter: LetterT | None
    why_not: str = ""
    record: Letter | None = None


class Span(NamedTuple):
    """The numbers there are: from ``first`` up to, without it, ``end``."""

    first: int
    end: int


class DeadLetterTopic(Generic[LetterT]):
    """The dead letters that the broker keeps; from `open_dead_letters`."""

    def __init__(self, kafka: Kafka, topic: str, consumer: Consumer, read: Read[LetterT]) -> None:
        self._guard = FetchGuard(None, lambda _topic: True, time.time)
        self._guard.attach(consumer)
        self._kafka = kafka
        self._read = read
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

    async def read(self, start: int, end: int) -> AsyncIterator[KeptLetter[LetterT]]:
        """Yield the dead letters from ``start`` up to ``end``, without it, in order.

        A batch of records that cannot be read is one that is no dead letter of ours.

        Raises:
            DeadLetterError: the broker stops answering.

        """
        if start >= end:
            return
        # Not before: from then on fetches are under way, and whatever else is asked waits until one has ended.
        self._consumer.assign([self._at])
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
                raise DeadLetterError(
                    f"Kafka at {self._kafka.bootstrap} does not answer: the dead letters end too early"
                )
            for record in fetched.get(self._at, ()):
                if record.offset < end:
                    yield self._kept(record)

    async def without(self, doomed: Collection[int], span: Span, producer: AIOKafkaProducer, since: datetime) -> int:
        """Delete these letters of ``span`` for good; return how many others were written again at the end for it.

        Kafka deletes from the beginning only, so those before the last of them would be lost: the ones that were
        refused ``since`` then. Whoever is killed in between leaves some of them twice, and none lost. ``producer`` is
        started.
        """
        end, moved = max(doomed) + 1, 0
        async for kept in self.read(span.first, end):
            if kept.number not in doomed and kept.record is not None and kept.refused_at >= since:
                await producer.send_and_wait(self._at.topic, partition=0, **_again(kept.record, kept.refused_at))
                moved += 1
        await self.drop(end)
        return moved

    async def drop(self, end: int) -> None:
        """Delete all dead letters up to the number ``end``, without it, for good."""
        admin = self._kafka.admin()
        try:
            await admin.start()
            await admin.delete_records({self._at: RecordsToDelete(before_offset=end)})
        finally:
            await admin.close()

    def _kept(self, record: Any) -> KeptLetter[LetterT]:
        whole = Letter(record.key, record.value, list(record.headers))
        refused_at = _refused_at(whole) or moment(record.timestamp / 1000)
        try:
            letter = self._read(record.key, record.value, record.headers)
        except Refusal as refused:
            return KeptLetter(record.offset, refused_at, None, refused.detail, whole)
        return KeptLetter(record.offset, refused_at, letter, record=whole)


def _again(letter: Letter, refused_at: datetime) -> dict[str, Any]:
    """Return a letter as it is written again: it still tells when it was refused."""
    headers = [(name, content) for name, content in letter.headers if name != REFUSED_AT]
    headers.append((REFUSED_AT, str(int(refused_at.timestamp() * 1000)).encode()))
    # aiokafka sends no record without both.
    value = b"" if letter.key is None and letter.value is None else letter.value
    return {"key": letter.key, "value": value, "headers": headers}


def _refused_at(letter: Letter) -> datetime | None:
    found = dict(letter.headers).get(REFUSED_AT) or b""
    return moment(int(found) / 1000) if found.isdigit() and len(found) <= _MOST_DIGITS else None


@asynccontextmanager
async def open_dead_letters(kafka: Kafka, topic: str, read: Read[LetterT]) -> AsyncIterator[DeadLetterTopic[LetterT]]:
    """Open the dead letters of ``topic``; ``read`` makes a letter of key, value and headers, or raises `Refusal`.

    Raises:
        DeadLetterError: there is no such topic, or Kafka refuses.
        ProvisioningError: no broker answers.

    """
    # Asked first: a broker that creates topics on demand would create the one that is read.
    if topic not in await partition_counts(kafka):
        raise DeadLetterError(
            f"there is no topic {topic} at {kafka.bootstrap}: create it with {kafka.names.command} topics create, "
            f"or set {kafka.names.setting('dead_letters_topic')} to its name"
        )
    consumer = kafka.consumer(isolation=READ_COMMITTED)
    try:
        await consumer.start()
        yield DeadLetterTopic(kafka, topic, consumer, read)
    except KafkaConnectionError as error:
        raise DeadLetterError(f"Kafka at {kafka.bootstrap} does not answer any more: {error}") from error
    except KafkaError as error:
        raise DeadLetterError(f"Kafka at {kafka.bootstrap} refused: {error}") from error
    finally:
        await consumer.stop()

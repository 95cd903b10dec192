"""Everything on the topics of one test, read as it comes, and a way to send."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from cj_stream.dead_letters.letter import StoredDeadLetter, read_dead_letter
from cj_stream.engine.clients import READ_COMMITTED
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

OUTAGE_MILLISECONDS = 180_000
Record: TypeAlias = ConsumerRecord[bytes | None, bytes | None]


class AnyMailbox:
    """Holds all records of the topics of any app in ``records``; ``inputs`` are those that its workers read."""

    def __init__(self, settings: EngineSettings, topics: Sequence[str], inputs: Sequence[str]) -> None:
        self._kafka = settings.kafka_bootstrap
        self._group = settings.app_id
        self.topics = topics
        self._inputs = inputs
        self.records: dict[str, list[Record]] = defaultdict(list)
        bootstrap = settings.kafka_bootstrap
        self._consumer = AIOKafkaConsumer(
            *self.topics,
            bootstrap_servers=bootstrap,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
            metadata_max_age_ms=1000,
            isolation_level=READ_COMMITTED,
        )
        # What is sent while the broker is away arrives when it is back, once.
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            enable_idempotence=True,
            request_timeout_ms=OUTAGE_MILLISECONDS,
            metadata_max_age_ms=1000,
        )
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._producer.start()
        await self._consumer.start()
        # What no reader can read is left out here too; a topic of no group has no commits to mark.
        FetchGuard(None, lambda _topic: True, time.time).attach(self._consumer)
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        await self._consumer.stop()
        await self._producer.stop()

    async def _read(self) -> None:
        async for record in self._consumer:
            self.records[record.topic].append(record)

    async def send(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, partition: int | None = None
    ) -> None:
        """Send a record and wait until the broker has it."""
        await self._producer.send_and_wait(topic, value, key=key, partition=partition)

    async def lag(self) -> dict[str, int]:
        """Return, by input partition of the workers, how many records the group has not committed yet; none for 0."""
        partitions = [
            TopicPartition(topic, partition)
            for topic in self._inputs
            for partition in self._consumer.partitions_for_topic(topic) or ()
        ]
        ends = await self._consumer.end_offsets(partitions)
        committed = await self.committed()
        behind = {at: end - committed.get(at, 0) for at, end in ends.items()}
        return {f"{at.topic}:{at.partition}": count for at, count in behind.items() if count}

    async def is_all_read(self) -> bool:
        """Return whether this mailbox has every record that the topics hold now."""
        partitions = [TopicPartition(t, p) for t in self.topics for p in self._consumer.partitions_for_topic(t) or ()]
        ends = await self._consumer.end_offsets(partitions)
        return all([await self._consumer.position(at) >= end for at, end in ends.items()])

    async def members(self) -> int:
        """Return how many members the workers' group has."""
        async with self._admin() as admin:
            (response,) = await admin.describe_consumer_groups([self._group])
        ((_error, _group, _state, _type, _protocol, members, *_),) = response.groups
        return len(members)

    async def committed(self) -> dict[TopicPartition, int]:
        """Return the committed offsets of the workers' group."""
        async with self._admin() as admin:
            offsets = await admin.list_consumer_group_offsets(self._group)
        return {at: max(found.offset, 0) for at, found in offsets.items()}

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._kafka)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


class Mailbox(AnyMailbox):
    """Holds all records of all topics of the service; use it as ``async with Mailbox(settings) as mailbox``."""

    def __init__(self, settings: Settings) -> None:
        inputs = (
            settings.assessment_request_topic,
            settings.llm_provider_callback_topic,
            settings.batch_events_topic,
        )
        super().__init__(settings, [spec.name for spec in registry(settings)], inputs)
        self.settings = settings

    def outcomes(self, kind: str, batch_id: str) -> list[dict[str, Any]]:
        """Return the events of ``kind`` (completed, failed or result) about a batch, repeats included."""
        documents = [json.loads(record.value or b"") for record in self.outcome_records(kind)]
        return [document for document in documents if document["data"]["entity_id"] == batch_id]

    def outcome_records(self, kind: str) -> list[Record]:
        """Return all records of an outcome topic."""
        return self.records[getattr(self.settings, f"assessment_{kind}_topic")]

    @property
    def dead_letters(self) -> list[StoredDeadLetter]:
        """The dead letters so far."""
        records = self.records[self.settings.dead_letters_topic]
        return [read_dead_letter(record.key, record.value, record.headers) for record in records]

"""The two producers of a worker: one for the log and the table, and one for what is published to others.

Hazard in Faust 0.15.3: its producer is not idempotent, so a retry may put an older row after a newer one.

Why what is published has a producer of its own: see `publisher`.

Hazard in aiokafka 0.14.0: ``send_batch`` gives up when the record batch before it on that partition has not left within
the request timeout, and counts the time that it waited more than once (``producer/message_accumulator.py``,
``add_batch``). Nothing is taken over then, so it is asked again: what was sent is tried again for ever too.

Tests: ``test_flush.py``; ``tests/kafka/test_flush.py``, ``tests/kafka/test_refused_outcomes.py``; the outages of the
kill suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import structlog
from aiokafka.errors import KafkaTimeoutError
from faust.transport.drivers.aiokafka import Producer as FaustProducer

from cj_stream.engine.hardening import engine_of
from cj_stream.engine.leaders import unhurried
from cj_stream.engine.limits import PUBLISHED_LIMIT
from cj_stream.engine.sender import Unsent

log = structlog.get_logger(__name__)

PUBLISH_SECONDS = 10.0
"""After this long without an acknowledgement a published record is given up; whoever wants to publishes it again."""

_PUBLISHING: dict[str, Any] = {
    "linger_ms": 0,
    # The smallest: each record is a batch, so that one that is refused takes no other with it.
    "max_batch_size": 1,
    # The topic's limit is for what is sent, that is for the compressed record.
    "compression_type": "gzip",
    "max_request_size": PUBLISHED_LIMIT,
    "request_timeout_ms": int(PUBLISH_SECONDS * 1000),
}


class IdempotentProducer(FaustProducer):
    """Faust's producer with the broker dropping repeats, so that acknowledgements are strictly in order."""

    _publishing: Any = None

    async def on_start(self) -> None:
        """Connect, and from then on do not ask for the leaders of partitions faster than somebody could answer."""
        await super().on_start()
        conf, kafka = self.app.conf, engine_of(self.app).settings.kafka
        self._publishing = kafka.producer(
            client_id=self.client_id,
            metadata_max_age_ms=conf.producer_metadata_max_age_ms,
            connections_max_idle_ms=conf.producer_connections_max_idle_ms,
            **_PUBLISHING,
        )
        await self._publishing.start()
        for producer in (self._producer, self._publishing):
            client = cast("Any", producer).client
            client._metadata_update = unhurried(client._metadata_update)  # noqa: SLF001 (aiokafka has no setting for it)

    async def on_stop(self) -> None:
        """Disconnect."""
        if self._publishing is not None:
            await self._publishing.stop()
        await super().on_stop()

    async def append(self, topic: str, partition: int, records: Sequence[Unsent]) -> asyncio.Future[Any]:
        """Send records in record batches of their own, in order, each of which is appended whole.

        Not to be called for a partition while an earlier call has not returned. The future resolves, with the metadata
        of the last record, when the broker has all of them, and fails when it does not take one.
        """
        producer = cast("Any", self._producer)
        sent = [await _append(producer, batch, topic, partition) for batch in record_batches(producer, records)]
        return asyncio.ensure_future(_last(sent))

    async def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        timestamp: float,
    ) -> asyncio.Future[Any]:
        """Send a record, stamped with ``timestamp`` (seconds since the epoch), alone and compressed.

        Returns once it is buffered; the future resolves when the broker has it, and fails when it does not take it.
        """
        sent: asyncio.Future[Any] = await self._publishing.send(
            topic, value, key=key, timestamp_ms=int(timestamp * 1000), headers=list(headers)
        )
        return sent

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}


def record_batches(producer: Any, records: Iterable[Unsent]) -> Iterator[Any]:
    """Yield record batches with these records; a record that is larger than a batch is in one alone."""
    batch = producer.create_batch()
    for key, value, headers in records:
        if batch.append(timestamp=None, key=key, value=value, headers=headers) is None:
            yield batch
            batch = producer.create_batch()
            batch.append(timestamp=None, key=key, value=value, headers=headers)
    # Or records that are sent alone would be put behind ours.
    batch.close()
    yield batch


async def _append(producer: Any, batch: Any, topic: str, partition: int) -> tuple[asyncio.Future[Any], int]:
    count = batch.record_count()
    while True:
        try:
            return await producer.send_batch(batch, topic, partition=partition), count
        except KafkaTimeoutError:
            log.warning("records wait for those before them", topic=topic, partition=partition, records=count)


async def _last(sent: Sequence[tuple[asyncio.Future[Any], int]]) -> Any:
    found = await asyncio.gather(*(future for future, _ in sent))
    return found[-1]._replace(offset=found[-1].offset + sent[-1][1] - 1)

"""Reads back from the broker what was published about the demo's batches, as any subscriber would."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import NamedTuple

from aiokafka import ConsumerRecord

from cj_stream.contracts.envelope import read_envelope
from cj_stream.engine.clients import READ_COMMITTED
from cj_stream.operations.settings import Settings


class PublishedOutcome(NamedTuple):
    """One outcome event as it stands in its topic."""

    batch_id: str
    kind: str
    event_id: str
    correlation_id: str
    topic: str
    partition: int
    offset: int


async def read_outcomes(
    settings: Settings, expected: Collection[tuple[str, str]], seconds: float
) -> list[PublishedOutcome]:
    """Return all outcome events from the start of their topics until the expected ones are among them.

    ``expected`` are pairs of batch id and kind (completed, failed, result). After ``seconds`` it returns what there is.
    """
    kinds = {
        settings.assessment_completed_topic: "completed",
        settings.assessment_failed_topic: "failed",
        settings.assessment_result_topic: "result",
    }
    consumer = settings.kafka.consumer(kinds, auto_offset_reset="earliest", isolation=READ_COMMITTED)
    await consumer.start()
    found: list[PublishedOutcome] = []
    missing = set(expected)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while missing:
                    outcome = _outcome(await consumer.getone(), kinds)
                    found.append(outcome)
                    missing.discard((outcome.batch_id, outcome.kind))
    finally:
        await consumer.stop()
    return found


def _outcome(record: ConsumerRecord, kinds: Mapping[str, str]) -> PublishedOutcome:
    envelope = read_envelope(record.value)
    return PublishedOutcome(
        batch_id=envelope.data["entity_id"],
        kind=kinds[record.topic],
        event_id=str(envelope.event_id),
        correlation_id=str(envelope.correlation_id),
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
    )

"""Puts a recording onto the topics of a broker, as its version left them: same offsets, same commits."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from recorded.recording import CHANGELOG, Recording

from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry


async def play(recording: Recording, settings: Settings) -> None:
    """Fill the topics of ``settings``, which exist and are empty, and commit what the version's group has read."""
    assert settings.partitions == recording.partitions
    assert settings.correlation_key.get_secret_value() == recording.correlation_key
    # Old records must not be too old for the broker.
    await _keep_for_ever([spec.name for spec in registry(settings) if spec.external], settings)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap, enable_idempotence=True) as producer:
        sent = [
            await producer.send(
                _topic(record.topic, settings),
                record.value,
                key=record.key,
                partition=record.partition,
                timestamp_ms=record.timestamp,
                headers=list(record.headers),
            )
            for record in recording.records
        ]
        offsets = [metadata.offset for metadata in await asyncio.gather(*sent)]
    # Rows and commits speak of offsets.
    assert offsets == [record.offset for record in recording.records]
    group = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, group_id=settings.app_id, enable_auto_commit=False
    )
    async with group:
        places = {
            TopicPartition(_topic(topic, settings), partition): offset
            for topic, offsets in recording.committed.items()
            for partition, offset in offsets.items()
        }
        group.assign(list(places))
        await group.commit(places)


def _topic(name: str, settings: Settings) -> str:
    return settings.changelog_topic if name == CHANGELOG else str(getattr(settings, name))


async def _keep_for_ever(topics: list[str], settings: Settings) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap)
    try:
        await admin.start()
        await admin.alter_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": "-1"}) for name in topics]
        )
    finally:
        await admin.close()

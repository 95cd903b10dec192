"""What lies on a topic, as bytes: to look for what should not be there."""

from __future__ import annotations

from aiokafka import TopicPartition

from cj_stream.engine.provisioning import partition_counts
from cj_stream.operations.settings import Settings


async def bytes_of(settings: Settings, topic: str) -> bytes:
    """Return all that a topic holds, keys, values and headers."""
    count = (await partition_counts(settings.kafka))[topic]
    partitions = [TopicPartition(topic, each) for each in range(count)]
    consumer = settings.kafka.consumer()
    await consumer.start()
    try:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends, found = await consumer.end_offsets(partitions), b""
        while any([await consumer.position(at) < ends[at] for at in partitions]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    headers = b"".join(content or b"" for _, content in record.headers)
                    found += (record.key or b"") + (record.value or b"") + headers
        return found
    finally:
        await consumer.stop()

"""Which partition a batch lives in: Kafka's own rule for keys, so that any client can compute it."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def home_partition(batch_id: str, partitions: int) -> int:
    """Return the home partition of a batch: murmur2 of its id, as Kafka's default partitioner has it."""
    home: int = (murmur2(batch_id.encode()) & 0x7FFFFFFF) % partitions
    return home

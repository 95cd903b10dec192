"""Which partition a key lives in: Kafka's own rule for keys, so that any client can compute it."""

from __future__ import annotations

from aiokafka.partitioner import murmur2


def home_partition(key: str, partitions: int) -> int:
    """Return the home partition of a key: murmur2 of it, as Kafka's default partitioner has it."""
    home: int = (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
    return home

"""The brokers of a cluster, as a client knows them.

Hazard in aiokafka 0.14.0: a broker lists the groups that it coordinates, and ``AIOKafkaAdminClient`` says neither of
which broker a group is, nor which brokers there are.

Test: ``tests/kafka/test_shared_input.py``.
"""

from __future__ import annotations

from aiokafka.admin import AIOKafkaAdminClient


def broker_ids(admin: AIOKafkaAdminClient) -> list[int]:
    """Return the ids of all brokers that a started client knows."""
    return sorted(broker.nodeId for broker in admin._client.cluster.brokers())  # noqa: SLF001 (aiokafka has no public way)

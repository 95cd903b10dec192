"""Partitions that are no more are not assigned.

Hazard in Faust 0.15.3: an assignment begins with what each member had, and a topic that was made anew with fewer
partitions is not compared with it (``assignor/copartitioned_assignor.py``, ``get_assignment``): partitions that do not
exist stay assigned, at the cost of some that do, and whoever has them waits for their offsets.

Tests: ``test_assignor.py``; ``tests/kafka/test_offsets.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata
from faust.assignor.partition_assignor import PartitionAssignor


class ExistingPartitionsAssignor(PartitionAssignor):
    """Faust's assignor, told only of earlier assignments that still can be."""

    def _perform_assignment(self, cluster: Any, member_metadata: Mapping[str, ConsumerProtocolMemberMetadata]) -> Any:
        existing = {member: _existing(cluster, metadata) for member, metadata in member_metadata.items()}
        return super()._perform_assignment(cluster, existing)


def _existing(cluster: Any, metadata: ConsumerProtocolMemberMetadata) -> ConsumerProtocolMemberMetadata:
    client = ClientMetadata.loads(metadata.user_data)
    before = client.assignment
    client.assignment = ClientAssignment(
        actives=_kept(cluster, before.actives), standbys=_kept(cluster, before.standbys)
    )
    return ConsumerProtocolMemberMetadata(metadata.version, metadata.subscription, client.dumps())


def _kept(cluster: Any, assigned: Mapping[str, list[int]]) -> dict[str, list[int]]:
    return {
        topic: [partition for partition in partitions if partition in (cluster.partitions_for_topic(topic) or ())]
        for topic, partitions in assigned.items()
    }

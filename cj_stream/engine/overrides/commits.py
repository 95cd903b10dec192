"""Commits that are not held up by a partition that does not exist any more.

Hazard in aiokafka 0.14.0: ``GroupCoordinator.commit_offsets`` (``consumer/group_coordinator.py`` 986) repeats a commit
for as long as the broker does not know one of its partitions, so without end when a topic was deleted. Faust's consumer
thread does one thing at a time: until then it commits nothing else, reads nothing and gives nothing up, and to the
watch over the cluster it looks as if Kafka was away.

Tests: ``test_gone_partitions.py``; a topic that is deleted before its last commit in ``tests/kafka/test_offsets.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

log = structlog.get_logger(__name__)


class GonePartitions:
    """Leaves partitions that are gone out of the commits of a consumer. In its thread, but for `left_out`."""

    def __init__(self, consumer: Any) -> None:
        self._client = consumer._client  # noqa: SLF001 (aiokafka asks for metadata in its own time only)
        coordinator = consumer._coordinator  # noqa: SLF001 (aiokafka has no hook for one try of a commit)
        self._commit = coordinator._do_commit_offsets  # noqa: SLF001 (as above)
        coordinator._do_commit_offsets = self.commit  # noqa: SLF001 (as above)
        self.left_out: frozenset[TopicPartition] = frozenset()
        """What the last commit left out."""

    async def commit(self, assignment: Any, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit once. Raises as aiokafka does, but for partitions that neither the group nor the cluster knows."""
        self.left_out = frozenset()
        try:
            await self._commit(assignment, offsets)
        except UnknownTopicOrPartitionError:
            await self._client.force_metadata_update()
            gone = frozenset(tp for tp in offsets if not self._exists(tp))
            if not gone:
                raise
            log.warning("partitions are gone: nothing is committed for them", partitions=sorted(map(_name, gone)))
            await self._commit(assignment, {tp: at for tp, at in offsets.items() if tp not in gone})
            self.left_out = gone

    def _exists(self, tp: TopicPartition) -> bool:
        return tp.partition in (self._client.cluster.partitions_for_topic(tp.topic) or ())


def _name(tp: TopicPartition) -> str:
    return f"{tp.topic}[{tp.partition}]"

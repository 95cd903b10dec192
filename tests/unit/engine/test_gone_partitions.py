from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupLoadInProgressError, UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from cj_stream.engine.overrides.commits import GonePartitions

HERE, SHRUNK, DELETED = TopicPartition("here", 0), TopicPartition("shrunk", 2), TopicPartition("deleted", 0)
OFFSETS = {tp: OffsetAndMetadata(8, "") for tp in (HERE, SHRUNK, DELETED)}


class Group:
    """A consumer, its group that takes commits of the partitions that are ``known``, and its cluster's metadata."""

    def __init__(self, *known: TopicPartition) -> None:
        self.known = set(known)
        self.described: Mapping[str, set[int]] = {tp.topic: {tp.partition} for tp in OFFSETS}
        self.committed: dict[TopicPartition, int] = {}
        self.trouble: Exception | None = None
        self._coordinator: Any = SimpleNamespace(_do_commit_offsets=self._commit)
        self._client = SimpleNamespace(
            force_metadata_update=self._asked, cluster=SimpleNamespace(partitions_for_topic=self._partitions)
        )

    async def _commit(self, _assignment: Any, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        if self.trouble is not None:
            raise self.trouble
        self.committed |= {tp: at.offset for tp, at in offsets.items() if tp in self.known}
        if offsets.keys() - self.known:
            raise UnknownTopicOrPartitionError

    async def _asked(self) -> bool:
        found = {topic: {tp.partition for tp in self.known if tp.topic == topic} for topic in ("here", "shrunk")}
        self.described = {**found, "shrunk": {0, 1}} if HERE in self.known else self.described
        return True

    def _partitions(self, topic: str) -> set[int] | None:
        return self.described.get(topic)

    async def commit(self) -> None:
        await self._coordinator._do_commit_offsets(None, OFFSETS)


async def test_what_exists_is_committed_and_what_is_gone_is_left_out() -> None:
    group = Group(HERE)
    gone = GonePartitions(group)
    await group.commit()
    assert group.committed == {HERE: 8}
    assert gone.left_out == {SHRUNK, DELETED}


async def test_a_topic_that_is_there_again_is_committed_again() -> None:
    group = Group(HERE)
    gone = GonePartitions(group)
    await group.commit()
    group.known |= {SHRUNK, DELETED}
    await group.commit()
    assert group.committed.keys() == OFFSETS.keys()
    assert not gone.left_out


async def test_a_commit_of_what_the_cluster_still_knows_is_tried_again() -> None:
    """A broker that has just started may not know it yet."""
    group = Group()
    gone = GonePartitions(group)
    with pytest.raises(UnknownTopicOrPartitionError):
        await group.commit()
    assert not gone.left_out


async def test_any_other_trouble_is_the_clients() -> None:
    group = Group(HERE)
    GonePartitions(group)
    group.trouble = GroupLoadInProgressError()
    with pytest.raises(GroupLoadInProgressError):
        await group.commit()

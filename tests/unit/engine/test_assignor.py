from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from faust.assignor.client_assignment import ClientAssignment, ClientMetadata

from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker


def member(*partitions: int) -> ConsumerProtocolMemberMetadata:
    assignment = ClientAssignment(actives={"requests": list(partitions)}, standbys={})
    metadata = ClientMetadata(assignment=assignment, url="http://here", changelog_distribution={})
    return ConsumerProtocolMemberMetadata(4, ["requests"], metadata.dumps())


def assigned(count: int, members: dict[str, ConsumerProtocolMemberMetadata]) -> list[int]:
    cluster: Any = SimpleNamespace(partitions_for_topic=lambda _topic: set(range(count)))
    found = build_worker(Settings()).faust.assignor.assign(cluster, members)
    return sorted(
        partition for one in found.values() for _topic, partitions in one.assignment for partition in partitions
    )


def test_a_topic_that_comes_back_with_fewer_partitions_is_assigned_what_there_is() -> None:
    assert assigned(1, {"first": member(0, 2), "second": member(1, 3)}) == [0]
    assert assigned(2, {"first": member(3, 2), "second": member(1, 0)}) == [0, 1]


def test_partitions_that_are_added_are_assigned() -> None:
    assert assigned(5, {"first": member(0, 2), "second": member(1)}) == [0, 1, 2, 3, 4]

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
from aiokafka.errors import TopicAlreadyExistsError

from cj_stream.engine import provisioning
from cj_stream.engine.clients import Kafka
from cj_stream.engine.limits import DEFAULT_TOPIC_LIMIT
from cj_stream.engine.provisioning import ProvisioningError, create_topics, topic_problems
from cj_stream.operations.settings import NAMES, Settings
from cj_stream.operations.topic_registry import registry

OWN = next(spec for spec in registry(Settings()) if not spec.external)

BROKER = Kafka("broker", NAMES)


class Cluster:
    """Topics with partitions and their leaders, in the place of aiokafka's admin client."""

    def __init__(self, *leaders: list[int]) -> None:
        self.looks = list(leaders)
        self.answer = (OWN.name, 0, "")
        self.largest = DEFAULT_TOPIC_LIMIT
        self.created: list[Any] = []
        self.seen: list[int] = []

    async def describe_topics(self) -> list[dict[str, Any]]:
        leaders = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        self.seen = leaders
        return [{"topic": OWN.name, "partitions": [{"leader": leader} for leader in leaders]}] if leaders else []

    async def create_topics(self, topics: list[Any]) -> Any:
        self.created += topics
        return type("Response", (), {"topic_errors": [self.answer]})

    async def describe_configs(self, _asked: list[Any]) -> list[Any]:
        configs = [("cleanup.policy", OWN.cleanup), ("max.message.bytes", str(self.largest))]
        return [type("Response", (), {"resources": [(0, "", 2, OWN.name, configs)]})]


def reached(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def admin(_bootstrap: str) -> AsyncIterator[Any]:
        yield cluster

    monkeypatch.setattr(provisioning, "_admin", admin)


@pytest.mark.parametrize(("replicas", "in_sync"), [(1, None), (2, None), (3, "2")])
async def test_with_three_replicas_two_must_have_a_write(
    replicas: int, in_sync: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster([], [1])
    reached(cluster, monkeypatch)
    assert await create_topics(BROKER, [OWN], replicas) == [OWN.name]
    (topic,) = cluster.created
    assert (topic.replication_factor, topic.topic_configs.get("min.insync.replicas")) == (replicas, in_sync)


async def test_a_topic_is_there_once_every_partition_has_a_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster([], [1, -1], [1, 2])
    reached(cluster, monkeypatch)
    await create_topics(BROKER, [OWN], 1)
    assert cluster.seen == [1, 2]


async def test_a_topic_that_another_process_creates_first_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster([], [1])
    cluster.answer = (OWN.name, TopicAlreadyExistsError.errno, "")
    reached(cluster, monkeypatch)
    assert await create_topics(BROKER, [OWN], 1) == []


async def test_a_topic_that_the_broker_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster([], [1])
    cluster.answer = (OWN.name, 38, "replication factor 3 is larger than 1")
    reached(cluster, monkeypatch)
    with pytest.raises(ProvisioningError, match=f"{OWN.name} .*larger than 1"):
        await create_topics(BROKER, [OWN], 3)


@pytest.mark.parametrize("found", [OWN.partitions - 1, OWN.partitions + 1])
async def test_a_topic_with_too_few_or_too_many_partitions_is_a_problem(
    found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached(Cluster([1] * found), monkeypatch)
    (problem,) = await topic_problems(BROKER, [OWN])
    assert f"partition count of {found} instead of {OWN.partitions}" in problem


@pytest.mark.parametrize("policy", ["delete,compact", "other"])
async def test_a_topic_with_another_cleanup_policy_is_a_problem(policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    reached(Cluster([1] * OWN.partitions), monkeypatch)
    (problem,) = await topic_problems(BROKER, [replace(OWN, cleanup=cast("Any", policy))])
    assert f"instead of {policy}" in problem


async def test_a_log_that_does_not_take_the_largest_record_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster([1] * OWN.partitions)
    reached(cluster, monkeypatch)
    assert await topic_problems(BROKER, [OWN]) == []
    cluster.largest = OWN.largest_record - 1
    (problem,) = await topic_problems(BROKER, [OWN])
    assert f"at most {OWN.largest_record - 1} bytes" in problem
    assert "--add-config max.message.bytes=" in problem
    assert await topic_problems(BROKER, [replace(OWN, largest_record=0)]) == []


async def test_a_topic_of_the_platform_may_be_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    reached(Cluster([1] * (OWN.partitions + 1)), monkeypatch)
    assert await topic_problems(BROKER, [replace(OWN, external=True, cleanup=cast("Any", "other"))]) == []

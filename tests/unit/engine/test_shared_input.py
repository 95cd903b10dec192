from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from structlog.testing import capture_logs

from cj_stream.engine import clients, shared_input
from cj_stream.engine.shared_input import check_shared_input
from cj_stream.operations.settings import Settings
from cj_stream.worker import own_input

SETTINGS = Settings(app_id="ours")
REQUESTS, EVENTS = SETTINGS.assessment_request_topic, SETTINGS.batch_events_topic


class RefusedError(Exception):
    """The worker does not start."""


class Cluster:
    """Two brokers with groups, in the place of aiokafka's admin client."""

    def __init__(self) -> None:
        self.groups: dict[int, dict[str, dict[str, int]]] = {1: {"ours": {REQUESTS: 5, EVENTS: 5}}, 2: {}}
        self.members: dict[str, list[Any]] = {}
        self.protocol = "faust"
        self.error: Exception | None = None
        self.secret: set[str] = set()
        self._client = SimpleNamespace(cluster=SimpleNamespace(brokers=self._nodes))

    def _nodes(self) -> list[Any]:
        return [SimpleNamespace(nodeId=number) for number in self.groups]

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        """Nothing to do."""

    async def list_consumer_groups(self, brokers: list[int]) -> list[tuple[str, str]]:
        return [(name, "consumer") for broker in brokers for name in self.groups[broker]]

    async def list_consumer_group_offsets(self, name: str, broker: int) -> dict[TopicPartition, OffsetAndMetadata]:
        if name in self.secret:
            raise GroupAuthorizationFailedError(name)
        offsets = self.groups[broker][name]
        return {TopicPartition(topic, 0): OffsetAndMetadata(offset, "") for topic, offset in offsets.items()}

    async def describe_consumer_groups(self, names: list[str], _broker: int | None = None) -> list[Any]:
        members = self.members.get(names[0], [])
        return [SimpleNamespace(groups=[(0, names[0], "Stable", "consumer", self.protocol, members)])]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    cluster = Cluster()

    def refuse(problems: list[str]) -> None:
        raise RefusedError("; ".join(problems))

    monkeypatch.setattr(clients, "AIOKafkaAdminClient", lambda **_: cluster)
    monkeypatch.setattr(shared_input, "refuse_to_start", refuse)
    return cluster


async def test_an_input_that_nobody_else_reads_is_no_matter(cluster: Cluster) -> None:
    cluster.groups[2] = {"gateway": {SETTINGS.llm_provider_callback_topic: 9}, "idle": {REQUESTS: -1}}
    with capture_logs() as logs:
        await check_shared_input(SETTINGS, own_input(SETTINGS))
    assert logs == []


@pytest.mark.parametrize("topic", [REQUESTS, EVENTS])
async def test_another_group_on_the_input_is_refused_and_named_with_its_topic(cluster: Cluster, topic: str) -> None:
    cluster.groups[2] = {"theirs": {topic: 0}}
    with pytest.raises(RefusedError, match=f"group theirs has committed offsets of {topic} and has no members now"):
        await check_shared_input(SETTINGS, own_input(SETTINGS))
    cluster.members["theirs"] = [("member", "client", "/host", b"", b"")]
    with pytest.raises(RefusedError, match=r"and has members now \(1\).*CJ_SHARED_INPUT=yes"):
        await check_shared_input(SETTINGS, own_input(SETTINGS))


async def test_who_shares_on_purpose_is_told_and_starts(cluster: Cluster) -> None:
    cluster.groups[1]["theirs"] = {REQUESTS: 7}
    with capture_logs() as logs:
        await check_shared_input(SETTINGS.model_copy(update={"shared_input": True}), own_input(SETTINGS))
    assert [(entry["group"], entry["topics"], entry["members"]) for entry in logs] == [("theirs", (REQUESTS,), 0)]


async def test_a_stranger_in_our_own_group_is_refused_whatever_is_shared(cluster: Cluster) -> None:
    cluster.members["ours"] = [("member", "their-client", "/10.0.0.9", b"", b"")]
    await check_shared_input(SETTINGS, own_input(SETTINGS))
    cluster.protocol = "range"
    with pytest.raises(RefusedError, match=r"their-client at /10\.0\.0\.9 is a member of group ours"):
        await check_shared_input(SETTINGS.model_copy(update={"shared_input": True}), own_input(SETTINGS))


async def test_a_group_that_may_not_be_asked_is_named_and_hides_no_other(cluster: Cluster) -> None:
    cluster.groups[1]["secret"] = {REQUESTS: 1}
    cluster.groups[2] = {"theirs": {REQUESTS: 1}}
    cluster.secret = {"secret"}
    with capture_logs() as logs, pytest.raises(RefusedError, match="theirs"):
        await check_shared_input(SETTINGS, own_input(SETTINGS))
    assert [entry["group"] for entry in logs] == ["secret"]


@pytest.mark.parametrize("error", [KafkaConnectionError("away"), TimeoutError()])
async def test_a_broker_that_does_not_tell_is_said_and_keeps_no_worker_from_starting(
    cluster: Cluster, error: Exception
) -> None:
    cluster.error = error
    with capture_logs() as logs:
        await check_shared_input(SETTINGS, own_input(SETTINGS))
    assert [entry["event"] for entry in logs] == ["whether another group works on our input is not known"]


async def test_a_cluster_that_takes_too_long_to_tell_is_not_waited_for(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_input, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(cluster, "start", lambda: asyncio.sleep(60))
    with capture_logs() as logs:
        await check_shared_input(SETTINGS, own_input(SETTINGS))
    assert [entry["event"] for entry in logs] == ["whether another group works on our input is not known"]

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiokafka.errors import GroupCoordinatorNotAvailableError

from cj_stream.engine import clients
from cj_stream.engine.clients import Kafka
from cj_stream.engine.overrides import membership
from cj_stream.engine.overrides.membership import Member, claim
from cj_stream.operations.settings import NAMES

NAME = "worker-1"
OWN = "http://here:6066"
AWAY = "http://127.0.0.1:9"


class RefusedError(Exception):
    """The worker does not start."""


class Group:
    """A group with one member, in the place of aiokafka's admin client."""

    def __init__(self, name: str, url: str) -> None:
        self.members = [(f"{name}-{uuid4()}", url, "", b"", b"")]
        self.error: Exception | None = None
        self.left: list[Any] = []
        self.closed = False

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def close(self) -> None:
        self.closed = True

    async def describe_consumer_groups(self, _groups: list[str]) -> list[Any]:
        return [type("Response", (), {"groups": [(0, "group", "Stable", "consumer", "faust", self.members)]})]

    async def find_coordinator(self, _group: str) -> int:
        return 1

    async def _send_request(self, request: Any, _node: int) -> None:
        self.left.append(request)


async def claimed(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(problems: list[str]) -> None:
        raise RefusedError(problems[0])

    monkeypatch.setattr(clients, "AIOKafkaAdminClient", lambda **_: group)
    monkeypatch.setattr(membership, "_member", lambda member_id, url, *_: Member(member_id, frozenset({url})))
    monkeypatch.setattr(membership, "refuse_to_start", refuse)
    try:
        await claim(Kafka("broker", NAMES), "group", NAME, OWN)
    finally:
        assert group.closed


def worker(name: str) -> TestServer:
    async def live(_request: web.Request) -> web.Response:
        return web.json_response({"worker_id": name})

    app = web.Application()
    app.router.add_get("/healthz/live", live)
    return TestServer(app)


async def test_a_name_that_a_running_worker_has_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async with worker(NAME) as running:
        group = Group(NAME, str(running.make_url("/")))
        with pytest.raises(RefusedError, match="has the name worker-1 and runs"):
            await claimed(group, monkeypatch)
    assert group.left == []


async def test_what_is_left_at_another_address_is_taken_out_even_if_another_worker_answers_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with worker("worker-2") as other:
        group = Group(NAME, str(other.make_url("/")))
        await claimed(group, monkeypatch)
    assert len(group.left) == 1


@pytest.mark.parametrize(("name", "url"), [(NAME, OWN), ("worker-10", AWAY), ("worker-1-b", AWAY)])
async def test_what_is_left_at_our_address_and_who_has_another_name_stays(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(_url: str, _name: str) -> bool:
        return False

    monkeypatch.setattr(membership, "_answers", nobody)
    group = Group(name, url)
    await claimed(group, monkeypatch)
    assert group.left == []


async def test_a_coordinator_that_does_not_tell_keeps_nobody_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(NAME, AWAY)
    group.error = GroupCoordinatorNotAvailableError()
    await claimed(group, monkeypatch)
    assert group.left == []

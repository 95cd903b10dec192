from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, SyncGroupRequest
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from cj_stream.engine import process
from cj_stream.engine.fence import Fence
from cj_stream.engine.overrides.consumer import FencedConsumerThread
from cj_stream.engine.overrides.membership import FENCED_INSTANCE_ID, GROUP_MAX_SIZE_REACHED, MembershipWatch
from cj_stream.operations.settings import NAMES

HEARTBEAT = HeartbeatRequest("group", 1, "member")
JOIN = JoinGroupRequest("group", 10_000, 60_000, "member", "worker-1", "consumer", [])
SYNC = SyncGroupRequest("group", 1, "member", "worker-1", [])
COMMIT = OffsetCommitRequest("group", 1, "member", -1, [])


class Ended(BaseException):
    """The process has ended."""


@pytest.fixture(autouse=True)
def _ends(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(code: int) -> None:
        raise Ended(code)

    monkeypatch.setattr(os, "_exit", end)


class Coordinator:
    """A coordinator that gives the same answer to everything, while an hour goes by, and who watches it."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.clock = 0.0
        with self.time():
            self.fence = Fence(session_timeout=10)
        self.watch = MembershipWatch(self._send, self.fence, "worker-1", "the-group", NAMES)

    def time(self) -> Any:
        return patch.object(time, "clock_gettime", lambda _: self.clock)

    async def _send(self, _request: Any) -> Any:
        self.clock += 3600.0
        return self.answer

    async def asked(self, request: Any) -> float:
        """Send a request; return the silence after it."""
        with self.time(), patch("cj_stream.engine.overrides.membership.now", lambda: self.clock):
            assert await self.watch.send(request) is self.answer
            return self.fence.silence


def refusal(code: int) -> Any:
    return SimpleNamespace(error_code=code)


def commit(*codes: int) -> Any:
    return SimpleNamespace(topics=[("topic", list(enumerate(codes)))])


@pytest.mark.parametrize("code", [0, RebalanceInProgressError.errno])
async def test_an_answered_heartbeat_is_a_sign_of_life_as_of_its_request(code: int) -> None:
    coordinator = Coordinator(refusal(code))
    coordinator.clock = 100.0
    assert await coordinator.asked(HEARTBEAT) == 3600.0


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (HEARTBEAT, refusal(UnknownMemberIdError.errno)),
        (HEARTBEAT, refusal(IllegalGenerationError.errno)),
        (JOIN, refusal(FENCED_INSTANCE_ID)),
        (SYNC, refusal(FENCED_INSTANCE_ID)),
        (COMMIT, commit(0, UnknownMemberIdError.errno)),
    ],
)
async def test_a_worker_that_the_group_has_dropped_ends_itself(
    request_: Any, answer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Ended, match=str(process.EXIT_CODE)):
        await Coordinator(answer).asked(request_)
    assert "another worker has joined under its name" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        # A first join gets an unknown member id as its answer, and a commit that crosses a rebalance an old generation.
        (JOIN, refusal(UnknownMemberIdError.errno)),
        (COMMIT, commit(IllegalGenerationError.errno)),
        (COMMIT, commit(0, 0)),
    ],
)
async def test_other_answers_change_nothing(request_: Any, answer: Any) -> None:
    coordinator = Coordinator(answer)
    assert await coordinator.asked(request_) == 3600.0


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (InvalidSessionTimeoutError.errno, "CJ_SESSION_TIMEOUT_SECONDS=10"),
        (InconsistentGroupProtocolError.errno, "CJ_APP_ID=the-group"),
        (GroupAuthorizationFailedError.errno, "CJ_APP_ID=the-group"),
        (GROUP_MAX_SIZE_REACHED, "group.max.size"),
    ],
)
async def test_a_worker_that_may_not_join_says_what_to_change(
    code: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Ended, match=str(process.NOT_CONFIGURED)):
        await Coordinator(refusal(code)).asked(JOIN)
    assert named in capsys.readouterr().out


async def test_who_stops_leaves_the_group_though_it_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a name aiokafka leaves nothing, and the partitions would stand still for a session."""
    names: list[str | None] = []

    async def leaves(thread: Any) -> None:
        names.append(thread._consumer._coordinator._group_instance_id)

    monkeypatch.setattr(AIOKafkaConsumerThread, "on_thread_stop", leaves)
    thread: Any = FencedConsumerThread.__new__(FencedConsumerThread)
    thread._consumer = SimpleNamespace(_coordinator=SimpleNamespace(_group_instance_id="worker-1"))
    await thread.on_thread_stop()
    assert names == [None]

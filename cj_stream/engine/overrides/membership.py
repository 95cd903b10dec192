"""A worker has a name in its group, and who comes back under a name gets its partitions without a rebalance.

Kafka calls it static membership: the name is the group instance id. A second worker that joins under a name takes over,
and the broker drops the first. Hazards: aiokafka 0.14 heartbeats and commits without the name, so the dropped worker
hears "unknown member" and would join again, dropping the other in its turn. Faust 0.15.3 asserts that a member still
has the address it had when its partitions were assigned (``assignor/partition_assignor.py`` 144).
So a worker that the group has dropped ends its own process (`MembershipWatch`). And before a worker joins, it looks
whether another one has its name (`claim`).

Tests: ``test_membership.py``; ``tests/kafka/test_worker_start.py`` (two workers with one name).
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import aiohttp
import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IllegalGenerationError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    KafkaError,
    NoError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest
from faust.assignor.client_assignment import ClientMetadata

from cj_stream.engine.clients import Kafka
from cj_stream.engine.fence import Fence, now
from cj_stream.engine.foreign_answers import body_of
from cj_stream.engine.naming import Names
from cj_stream.engine.process import end_process, refuse_to_start

log = structlog.get_logger(__name__)

GROUP_MAX_SIZE_REACHED = 81
FENCED_INSTANCE_ID = 82
"""The broker's error code, unknown to aiokafka: another member has the name."""
_SESSION = (
    "the broker takes no session of {session_setting}={session:g}: choose one between its "
    "group.min.session.timeout.ms and group.max.session.timeout.ms, or change those"
)
_REFUSED = {
    InvalidSessionTimeoutError.errno: _SESSION,
    InconsistentGroupProtocolError.errno: "another program uses the group of {app_id}={group}: choose another",
    InvalidGroupIdError.errno: "{app_id}={group} is no name for a group to this broker: choose another",
    GroupAuthorizationFailedError.errno: "Kafka refuses this worker the group of {app_id}={group}: grant it READ",
    GROUP_MAX_SIZE_REACHED: "the group of {app_id}={group} has as many members as the broker allows (group.max.size)",
}
"""What the broker says to who may not join, by its error code; no other start helps before somebody changes it."""
_MEMBER_STILL = {NoError.errno, RebalanceInProgressError.errno}
_DROPPED = {UnknownMemberIdError.errno, IllegalGenerationError.errno}
_UUID_SUFFIX = len("-00000000-0000-0000-0000-000000000000")
_ANSWER = aiohttp.ClientTimeout(total=2.0)
_HEALTH_LIMIT = 64 * 1024
"""Bytes of an answer of ``healthz/live`` that are read."""
_OWN_NAME = "give each worker its own {worker_id}, or none: its {data_dir} then keeps one"

Send = Callable[[Any], Awaitable[Any]]


class MembershipWatch:
    """Sees every answer of the group's coordinator: feeds the fence, and ends a worker that the group has dropped."""

    def __init__(self, send: Send, fence: Fence, name: str, group: str, names: Names) -> None:
        self._send = send
        self._fence = fence
        self._name = name
        self._group = group
        self._names = names

    async def send(self, request: Any) -> Any:
        """Send a request to the coordinator and look at its answer before anybody else does."""
        sent = now()
        response = await self._send(request)
        if isinstance(request, HeartbeatRequest):
            self._heartbeat(response.error_code, sent)
        elif isinstance(request, (JoinGroupRequest, SyncGroupRequest)):
            self._joining(response.error_code)
        elif isinstance(request, OffsetCommitRequest):
            self._committing({code for _, partitions in response.topics for _, code in partitions})
        return response

    def _heartbeat(self, code: int, sent: float) -> None:
        if code in _MEMBER_STILL:
            # As of the request: the answer may have lain unread while this process was stopped.
            self._fence.contact(sent)
        elif code in _DROPPED:
            self._dropped()

    def _joining(self, code: int) -> None:
        if code == FENCED_INSTANCE_ID:
            self._dropped()
        if code in _REFUSED:
            facts = {"session": self._fence.session, "group": self._group}
            refuse_to_start([_REFUSED[code].format(**facts, **_settings(self._names))])

    def _committing(self, codes: set[int]) -> None:
        # Not for an old generation: a commit that crosses a rebalance may have one.
        if UnknownMemberIdError.errno in codes:
            self._dropped()

    def _dropped(self) -> None:
        end_process(
            "the group has dropped this worker: its partitions belong to others. If the last answer is recent, another "
            f"worker has joined under its name: {_own_name(self._names)}",
            worker_id=self._name,
            last_answer_seconds_ago=round(self._fence.silence, 2),
        )


@dataclass(frozen=True)
class Member:
    """A member of the group: its id, and the addresses it has told and was assigned partitions under."""

    member_id: str
    urls: frozenset[str]


async def claim(kafka: Kafka, group: str, name: str, own_url: str) -> None:
    """Make sure that no other worker goes by ``name``: end the process with exit code 78 if one does and answers.

    A member of that name that does not answer is what is left of this worker, and joining takes its place; with another
    address it would not fit in there, so it is taken out of the group.
    """
    admin = kafka.admin()
    try:
        await admin.start()
        for member in await _members(admin, group, name):
            for url in member.urls:
                if await _answers(url, name):
                    refuse_to_start([f"the worker at {url} has the name {name} and runs: {_own_name(kafka.names)}"])
            if member.urls != {own_url}:
                log.info("taking what is left of this worker out of the group", worker_id=name, was=sorted(member.urls))
                await _send(admin, group, LeaveGroupRequest(group, member.member_id))
    except KafkaError as error:
        # Nobody has joined yet, or the broker is just in trouble. Two workers that slip through meet at the broker.
        log.info("the members of the group are not known", why=repr(error))
    finally:
        await admin.close()


def _settings(names: Names) -> dict[str, str]:
    return {"app_id": names.setting("app_id"), "session_setting": names.setting("session_timeout_seconds")}


def _own_name(names: Names) -> str:
    return _OWN_NAME.format(worker_id=names.setting("worker_id"), data_dir=names.setting("data_dir"))


async def _members(admin: AIOKafkaAdminClient, group: str, name: str) -> list[Member]:
    (response,) = await admin.describe_consumer_groups([group])
    ((_error, _group, _state, _type, _protocol, members, *_),) = response.groups
    # The broker makes a member's id from its name and a UUID; the name itself is only in answers newer than aiokafka's.
    return [_member(*found) for found in members if found[0][:-_UUID_SUFFIX] == name]


def _member(member_id: str, _client: str, _host: str, metadata: bytes, assignment: bytes) -> Member:
    told = [ConsumerProtocolMemberMetadata.decode(metadata).user_data] if metadata else []
    assigned = [zlib.decompress(ConsumerProtocolMemberAssignment.decode(assignment).user_data)] if assignment else []
    return Member(member_id, frozenset(str(ClientMetadata.loads(data).url) for data in told + assigned))


async def _send(admin: AIOKafkaAdminClient, group: str, request: Any) -> None:
    coordinator = await admin.find_coordinator(group)
    await admin._send_request(request, coordinator)  # noqa: SLF001 (aiokafka's admin cannot take a member out)


async def _answers(url: str, name: str) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=_ANSWER) as http,
            http.get(f"{url.rstrip('/')}/healthz/live", allow_redirects=False) as response,
        ):
            health = json.loads(await body_of(response, _HEALTH_LIMIT))
            return response.status == HTTPStatus.OK and isinstance(health, dict) and health.get("worker_id") == name
    except (aiohttp.ClientError, TimeoutError, ValueError, RecursionError):
        return False

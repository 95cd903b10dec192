"""Nobody else works on our input: another group that commits offsets of it is found, and the worker refuses to run.

Two applications with the same topics each do everything, so every effect is carried out, and paid for, twice. Nothing
in Kafka is against it: to the broker they are two groups that read one topic. So before a worker starts it looks for
offsets that others have committed, of our inputs and of our own events topic; and once more when it has joined
its own group, because two fleets that are started in the same moment have both committed nothing at the first look.

Whether such a group lives does not matter, but it is told: what a dead one has read would be read again. Who knows what
they do set ``shared_input``: it is said in the log, and nothing more. An app leaves out an input that is meant to be
shared.

A member of our own group that is no worker of ours is never right: the broker would let neither join beside the other.

Tests: ``test_shared_input.py``; ``tests/kafka/test_shared_input.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from cj_stream.engine.clients import Kafka
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.overrides.brokers import broker_ids
from cj_stream.engine.process import refuse_to_start

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 20.0
"""All groups of a cluster are asked for their offsets; there may be thousands."""
AT_ONCE = 20
WORKERS_PROTOCOL = "faust"
"""How the members of our group divide the partitions; other consumers have other ways."""
_STRANGER = "no worker of ours: give that program another group id, or this service another {app_id}"


@dataclass(frozen=True)
class OwnInput:
    """The topics that nobody else may work on, the settings that name them, and what happens if somebody does."""

    topics: tuple[str, ...]
    settings: str
    consequence: str


@dataclass(frozen=True)
class OtherGroup:
    """A group that is not ours, the topics of ours that it has committed offsets of, and how many members it has."""

    name: str
    topics: tuple[str, ...]
    members: int


async def check_shared_input(settings: EngineSettings, own: OwnInput) -> None:
    """End the process with exit code 78 if another group works on our input; who cannot be asked is only logged."""
    names = settings.names
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await other_groups(settings.kafka, settings.app_id, own.topics)
            strangers = await strangers_in(settings.kafka, settings.app_id)
    except (KafkaError, TimeoutError) as error:
        log.warning("whether another group works on our input is not known", why=repr(error))
        return
    problems = [f"{stranger} {_STRANGER.format(app_id=names.setting('app_id'))}" for stranger in strangers]
    if not settings.shared_input:
        problems += [_refusal(group, settings, own) for group in found]
    if problems:
        refuse_to_start(problems)
    for group in found:
        log.warning("another group works on our input", group=group.name, topics=group.topics, members=group.members)


async def other_groups(kafka: Kafka, own: str, topics: Collection[str]) -> list[OtherGroup]:
    """Return the groups other than ``own`` that have committed offsets of ``topics``."""
    admin = kafka.admin()
    try:
        await admin.start()
        found = [group for broker in broker_ids(admin) for group in await _groups_of(admin, broker, own, topics)]
    finally:
        await admin.close()
    return sorted(found, key=lambda group: group.name)


async def strangers_in(kafka: Kafka, own: str) -> list[str]:
    """Return who is in our group and is no worker of ours: each with its client id and its host."""
    admin = kafka.admin()
    try:
        await admin.start()
        (response,) = await admin.describe_consumer_groups([own])
    finally:
        await admin.close()
    ((_error, _group, _state, _type, protocol, members, *_),) = response.groups
    # In the middle of a rebalance there is no protocol.
    strange = protocol not in ("", WORKERS_PROTOCOL)
    return [f"{client} at {host} is a member of group {own} and" for _, client, host, *_ in members if strange]


async def _groups_of(
    admin: AIOKafkaAdminClient, broker: int, own: str, topics: Collection[str]
) -> Iterator[OtherGroup]:
    # A broker lists the groups that it coordinates, so it is the one to be asked about them.
    names = sorted({group[0] for group in await admin.list_consumer_groups([broker])} - {own})
    few = asyncio.Semaphore(AT_ONCE)

    async def asked(name: str) -> OtherGroup | None:
        async with few:
            return await _other_group(admin, broker, name, topics)

    return (group for group in await asyncio.gather(*map(asked, names)) if group is not None)


async def _other_group(
    admin: AIOKafkaAdminClient, broker: int, name: str, topics: Collection[str]
) -> OtherGroup | None:
    try:
        offsets = await admin.list_consumer_group_offsets(name, broker)
        shared = sorted({at.topic for at, found in offsets.items() if found.offset >= 0 and at.topic in topics})
        return OtherGroup(name, tuple(shared), await _members(admin, broker, name)) if shared else None
    except KafkaError as error:
        log.warning("what a group has committed is not known", group=name, why=repr(error))
        return None


async def _members(admin: AIOKafkaAdminClient, broker: int, name: str) -> int:
    (response,) = await admin.describe_consumer_groups([name], broker)
    ((_error, _group, _state, _type, _protocol, members, *_),) = response.groups
    return len(members)


def _refusal(group: OtherGroup, settings: EngineSettings, own: OwnInput) -> str:
    names = settings.names
    lives = f"and has members now ({group.members})" if group.members else "and has no members now"
    return (
        f"group {group.name} has committed offsets of {' and '.join(group.topics)} {lives}, and this is "
        f"{settings.app_id}: both would do everything, and {own.consequence}. If that is another service, "
        f"give this one topics of its own ({own.settings}). If it is what is left of an earlier "
        f"{names.setting('app_id')}, remove it: kafka-consumer-groups.sh --delete --group {group.name}. If both are "
        f"meant to read, set {names.setting('shared_input')}=yes"
    )

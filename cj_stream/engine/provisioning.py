"""The topics on the broker: create those that are missing, and say what is wrong with those that are there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from cj_stream.engine.clients import Kafka
from cj_stream.engine.limits import DEFAULT_TOPIC_LIMIT
from cj_stream.engine.naming import Names
from cj_stream.engine.topics import TopicSpec

log = structlog.get_logger(__name__)

_LEADERS_TIMEOUT_SECONDS = 30.0
_POLL_SECONDS = 0.05
_REPLICAS_FOR_TWO_IN_SYNC = 3


class ProvisioningError(Exception):
    """The broker cannot be reached or refused a topic; the text says which and what to do."""


class NoBrokerError(ProvisioningError):
    """Nothing that speaks Kafka answers at the address."""


async def create_topics(kafka: Kafka, specs: Sequence[TopicSpec], replication_factor: int) -> list[str]:
    """Create the topics that are missing, wait until they have leaders, and return their names.

    With three replicas or more, a write counts once two of them have it (``min.insync.replicas``).

    Raises:
        ProvisioningError: no broker answers, or it refused a topic.

    """
    async with _admin(kafka) as admin:
        present = await _partition_counts(admin)
        missing = [spec for spec in specs if spec.name not in present]
        if not missing:
            return []
        response = await admin.create_topics([_new_topic(spec, replication_factor) for spec in missing])
        created = [name for name, code, message in response.topic_errors if _is_created(name, code, message)]
        await _wait_for_leaders(admin, missing)
        return created


async def topic_problems(kafka: Kafka, specs: Sequence[TopicSpec]) -> list[str]:
    """Return a sentence, with its remedy, for each topic that is not as the app needs it.

    Every topic must exist. One of our own must also have its partition count and its cleanup policy.

    Raises:
        ProvisioningError: no broker answers.

    """
    async with _admin(kafka) as admin:
        partitions = await _partition_counts(admin)
        missing = [spec for spec in specs if spec.name not in partitions]
        own = [spec for spec in specs if spec.name in partitions and not spec.external]
        configs = await _configs(admin, [spec.name for spec in own])
    create = f"{kafka.names.command} topics create"
    return [
        *(f"topic {spec.name} does not exist: create it with {create}" for spec in missing),
        *(
            _wrong_count(spec, partitions[spec.name], kafka.names)
            for spec in own
            if partitions[spec.name] != spec.partitions
        ),
        *(
            _wrong_policy(spec, config["cleanup.policy"])
            for spec, config in ((spec, configs[spec.name]) for spec in own)
            if config["cleanup.policy"] != spec.cleanup
        ),
        *(
            _too_small(spec, config["max.message.bytes"])
            for spec, config in ((spec, configs[spec.name]) for spec in own)
            if int(config["max.message.bytes"]) < spec.largest_record
        ),
    ]


async def largest_records(kafka: Kafka, topics: Sequence[str]) -> dict[str, int]:
    """Return the largest record batch that each of these topics takes, in bytes, where the broker tells it.

    Raises:
        ProvisioningError: no broker answers.

    """
    found = {}
    async with _admin(kafka) as admin:
        for topic in topics:
            try:
                configs = await _configs(admin, [topic])
            except ProvisioningError as error:
                log.warning("the largest record of a topic is not known", topic=topic, why=str(error))
            else:
                found[topic] = int(configs[topic]["max.message.bytes"])
    return found


async def partition_counts(kafka: Kafka) -> dict[str, int]:
    """Return every topic of the cluster with its number of partitions.

    Raises:
        ProvisioningError: no broker answers.

    """
    async with _admin(kafka) as admin:
        return await _partition_counts(admin)


@asynccontextmanager
async def _admin(kafka: Kafka) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = kafka.admin()
    try:
        await admin.start()
        yield admin
    except (KafkaConnectionError, TimeoutError) as error:
        raise NoBrokerError(f"no Kafka answers at {kafka.bootstrap} ({kafka.setting})") from error
    except KafkaError as error:
        raise ProvisioningError(f"Kafka at {kafka.bootstrap} refused: {error}") from error
    finally:
        await admin.close()


async def _describe(admin: AIOKafkaAdminClient) -> list[dict[str, Any]]:
    # All topics, not ours by name: a broker that creates topics on demand would create those that it is asked about.
    topics: list[dict[str, Any]] = await admin.describe_topics()
    return topics


async def _partition_counts(admin: AIOKafkaAdminClient) -> dict[str, int]:
    return {topic["topic"]: len(topic["partitions"]) for topic in await _describe(admin)}


async def configurations(kafka: Kafka, topics: Sequence[str], wanted: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return what those of these topics that there are have in their configuration.

    Raises:
        ProvisioningError: no broker answers, or it does not tell.

    """
    async with _admin(kafka) as admin:
        present = await _partition_counts(admin)
        return await _configs(admin, [topic for topic in topics if topic in present], wanted)


async def _configs(
    admin: AIOKafkaAdminClient, topics: Sequence[str], wanted: Sequence[str] = ("cleanup.policy", "max.message.bytes")
) -> dict[str, dict[str, str]]:
    """Return, by topic, what is ``wanted`` of its configuration. Raises `ProvisioningError`."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic, dict.fromkeys(wanted)) for topic in topics]
    responses = await admin.describe_configs(asked) if asked else []
    found = [resource for response in responses for resource in response.resources]
    for code, message, _kind, name, _entries in found:
        if code:
            raise ProvisioningError(f"Kafka does not tell the configuration of topic {name}: {message}")
    return {name: {entry[0]: entry[1] for entry in entries} for _code, _message, _kind, name, entries in found}


def _new_topic(spec: TopicSpec, replication_factor: int) -> NewTopic:
    config = spec.config()
    if replication_factor >= _REPLICAS_FOR_TWO_IN_SYNC:
        config["min.insync.replicas"] = "2"
    return NewTopic(spec.name, spec.partitions, replication_factor, topic_configs=config)


def _is_created(name: str, code: int, message: str | None) -> bool:
    if code == TopicAlreadyExistsError.errno:  # another process was quicker
        return False
    if code:
        raise ProvisioningError(f"Kafka refused to create topic {name} ({message or for_code(code).description})")
    return True


async def _wait_for_leaders(admin: AIOKafkaAdminClient, specs: Sequence[TopicSpec]) -> None:
    deadline = time.monotonic() + _LEADERS_TIMEOUT_SECONDS
    names = {spec.name for spec in specs}
    while True:
        led = {topic["topic"] for topic in await _describe(admin) if _has_leaders(topic)}
        if names <= led:
            return
        if time.monotonic() > deadline:
            raise ProvisioningError(f"topics without a leader: {', '.join(sorted(names - led))}; see the broker's log")
        await asyncio.sleep(_POLL_SECONDS)


def _has_leaders(topic: dict[str, Any]) -> bool:
    return bool(topic["partitions"]) and all(partition["leader"] >= 0 for partition in topic["partitions"])


def _wrong_count(spec: TopicSpec, found: int, names: Names) -> str:
    partitions, app_id = names.setting("partitions"), names.setting("app_id")
    return (
        f"topic {spec.name} has a partition count of {found} instead of {spec.partitions}, and it is fixed for life: "
        f"start with the settings it was made with ({partitions}), name a new {app_id} and new topics, or delete it "
        f"with all its records and run {names.command} topics create"
    )


def _wrong_policy(spec: TopicSpec, found: str) -> str:
    return (
        f"topic {spec.name} has cleanup.policy={found} instead of {spec.cleanup}, which would lose state: "
        f"set it with kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} "
        f"--add-config cleanup.policy={spec.cleanup}"
    )


def _too_small(spec: TopicSpec, found: str) -> str:
    return (
        f"topic {spec.name} takes records of at most {found} bytes, and this app writes up to "
        f"{spec.largest_record}: set it with kafka-configs.sh --alter --entity-type topics --entity-name {spec.name} "
        f"--add-config max.message.bytes={DEFAULT_TOPIC_LIMIT}"
    )

"""Which topic it is, whatever its name: one that was deleted and made anew has another id.

Hazard in aiokafka 0.14.0: its requests for metadata are older than topic ids (KIP-516), so a topic that was made anew
with as many records looks like the one before. Here the broker is asked in the version that tells them.

Tests: ``tests/kafka/test_changelog.py``, ``tests/kafka/test_offsets.py``.
"""

from __future__ import annotations

from collections.abc import Collection
from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Schema, TaggedFields

_ANY = UUID(int=0)
_TAGS = ("tags", TaggedFields)
_NAME = CompactString("utf-8")


class _Id:
    """An id on the wire: 16 bytes."""

    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))

    @classmethod
    def repr(cls, value: UUID) -> str:
        return str(value)


_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    _TAGS,
)
_TOPIC = (
    ("error_code", Int16),
    ("topic", _NAME),
    ("topic_id", _Id),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("operations", Int32),
    _TAGS,
)


class _MetadataResponse(Response):
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(("node_id", Int32), ("host", _NAME), ("port", Int32), ("rack", _NAME), _TAGS)),
        ("cluster_id", _NAME),
        ("controller_id", Int32),
        ("topics", CompactArray(*_TOPIC)),
        ("operations", Int32),
        _TAGS,
    )


class _MetadataStruct(RequestStruct):
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Id), ("name", _NAME), _TAGS)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_operations", Boolean),
        ("include_topic_operations", Boolean),
        _TAGS,
    )


class _MetadataRequest(Request[_MetadataStruct]):
    API_KEY = 3

    def __init__(self, topics: Collection[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataStruct]) -> _MetadataStruct:
        return request_struct_class([(_ANY, topic, {}) for topic in sorted(self._topics)], False, False, False, {})


async def topic_id(admin: AIOKafkaAdminClient, topic: str) -> UUID | None:
    """Return the id of ``topic``; None if there is no such topic, or the broker is older than ids (Kafka 2.8)."""
    found = await topic_ids(admin._client, [topic])  # noqa: SLF001 (aiokafka cannot ask this)
    return (found or {}).get(topic)


async def topic_ids(client: Any, topics: Collection[str]) -> dict[str, UUID] | None:
    """Return the ids of those of ``topics`` that exist, None if the broker is older than ids; ``client`` is aiokafka's.

    Raises `KafkaError` when the broker does not answer.
    """
    try:
        response: Any = await client.send(client.get_random_node(), _MetadataRequest(topics))
    except (IncompatibleBrokerVersion, NotImplementedError):
        return None
    return {name: found for _code, name, found, *_ in response.topics if found != _ANY}

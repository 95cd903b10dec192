"""The one place where clients of Kafka are made: whatever is true of all of them is said here.

Faust makes two of its own, the consumer and the producer of a worker, through `overrides`; all others come from here.
A client is closed by whoever asked for it.

Test: ``test_stands_alone.py`` (nobody else makes one).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from cj_stream.engine.naming import Names

READ_COMMITTED = "read_committed"
READ_UNCOMMITTED = "read_uncommitted"

Consumer: TypeAlias = "AIOKafkaConsumer[bytes | None, bytes | None]"


@dataclass(frozen=True)
class Kafka:
    """A cluster: its bootstrap servers, and the names of the settings that lead there."""

    bootstrap: str
    names: Names

    @property
    def setting(self) -> str:
        """The variable that names the bootstrap servers."""
        return self.names.setting("kafka_bootstrap")

    def admin(self, *, request_seconds: float = 40.0) -> AIOKafkaAdminClient:
        """Return a client that asks for and changes topics, groups and configurations, not started."""
        return AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=int(request_seconds * 1000))

    def consumer(self, topics: Iterable[str] = (), *, isolation: str = READ_UNCOMMITTED, **options: Any) -> Consumer:
        """Return a consumer that commits nothing, not started.

        It reads what is not committed too, unless told otherwise: of a changelog every row counts.
        """
        return AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.bootstrap,
            enable_auto_commit=False,
            isolation_level=isolation,
            **options,
        )

    def producer(self, **options: Any) -> AIOKafkaProducer:
        """Return a producer that waits for all replicas in sync, not started."""
        return AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", **options)

"""Publishes callbacks to Kafka the way the provider service does: without a key, so spread over all partitions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

from cj_stream.engine.clients import Kafka
from cj_stream.operations.settings import NAMES

_STOP_SECONDS = 3.0


class Publisher(Protocol):
    """Sends one callback to a topic."""

    async def publish(self, topic: str, value: bytes) -> None:
        """Return once the broker has the message; raises KafkaError when it has not."""


class KafkaPublisher:
    """Publishes to a Kafka cluster. Use it as ``async with KafkaPublisher(bootstrap) as publisher``."""

    def __init__(self, bootstrap: str) -> None:
        self._producer = Kafka(bootstrap, NAMES).producer(linger_ms=5)

    async def __aenter__(self) -> Self:
        """Connect to the cluster; raises KafkaError when there is none."""
        try:
            await self._producer.start()
        except BaseException:
            await self._producer.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Stopping waits for the broker, which may be away; what it has not got by then is lost with the rest.
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self._producer.stop()

    async def publish(self, topic: str, value: bytes) -> None:
        """Send the callback with a null key and wait for the broker to acknowledge it."""
        await self._producer.send_and_wait(topic, value, key=None)

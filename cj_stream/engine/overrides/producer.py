"""The two producers of a worker: one for the log and the table, and one for what is published to others.

Hazard in Faust 0.15.3: its producer is not idempotent, so a retry may put an older row after a newer one.

Why what is published has a producer of its own: see `publisher`.

Tests: ``tests/kafka/test_refused_outcomes.py``; the outages of the kill suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from faust.transport.drivers.aiokafka import Producer as FaustProducer

from cj_stream.engine.leaders import unhurried
from cj_stream.engine.limits import PUBLISHED_LIMIT

PUBLISH_SECONDS = 10.0
"""After this long without an acknowledgement a published record is given up; whoever wants to publishes it again."""

_PUBLISHING: dict[str, Any] = {
    "acks": "all",
    "linger_ms": 0,
    # The smallest: each record is a batch, so that one that is refused takes no other with it.
    "max_batch_size": 1,
    # The topic's limit is for what is sent, that is for the compressed record.
    "compression_type": "gzip",
    "max_request_size": PUBLISHED_LIMIT,
    "request_timeout_ms": int(PUBLISH_SECONDS * 1000),
}


class IdempotentProducer(FaustProducer):
    """Faust's producer with the broker dropping repeats, so that acknowledgements are strictly in order."""

    _publishing: Any = None

    async def on_start(self) -> None:
        """Connect, and from then on do not ask for the leaders of partitions faster than somebody could answer."""
        await super().on_start()
        self._publishing = self._producer_type(**{**self._settings_default(), **self._settings_auth(), **_PUBLISHING})
        await self._publishing.start()
        for producer in (self._producer, self._publishing):
            client = cast("Any", producer).client
            client._metadata_update = unhurried(client._metadata_update)  # noqa: SLF001 (aiokafka has no setting for it)

    async def on_stop(self) -> None:
        """Disconnect."""
        if self._publishing is not None:
            await self._publishing.stop()
        await super().on_stop()

    async def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes]],
        timestamp: float,
    ) -> asyncio.Future[Any]:
        """Send a record, stamped with ``timestamp`` (seconds since the epoch), alone and compressed.

        Returns once it is buffered; the future resolves when the broker has it, and fails when it does not take it.
        """
        sent: asyncio.Future[Any] = await self._publishing.send(
            topic, value, key=key, timestamp_ms=int(timestamp * 1000), headers=list(headers)
        )
        return sent

    def _settings_extra(self) -> dict[str, Any]:
        return {"acks": "all", "enable_idempotence": True}

"""Reports of effects on their way into the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import structlog

from cj_stream.engine.forwarder import EventTooLargeError, Forwarder

log = structlog.get_logger(__name__)

EventT = TypeVar("EventT")


class Reports(Generic[EventT]):
    """Sends reports; ``instead`` makes an event that says that a report fits into no record."""

    def __init__(self, forwarder: Forwarder[EventT], instead: Callable[[EventT, EventTooLargeError], EventT]) -> None:
        self._forwarder = forwarder
        self._instead = instead

    async def send(self, partition: int, event: EventT) -> int:
        """Send an event to a partition of the log; return its offset, once the broker has it."""
        try:
            metadata = await self._forwarder.deliver(partition, event)
        except EventTooLargeError as error:
            # The effect would be carried out again and again, to the same end.
            log.exception("a report fits into no record", why=str(error))
            metadata = await self._forwarder.deliver(partition, self._instead(event, error))
        return int(metadata.offset)

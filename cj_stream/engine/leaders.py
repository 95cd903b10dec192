"""Asking who leads a partition, without a busy loop while nobody answers.

Hazard in aiokafka 0.14.0: once a broker that goes away has said that it leads a partition no more, the producer asks
for the leader again as soon as it was told that there is no answer (``producer/sender.py``, ``_sender_routine``). A
refused connection is told at once, so a worker with records to send took a whole processor until the broker was back.

Tests: ``test_leaders.py``; the outages of the kill suite measure the processor time of each worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

BACKOFF_SECONDS = 0.2

Update = Callable[..., Awaitable[Any]]


def unhurried(update: Update) -> Update:
    """Return ``update``, which asks a broker for metadata, with a pause after it was not answered."""

    async def updated(*args: Any) -> Any:
        answered = await update(*args)
        if not answered:
            await asyncio.sleep(BACKOFF_SECONDS)
        return answered

    return updated

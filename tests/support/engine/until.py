"""Waiting for something to become true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

PATIENCE = 10.0  # seconds


async def until(condition: Callable[[], object]) -> None:
    """Return as soon as ``condition()`` holds; raise `TimeoutError` if it does not."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 (there is no event to wait for: the condition is all there is)
            await asyncio.sleep(0.001)

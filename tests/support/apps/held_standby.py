"""A real worker in which something that the standbys have fetched is always still to be applied when recovery ends.

Only the timing is forced: from when the standbys flow nothing that is fetched of their changelogs is applied, until
something of them is fetched and the sources flow. HELD_STANDBY in the log says how many records that were.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.engine.overrides.recovery import SeekFirstRecovery

SECONDS_FOR_SOMETHING = 3.0
_complete, _seek, _take = SeekFirstRecovery.on_recovery_completed, BarrierConsumer.perform_seek, SeekFirstRecovery.take
_may_take, _fetched = asyncio.Event(), asyncio.Event()
_may_take.set()


async def _complete_while_held(recovery: Any, generation_id: int = 0) -> None:
    _may_take.clear()
    try:
        await _complete(recovery, generation_id)
    finally:
        _may_take.set()


async def _take_when_allowed(recovery: Any, tp: Any, records: Any, term: object) -> None:
    if not _may_take.is_set():
        structlog.get_logger().info("HELD_STANDBY", records=len(records))
        _fetched.set()
        await _may_take.wait()
    await _take(recovery, tp, records, term)


async def _seek_until_something_is_there(consumer: Any) -> None:
    await _seek(consumer)
    if consumer.flow_active and consumer.app.assignor.assigned_standbys():
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_FOR_SOMETHING):
                await _fetched.wait()


SeekFirstRecovery.on_recovery_completed = _complete_while_held  # type: ignore[assignment]  # of any recovery
SeekFirstRecovery.take = _take_when_allowed  # type: ignore[assignment]  # of any recovery
BarrierConsumer.perform_seek = _seek_until_something_is_there  # type: ignore[assignment]  # of any recovery

from cj_stream.app import app  # noqa: E402 (the worker is built with it)

__all__ = ["app"]

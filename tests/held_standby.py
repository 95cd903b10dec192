"""A real worker in which something that the standbys have read always lies in the queue when recovery ends.

Only the timing is forced: from when the standbys flow nothing is taken from the queue of changelog records, until there
is something in it and the sources flow. HELD_STANDBY in the log says how many records lay there.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.engine.overrides.recovery import SeekFirstRecovery

SECONDS_FOR_SOMETHING = 3.0
_complete, _seek = SeekFirstRecovery.on_recovery_completed, BarrierConsumer.perform_seek


async def _complete_while_held(recovery: Any, generation_id: int = 0) -> None:
    queue, may_take = recovery.tables.changelog_queue, asyncio.Event()

    async def get() -> Any:
        await may_take.wait()
        return await type(queue).get(queue)

    queue.get = get
    try:
        await _complete(recovery, generation_id)
    finally:
        may_take.set()


async def _seek_until_something_is_there(consumer: Any) -> None:
    await _seek(consumer)
    if consumer.flow_active and consumer.app.assignor.assigned_standbys():
        queue = consumer.app.tables.changelog_queue
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_FOR_SOMETHING):
                while queue.empty():  # noqa: ASYNC110 (a queue has no event for this)
                    await asyncio.sleep(0.001)
        structlog.get_logger().info("HELD_STANDBY", records=queue.qsize())


SeekFirstRecovery.on_recovery_completed = _complete_while_held  # type: ignore[method-assign]
BarrierConsumer.perform_seek = _seek_until_something_is_there  # type: ignore[method-assign]

from cj_stream.app import app  # noqa: E402 (the worker is built with it)

__all__ = ["app"]

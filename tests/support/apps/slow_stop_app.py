"""A real worker that stops its consumer only once a rebalance has come to it while it stops, for `faust -A`."""

from __future__ import annotations

import asyncio

import faust

from cj_stream.app import app

_stop_consumer = faust.App._stop_consumer


async def _late(self: faust.App) -> None:
    before = self.rebalancing_count
    while self.rebalancing_count == before:  # noqa: ASYNC110 (there is no event to wait for)
        await asyncio.sleep(0.01)
    await _stop_consumer(self)


faust.App._stop_consumer = _late

__all__ = ["app"]

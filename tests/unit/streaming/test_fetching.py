from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP

from cj_stream.streaming.consumer import FencedConsumerThread

EVENTS, CALLBACKS = TP("events", 0), TP("callbacks", 0)


class Broker:
    """Stands in for aiokafka's fetcher: waits for records, then gives all that are wanted, all of them for none."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.waiting = asyncio.Event()
        self._closed = False
        self._subscriptions = SimpleNamespace(fetch_context=nullcontext)

    async def fetched_records(self, wanted: Any, **_: Any) -> dict[TP, list[str]]:
        self.waiting.set()
        await self.arrived.wait()
        return {tp: [f"a record of {tp.topic}"] for tp in (EVENTS, CALLBACKS) if not wanted or tp in wanted}


class Fetching:
    """A consumer thread with such a broker."""

    def __init__(self) -> None:
        self.broker = Broker()
        self._consumer = cast("Any", SimpleNamespace(_fetcher=self.broker, _closed=False))
        self.thread = FencedConsumerThread.__new__(FencedConsumerThread)
        self.thread.consumer = cast("Any", SimpleNamespace(flow_active=True))

    async def begin(self, active: set[TP]) -> asyncio.Task[Any]:
        fetch = asyncio.create_task(self.thread._fetch_records(self._consumer, active, timeout=1.0, max_records=500))
        await self.broker.waiting.wait()
        return fetch


async def test_a_fetch_takes_nothing_that_was_not_active_when_it_began() -> None:
    fetching = Fetching()
    active = {EVENTS}
    fetch = await fetching.begin(active)
    active.clear()
    fetching.broker.arrived.set()
    assert set(await fetch) == {EVENTS}


async def test_a_fetch_that_is_cut_off_before_a_seek_takes_nothing() -> None:
    fetching = Fetching()
    fetch = await fetching.begin({EVENTS, CALLBACKS})
    await fetching.thread._cut_off_fetch()
    fetching.broker.arrived.set()
    assert await fetch == {}


async def test_nothing_is_fetched_while_no_partition_is_active() -> None:
    fetching = Fetching()
    fetching.broker.arrived.set()
    assert await fetching.thread._fetch_records(cast("Any", None), set(), timeout=1.0) == {}

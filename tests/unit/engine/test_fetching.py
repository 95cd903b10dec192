from __future__ import annotations

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

from faust.types import TP

from cj_stream.engine.conditions import Conditions
from cj_stream.engine.overrides.consumer import (
    FETCH_WAIT_MILLISECONDS,
    RECOVERY_WAIT_MILLISECONDS,
    FencedConsumerThread,
)
from cj_stream.engine.overrides.inputs import Inputs
from cj_stream.engine.reading import Reading
from cj_stream.operations.settings import NAMES

EVENTS, CALLBACKS, CHANGELOG = TP("events", 0), TP("callbacks", 0), TP("changelog", 0)


class Broker:
    """Stands in for aiokafka's fetcher: waits for records, then gives all that are wanted, all of them for none."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.waiting = asyncio.Event()
        self._fetch_max_wait_ms = 0
        self.end: int | None = None
        self._closed = False
        self._subscriptions = SimpleNamespace(fetch_context=nullcontext)
        self.callbacks = SimpleNamespace(has_valid_position=True, position=7)
        states = {CALLBACKS: self.callbacks, CHANGELOG: SimpleNamespace(has_valid_position=True, position=7)}
        self.subscription = SimpleNamespace(assignment=SimpleNamespace(state_value=states.get))

    async def fetched_records(self, wanted: Any, **_: Any) -> dict[TP, list[str]]:
        self.waiting.set()
        await self.arrived.wait()
        self.callbacks.position += 1
        return {tp: [f"a record of {tp.topic}"] for tp in (EVENTS, CALLBACKS) if not wanted or tp in wanted}


class Fetching:
    """A consumer thread with such a broker."""

    def __init__(self) -> None:
        self.broker = Broker()
        self._consumer = cast(
            "Any",
            SimpleNamespace(
                _fetcher=self.broker, _closed=False, _subscription=self.broker, highwater=lambda _tp: self.broker.end
            ),
        )
        self.thread = FencedConsumerThread.__new__(FencedConsumerThread)
        self.thread.consumer = cast("Any", SimpleNamespace(flow_active=True, reading=Reading()))
        acked = SimpleNamespace(acks_enabled_for=lambda topic: topic != CHANGELOG.topic)
        engine = SimpleNamespace(inputs=Inputs(Conditions(lambda: 0.0), NAMES))
        self.recovery = SimpleNamespace(ready=True)
        tables = SimpleNamespace(recovery=self.recovery)
        self.thread.app = cast("Any", SimpleNamespace(topics=acked, engine=engine, tables=tables))

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
    assert fetching.thread._fetch is not None
    assert fetching.thread._fetch.done(), "a seek would meet it"
    fetching.broker.arrived.set()
    assert await fetch == {}


async def test_nothing_is_fetched_while_no_partition_is_active() -> None:
    fetching = Fetching()
    fetching.broker.arrived.set()
    assert await fetching.thread._fetch_records(cast("Any", None), set(), timeout=1.0) == {}


async def test_the_broker_keeps_no_fetch_for_long_while_partitions_are_taken_over() -> None:
    """Whatever a recovery asks on that connection waits for the fetch before it."""
    fetching = Fetching()
    fetching.broker.arrived.set()
    waits = []
    for fetching.recovery.ready in (False, True):
        await (await fetching.begin({EVENTS}))
        waits.append(fetching.broker._fetch_max_wait_ms)
    assert waits == [RECOVERY_WAIT_MILLISECONDS, FETCH_WAIT_MILLISECONDS]


async def test_a_fetch_takes_note_of_the_positions_it_begins_at() -> None:
    fetching = Fetching()
    reading = fetching.thread.consumer.reading
    reading.restart(dict.fromkeys((EVENTS, CALLBACKS, CHANGELOG), 5))
    fetching.broker.arrived.set()
    await (await fetching.begin({EVENTS, CALLBACKS}))
    assert reading.committable({}) == {CALLBACKS: 7}, "the rest was not given yet"


async def test_reading_is_behind_while_more_than_a_run_lies_unread() -> None:
    fetching = Fetching()
    reading = fetching.thread.consumer.reading
    reading.restart({CALLBACKS: 7})
    fetching.broker.arrived.set()
    behind = []
    for fetching.broker.end in (None, 9, 9_000, 9):
        await (await fetching.begin({CALLBACKS}))
        behind.append(reading.is_behind())
    assert behind == [False, False, True, False]


async def test_the_position_of_a_standby_is_nothing_to_commit() -> None:
    fetching = Fetching()
    reading = fetching.thread.consumer.reading
    reading.restart(dict.fromkeys((EVENTS, CALLBACKS, CHANGELOG), 5))
    fetching.broker.arrived.set()
    await (await fetching.begin({CALLBACKS, CHANGELOG}))
    assert reading.committable({}) == {CALLBACKS: 7}

"""Faust's part of a worker, modelled: streams and acks, commits, recovery, timers, the order of starting and stopping.

The classes of `cj_stream.engine` that extend Faust are used as they are: each stands here before a model of the
class of Faust's that it extends, so its `super()` reaches the model.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from inspect import iscoroutinefunction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import faust
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.types import TP
from mode.utils.queues import FlowControlEvent
from simulation.recovery_model import CATCHING_UP

from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.engine.overrides.drain import RunMessage
from cj_stream.engine.overrides.faust_app import HardenedApp
from cj_stream.engine.reading import Reading

if TYPE_CHECKING:
    from simulation.process import Process


class _Signal:
    """Stands in for a Faust signal."""

    def __init__(self) -> None:
        self.handlers: list[Callable[..., Awaitable[None]]] = []

    def connect(self, handler: Callable[..., Awaitable[None]], **_: Any) -> None:
        self.handlers.append(handler)

    async def send(self, *args: Any) -> None:
        for handler in self.handlers:
            await handler(*args)


class Stream:
    """What an agent reads: hands out one message, and acknowledges it when the agent asks for the next."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._queue: deque[RunMessage] = deque()
        self._more = asyncio.Event()
        self.handling: RunMessage | None = None

    def put(self, message: RunMessage) -> None:
        self._queue.append(message)
        self._more.set()

    def clear(self) -> None:
        self._queue.clear()

    async def events(self) -> AsyncIterator[Any]:
        while True:
            while not self._queue:
                self._more.clear()
                await self._more.wait()
            self.handling = self._queue.popleft()
            yield SimpleNamespace(message=self.handling)
            self._process.consumer.ack(self.handling)
            self.handling = None
            self._process.idle.set()
            await asyncio.sleep(0)


class _FaustApp(faust.App):  # type: ignore[misc]
    """Model of Faust's app: only what `cj_stream` asks of it."""

    producer: Any = None
    consumer: Any = None
    tables: Any = None
    conf: Any = SimpleNamespace(broker_request_timeout=90.0, canonical_url="", web_enabled=False)
    on_partitions_revoked: Any = None
    on_rebalance_complete: Any = None
    assignor: Any = SimpleNamespace(assigned_standbys=dict)
    flow_control: Any = None
    _fetcher: Any = None
    consumer_generation_id: Any = -1
    rebalancing: Any = False

    def topic(self, name: str, **_: Any) -> str:
        return name

    def agent(self, topic: str, **_: Any) -> Callable[[Any], Any]:
        return lambda run: self.agents_by_topic.update({topic: run})

    def timer(self, interval: float) -> Callable[[Any], Any]:
        return lambda run: self.timers.append((interval, run))

    def on_rebalance_end(self) -> None:
        self.rebalancing = False

    async def on_first_start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        await self.process.stop_reading()
        await self.on_stop()

    async def on_stop(self) -> None:
        """Nothing to do."""


class SimApp(HardenedApp, _FaustApp):
    """The real app on the model of Faust's."""

    def __init__(self, process: Process, settings: Any, *built_with: Any) -> None:
        self.process = process
        self.disk = process.node.disk
        self.changelog_topic = settings.changelog_topic
        self.producer = process.producer
        self.consumer = process.consumer
        self.agents_by_topic: dict[str, Callable[[Stream], Awaitable[None]]] = {}
        self.timers: list[tuple[float, Callable[[], Awaitable[None]]]] = []
        self.on_partitions_revoked = _Signal()
        self.on_rebalance_complete = _Signal()
        self.rebalancing = False
        self.consumer_generation_id = -1
        self.tables = SimpleNamespace(
            add=lambda table: setattr(self, "table", table), on_actives_ready=_nothing, on_standbys_ready=_nothing
        )
        self._fetcher = SimpleNamespace(maybe_start=_nothing_soon)
        self.flow_control = FlowControlEvent()
        self.table: Any = None
        self._harden(settings, *built_with)

    def __hash__(self) -> int:
        return id(self)


class _KafkaConsumer(FaustConsumer):  # type: ignore[misc]
    """Model of Faust's consumer: positions, acks, and commits as in ``transport/consumer.py`` 960-1085."""

    app: Any
    process: Process

    async def on_partitions_revoked(self, _revoked: set[TP]) -> None:
        """Nothing to do."""

    async def perform_seek(self) -> None:
        # Nothing is committed of a changelog, so Faust leaves it where it is.
        for tp in sorted(tp for tp in self._assigned if tp.topic != self.app.changelog_topic):
            position = await self.process.ask_broker(lambda tp=tp: self.process.broker.committed.get(tp, 0))
            self._committed_offset[tp] = self._read_offset[tp] = position

    async def _commit_offsets(self, offsets: Mapping[TP, int], _start_new_transaction: bool = True) -> bool:
        committable = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        if not committable:
            return False
        await self.app.producer.flush()
        done = await self.process.ask_broker(self.process.commit_arrives, committable, self.app.consumer_generation_id)
        self._committed_offset.update(committable)
        return bool(done)


class SimConsumer(BarrierConsumer, _KafkaConsumer):
    """The real commit barrier on the model of Faust's consumer."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.reading = Reading()
        self.positions: dict[TP, int] = {}
        self.standbys: dict[TP, int] = {}
        """Positions in the changelogs of standby partitions."""
        self.flows = False
        self.anything = asyncio.Event()
        """Set while something is acked and not committed."""
        self._assigned: set[TP] = set()
        self._acked: dict[TP, list[int]] = {}
        self._acked_index: dict[TP, set[int]] = {}
        self._committed_offset: dict[TP, int] = {}
        self._read_offset: dict[TP, int] = {}
        self._committing: asyncio.Future[None] | None = None
        self._thread = SimpleNamespace(_ensure_consumer=lambda: self, call_thread=self._call, left_out=())
        self._fetcher = SimpleNamespace(end_offsets=self._written_ends)
        self._coordinator = SimpleNamespace(fetch_committed_offsets=lambda _partitions: {})
        self._request_timeout_ms = 0

    def __hash__(self) -> int:
        return id(self)

    def assignment(self) -> set[TP]:
        return set(self._assigned)

    def assigned(self, tps: set[TP]) -> None:
        self._assigned = set(tps)
        self.positions.clear()
        self.standbys.clear()
        self._committed_offset.clear()

    def suspended(self) -> None:
        self.stop_flow()
        self.pause_partitions(self._assigned)
        self._committed_offset.clear()

    def stop_flow(self) -> None:
        self.flows = False

    def pause_partitions(self, tps: set[TP]) -> None:
        for tp in tps:
            self.positions.pop(tp, None)
            self.standbys.pop(tp, None)

    def resume_standbys(self, positions: dict[TP, int]) -> None:
        self.standbys.update(positions)

    def resume_partitions(self, tps: set[TP]) -> None:
        for tp in sorted(tps):
            self.positions[tp] = self._committed_offset[tp]

    async def seek_wait(self, positions: dict[TP, int]) -> None:
        """Fetch those changelogs from there on."""
        await self.process.ask_broker(lambda: self.process.recovery.fetched.update(positions))

    def resume_flow(self) -> None:
        self.flows = True
        self.process.fetch_soon()
        self.process.fetch_changelogs_soon(slowest=CATCHING_UP)

    def ack(self, message: RunMessage) -> None:
        message.acked = True
        if message.tp in self._assigned:
            self.anything.set()
            self.process.fetch_soon()

    async def commit(self) -> None:
        """Commit what was acked; if somebody else is committing, only wait for that, as Faust does."""
        if self._committing is not None:
            await asyncio.shield(self._committing)
            return
        offsets = self._filter_committable_offsets(())
        self.anything.clear()
        if offsets:
            self._committing = asyncio.get_running_loop().create_future()
            try:
                await self._commit_offsets(offsets)
            finally:
                self._committing.set_result(None)
                self._committing = None

    # --- What `lag` asks of aiokafka -------------------------------------------------------------------

    async def _call(self, ask: Callable[..., Any], *args: Any) -> Any:
        if not iscoroutinefunction(ask):
            return await self.process.ask_broker(lambda: ask(*args))
        await self.process.ask_broker(_nothing)
        return await ask(*args)

    def partitions_for_topic(self, topic: str) -> range:
        return range(self.process.broker.partitions[topic])

    def beginning_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return dict.fromkeys(partitions, 0)

    def end_offsets(self, partitions: list[Any]) -> dict[Any, int]:
        return {tp: self.process.broker.end(TP(*tp)) for tp in partitions}

    async def _written_ends(self, partitions: list[Any], _timeout: int) -> dict[Any, int]:
        return self.end_offsets(partitions)

    def committed(self, partition: Any) -> int | None:
        return self.process.broker.committed.get(TP(*partition))


def _nothing() -> None:
    """Do nothing."""


async def _nothing_soon() -> None:
    """Do nothing."""

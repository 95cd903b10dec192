"""The broker: append-only partitions, committed offsets, and producers whose records are on their way for a while."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple
from zlib import crc32

from aiokafka.errors import KafkaTimeoutError
from faust.types import TP
from simulation.clock_loop import ClockLoop, Scheduler

from cj_stream.engine.sender import Unsent

SLOWEST_ANSWER = 0.01
PRODUCER_PATIENCE = 30.0
"""Seconds after which a producer gives a record up."""
LOG_APPEND_TIME = 1
"""Of a record's metadata: its time is the broker's."""
SEVERAL_BATCHES = 0.4
"""Share of the flushes that are too large for one record batch."""
BUFFER_FULL = 0.1
"""Share of the records for which the producer makes its caller wait."""


class Record(NamedTuple):
    """A record as consumers see it. ``timestamp``: the broker's, in seconds, as Faust hands it out."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    timestamp: float

    @property
    def tp(self) -> TP:
        return TP(self.topic, self.partition)


class Broker:
    """All partitions of all topics."""

    def __init__(self, scheduler: Scheduler, partitions: dict[str, int]) -> None:
        self.logs: dict[TP, list[Record]] = {
            TP(topic, number): [] for topic, count in partitions.items() for number in range(count)
        }
        self.partitions = partitions
        self.committed: dict[TP, int] = {}
        self.on_append: list[Callable[[Record], None]] = []
        self._clock = scheduler.clock
        self._away_until = 0.0

    def go_away(self, seconds: float) -> None:
        """Answer nobody for a while."""
        self._away_until = self._clock.now + seconds

    @property
    def away(self) -> float:
        """Seconds until it answers again, 0 when it does."""
        return max(self._away_until - self._clock.now, 0.0)

    def append(
        self,
        topic: str,
        partition: int | None,
        key: bytes | None,
        value: bytes | None,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> Record:
        """Append a record, to the partition of its key if none is given."""
        number = crc32(key or b"") % self.partitions[topic] if partition is None else partition
        log = self.logs[TP(topic, number)]
        record = Record(topic, number, len(log), key, value, headers, self._clock.now)
        log.append(record)
        for told in self.on_append:
            told(record)
        return record

    def end(self, tp: TP) -> int:
        return len(self.logs[tp])


@dataclass(eq=False)
class Flight:
    """Records on their way, which arrive together. ``cause``: the first offset of the run that they come of."""

    topic: str
    partition: int | None
    records: Sequence[Unsent]
    due: float
    future: asyncio.Future[Any]
    cause: int


@dataclass
class _Queue:
    flights: deque[Flight] = field(default_factory=deque)
    last_due: float = 0.0
    last_answer: float = 0.0
    landable: int | None = None
    """How many of the flights still land, None for all: the rest is held by a frozen process or died with it."""


class SimProducer:
    """The producer of one process: in order for each partition, each record delayed by up to ``slowest`` seconds."""

    def __init__(self, scheduler: Scheduler, broker: Broker, loop: ClockLoop, slowest: float) -> None:
        self._scheduler = scheduler
        self._broker = broker
        self._loop = loop
        self._slowest = slowest
        self._queues: dict[tuple[str, int | None], _Queue] = {}
        self._dead = False
        self.produced = 0
        self.on_produce: Callable[[str], None] = lambda _: None
        self.cause: Callable[[int], int] = lambda _: -1
        """Returns the cause of the next flush of a partition."""
        self.refusal: Callable[[str, bytes | None], Exception | None] = lambda *_: None
        """Says why a topic does not take a record, None when it does."""

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        _timestamp: float | None,
        headers: list[tuple[str, bytes]] | None,
    ) -> asyncio.Future[Any]:
        """Take a record; the future resolves when the broker has acknowledged it."""
        return await self._take(topic, partition, [(key, value, headers or ())], cause=-1)

    async def append(self, topic: str, partition: int, records: Sequence[Unsent]) -> asyncio.Future[Any]:
        """Take records that arrive together; now and then they are too many for one record batch."""
        chance, cause = self._scheduler.chance, self.cause(partition)
        cut = chance.randrange(len(records)) if chance.random() < SEVERAL_BATCHES else 0
        sent = [await self._take(topic, partition, part, cause) for part in (records[:cut], records[cut:]) if part]
        return asyncio.ensure_future(_last(sent))

    async def _take(
        self, topic: str, partition: int | None, records: Sequence[Unsent], cause: int
    ) -> asyncio.Future[Any]:
        chance, now = self._scheduler.chance, self._scheduler.clock.now
        if chance.random() < BUFFER_FULL:
            await asyncio.sleep(chance.choice((0.0, 0.002, 0.02)))
            now = self._scheduler.clock.now
        queue = self._queues.setdefault((topic, partition), _Queue())
        due = max(queue.last_due, now + chance.random() * self._slowest)
        if chance.random() < 0.5:  # often the records of one request reach the broker together
            due = max(queue.last_due, now + 0.001)
        queue.last_due = due
        future = self._loop.create_future()
        flight = Flight(topic, partition, records, due, future, cause)
        if not self._dead:
            queue.flights.append(flight)
            self._scheduler.after(due - now, self._land, queue)
            self.produced += 1
            self.on_produce(topic)
        return future

    async def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        timestamp: float,
    ) -> asyncio.Future[Any]:
        """Take a record that is for others."""
        return await self.send(topic, key, value, None, timestamp, headers)

    async def flush(self) -> None:
        """Faust's own buffer is not used: nothing to wait for."""

    def in_flight(self, topic: str, partition: int) -> list[Flight]:
        """Return what the broker does not have yet of a partition."""
        queue = self._queues.get((topic, partition))
        return list(queue.flights) if queue else []

    def freeze(self) -> None:
        """Let only what has left the process already reach the broker."""
        for queue in self._queues.values():
            queue.landable = self._scheduler.chance.randint(0, len(queue.flights))

    def thaw(self) -> None:
        """Send what was held."""
        for queue in self._queues.values():
            if queue.landable is not None:
                held = list(queue.flights)[queue.landable :]
                queue.landable = None
                for flight in held:
                    flight.due = self._scheduler.clock.now + 0.001
                    self._scheduler.after(0.001, self._land, queue)

    def die(self) -> int:
        """Lose what has not left the process: in each partition a prefix still arrives. Return how many are lost."""
        self._dead = True
        lost = 0
        for queue in self._queues.values():
            left = len(queue.flights) if queue.landable is None else queue.landable
            kept = self._scheduler.chance.randint(0, left)
            while len(queue.flights) > kept:
                queue.flights.pop()
                lost += 1
            queue.landable = None
        return lost

    def _land(self, queue: _Queue) -> None:
        now = self._scheduler.clock.now
        if self._broker.away:
            for flight in [flight for flight in queue.flights if flight.due + PRODUCER_PATIENCE < now]:
                self._loop.call_soon(_give_up, flight.future)
            self._scheduler.after(min(self._broker.away, PRODUCER_PATIENCE) + 0.001, self._land, queue)
            return
        while queue.flights and queue.flights[0].due <= now and queue.landable != 0:
            flight = queue.flights.popleft()
            if queue.landable is not None:
                queue.landable -= 1
            answer = self.refusal(flight.topic, flight.records[0][1]) or self._append(flight)
            # Answers come in order too: each later than the one before it.
            queue.last_answer = max(queue.last_answer, now + self._scheduler.chance.random() * SLOWEST_ANSWER)
            self._scheduler.after(queue.last_answer - now, self._acknowledge, flight, answer)

    def _append(self, flight: Flight) -> SimpleNamespace:
        for key, value, headers in flight.records:
            record = self._broker.append(flight.topic, flight.partition, key, value, tuple(headers))
        return SimpleNamespace(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp=record.timestamp * 1000,
            timestamp_type=LOG_APPEND_TIME,
        )

    def _acknowledge(self, flight: Flight, answer: SimpleNamespace | Exception) -> None:
        self._loop.call_soon(_resolve, flight.future, answer)


async def _last(sent: Sequence[asyncio.Future[Any]]) -> Any:
    return (await asyncio.gather(*sent))[-1]


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(KafkaTimeoutError())


def _resolve(future: asyncio.Future[Any], answer: SimpleNamespace | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)

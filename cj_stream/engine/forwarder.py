"""Forwards events to their home partitions, gathering those of one partition into one message.

Hazard: an event that was gathered and is acknowledged to Faust at the next loop turn would be in no future that a
commit waits for: Faust 0.15.3 acknowledges when the agent takes the next one (``_cython/streams.pyx`` 112-161). So a
promise is registered with the sender before the event is taken over.

Test: ``test_forwarder.py`` (an event is outstanding from the moment it was taken over).

Hazard: while a batch of the producer is full, a smaller message overtakes a larger one that waits for room. Killed in
between, the later event is in the log and the earlier one is not; but the order of the log shows whether a request is
a second copy. So the messages of a partition are handed to the producer one after the other.

Whoever reads the log pays for each message, and for each subject in it. So while runs of input wait, events are
gathered for longer: they would wait all the same. An event that somebody waits for ends that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from cj_stream.engine.limits import (
    EVENT_LIMIT,
    GATHERED_LIMIT,
)
from cj_stream.engine.messages import EventCodec, encode_message
from cj_stream.engine.process import end_process, ends_process
from cj_stream.engine.sender import Sender

EventT = TypeVar("EventT")

BEHIND_SECONDS = 0.3
"""How long events are gathered at most while input waits."""


class EventTooLargeError(Exception):
    """The event does not fit into a record of the log; nothing was taken over."""


@dataclass
class _Gathering:
    promise: asyncio.Future[Any]
    timer: asyncio.TimerHandle
    begun: float
    """When it began, by the loop's clock."""
    awaited: bool = False
    """Whether somebody waits for one of its events."""
    events: list[bytes] = field(default_factory=list)
    size: int = 0


class Forwarder(Generic[EventT]):
    """Sends events to partitions of the events topic, after gathering for ``accumulate`` seconds.

    While ``is_behind`` says that input waits, up to `BEHIND_SECONDS`.
    """

    def __init__(
        self,
        sender: Sender,
        topic: str,
        accumulate: float,
        codec: EventCodec[EventT],
        is_behind: Callable[[], bool] = lambda: False,
    ) -> None:
        self._sender = sender
        self._topic = topic
        self._accumulate = accumulate
        self._codec = codec
        self._is_behind = is_behind
        self._gathering: dict[int, _Gathering] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._turns: dict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    def forward(self, partition: int, event: EventT) -> None:
        """Take over ``event``; commits wait until the broker has it. Raises `EventTooLargeError`."""
        self._gather(partition, event)

    async def deliver(self, partition: int, event: EventT) -> Any:
        """Take over ``event``; return the metadata of its record once the broker has it. Raises `EventTooLargeError`.

        Whoever waits may be cancelled: the event is under way all the same.
        """
        return await asyncio.shield(self._gather(partition, event, awaited=True))

    def _gather(self, partition: int, event: EventT, *, awaited: bool = False) -> asyncio.Future[Any]:
        data = self._codec.encode(event)
        if len(data) > EVENT_LIMIT:
            raise EventTooLargeError(f"{self._codec.name(event)} has {len(data)} bytes, at most {EVENT_LIMIT} fit")
        gathering = self._gathering.get(partition)
        if gathering is not None and gathering.size + len(data) > GATHERED_LIMIT:
            self._flush(partition)
            gathering = None
        gathering = gathering or self._start(partition)
        gathering.events.append(data)
        gathering.size += len(data)
        gathering.awaited |= awaited
        if gathering.size >= GATHERED_LIMIT:
            self._flush(partition)
        return gathering.promise

    def _start(self, partition: int) -> _Gathering:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._accumulate, self._end, partition)
        gathering = _Gathering(self._sender.promise("a gathered message"), timer, loop.time())
        self._gathering[partition] = gathering
        return gathering

    @ends_process("gathered events were not taken up")
    def _end(self, partition: int) -> None:
        """Send what is gathered, or look again later."""
        loop, gathering = asyncio.get_running_loop(), self._gathering[partition]
        goes_on = loop.time() + self._accumulate <= gathering.begun + BEHIND_SECONDS
        if goes_on and not gathering.awaited and self._is_behind():
            gathering.timer = loop.call_later(self._accumulate, self._end, partition)
        else:
            self._flush(partition)

    def _flush(self, partition: int) -> None:
        gathering = self._gathering.pop(partition)
        gathering.timer.cancel()
        task = asyncio.get_running_loop().create_task(self._send(partition, gathering))
        self._sending.add(task)
        task.add_done_callback(self._finished)

    async def _send(self, partition: int, gathering: _Gathering) -> None:
        value = encode_message(gathering.events)
        async with self._turns[partition]:
            acknowledged = await self._sender.send(self._topic, key=None, value=value, partition=partition)
        gathering.promise.set_result(await acknowledged)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if task.cancelled() or task.exception():
            end_process("a gathered message was not sent", error=repr(task))

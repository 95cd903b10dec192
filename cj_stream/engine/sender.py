"""The one way to write the log and the table: every record is outstanding until the broker has acknowledged it.

Hazards in Faust 0.15.3: a failed produce is only logged and the source offset committed all the same
(``topics.py`` 463-479); ``Producer.flush`` returns while a record is between buffer and broker
(``transport/producer.py`` 82-126). So nothing here goes through Faust's buffer: a commit waits for what is
outstanding (see ``consumer.py``), and a record that cannot be delivered ends the process. What is for others is
published by `publisher`; where a commit has to wait for it, there is a promise of it here.

Hazard in aiokafka 0.14.0: ``send_batch`` waits until the record batch before it on that partition has left
(``producer/message_accumulator.py``, ``add_batch``), and of two that wait either may come first. So the flushes of a
partition wait here, in a lane, and are handed to the producer one after the other.

Tests: ``test_sender.py``, ``test_flush.py``; the mutation "flush without promise" in ``tests/simulation``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn, cast

import faust

from cj_stream.engine.clock import LOG_APPEND_TIME, Clock
from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.fence import Fence
from cj_stream.engine.process import end_process, end_until_changed, ends_process
from cj_stream.engine.produce_errors import Scope, failure_of

LATE_SECONDS = 10.0
_LATE = (
    "Topic {topic} has not acknowledged a record for more than ten seconds: see the brokers' logs. Too few of its "
    "replicas may be in sync (min.insync.replicas), or it has no leader."
)
_LATE_MEANING = (
    "Nothing is committed meanwhile, so nothing new begins; it goes on by itself, or the worker is started again."
)
LANE_FLUSHES = 4
"""So many flushes of a partition may wait for the producer before whoever writes waits too."""
Headers = Sequence[tuple[str, bytes]]
Unsent = tuple[bytes | None, bytes | None, Headers]
"""A record to be written: key, value, headers."""
OnAck = Callable[[Any], None]
GOES_BY = {Scope.LATER, Scope.PRODUCER, Scope.MISTAKE}
"""What a worker that starts again may not meet again."""


class _Flush(NamedTuple):
    records: Sequence[Unsent]
    promise: asyncio.Future[Any]
    on_ack: OnAck | None


@dataclass
class _Lane:
    """The flushes of a partition that the producer has not taken yet, and the task that hands them over."""

    flushes: deque[_Flush] = field(default_factory=deque)
    room: asyncio.Event = field(default_factory=asyncio.Event)
    moving: asyncio.Task[None] | None = None


class Sender:
    """Produces records and knows which of them the broker has not acknowledged."""

    def __init__(self, app: faust.App, fence: Fence, clock: Clock) -> None:
        self._app = app
        self._fence = fence
        self._clock = clock
        self._outstanding: set[asyncio.Future[Any]] = set()
        self._sent: dict[asyncio.Future[Any], tuple[str, float]] = {}
        self._late: set[str] = set()
        self._lanes: dict[tuple[str, int], _Lane] = defaultdict(_Lane)
        self.interrupted = False
        """Whether producing was ever cancelled halfway."""

    async def send(
        self,
        topic: str,
        *,
        key: bytes | None,
        value: bytes | None,
        partition: int | None = None,
        headers: Headers = (),
        on_ack: OnAck | None = None,
    ) -> asyncio.Future[Any]:
        """Produce a record. Returns once it is buffered; the future resolves when the broker has it.

        ``on_ack`` is called with the record's metadata. Ends the process when the record cannot be delivered.
        """
        # Whoever sends may have begun long ago, before this process or its machine stood still.
        self._fence.check()
        promise = self._promise_to(topic)
        sent_at = self._clock.own()
        try:
            sent = await self._app.producer.send(topic, key, value, partition, None, list(headers) or None)
        except asyncio.CancelledError:
            # Only effects are cancelled, and they are done again; but the store may lack what a row was to say.
            self.interrupted = True
            self._outstanding.discard(promise)
            self._sent.pop(promise, None)
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, the record is not delivered)
            _undeliverable(f"could not produce to {topic}", error, partition)
        self._settle_with(sent, promise, (topic, partition, sent_at), on_ack)
        # Shielded: whoever waits may be cancelled, the record is under way all the same.
        return asyncio.shield(promise)

    async def flush(
        self, topic: str, partition: int, records: Sequence[Unsent], on_ack: OnAck | None = None
    ) -> asyncio.Future[Any]:
        """Write records to a partition as one: behind all flushes before it, in record batches that are appended whole.

        Up to the size of a record batch they become visible together; what is larger comes in several, in order.
        Returns once it is taken over; the one future for all of them resolves when the broker has the last one.
        ``on_ack`` is called with the metadata of the last record. Ends the process when they cannot be delivered.
        """
        self._fence.check()
        promise = self._promise_to(topic)
        lane = self._lanes[topic, partition]
        lane.flushes.append(_Flush(records, promise, on_ack))
        if lane.moving is None:
            lane.moving = asyncio.get_running_loop().create_task(self._move(topic, partition, lane))
            lane.moving.add_done_callback(self._moved)
        # It is taken over already: whoever is cancelled here leaves nothing undone.
        while len(lane.flushes) > LANE_FLUSHES:
            lane.room.clear()
            await lane.room.wait()
        return asyncio.shield(promise)

    async def _move(self, topic: str, partition: int, lane: _Lane) -> None:
        while lane.flushes:
            # It may have waited long, and this process or its machine stood still.
            self._fence.check()
            records, promise, on_ack = lane.flushes[0]
            sent_at = self._clock.own()
            try:
                sent = await cast("Any", self._app.producer).append(topic, partition, records)
            except Exception as error:  # noqa: BLE001 (whatever it is, the records are not delivered)
                _undeliverable(f"could not produce to {topic}", error, partition)
            lane.flushes.popleft()
            lane.room.set()
            self._settle_with(sent, promise, (topic, partition, sent_at), on_ack)
        del self._lanes[topic, partition]

    def _moved(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception():
            end_process("records were not handed to the producer", error=repr(task))

    def promise(self, what: str) -> asyncio.Future[Any]:
        """Return a future that commits wait for: for what will be acknowledged later than the agent's turn."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._outstanding.add(future)
        future.add_done_callback(lambda done: self._forget(done, what))
        return future

    @property
    def outstanding(self) -> int:
        """Records that the broker has not acknowledged yet."""
        return len(self._outstanding)

    def look(self, conditions: Conditions) -> None:
        """Tell which topics have not acknowledged a record for long: aiokafka tries again for ever."""
        latest = asyncio.get_running_loop().time() - LATE_SECONDS
        late = {topic for topic, since in self._sent.values() if since < latest}
        for topic in self._late - late:
            conditions.end(ConditionKind.TOPIC_REFUSES, topic)
        for topic in late:
            conditions.begin(ConditionKind.TOPIC_REFUSES, topic, _LATE.format(topic=topic), _LATE_MEANING)
        self._late = late

    async def settled(self, patience: float) -> bool:
        """Wait, at most ``patience`` seconds, for all that is outstanding now; return whether it is acknowledged."""
        waiting = list(self._outstanding)
        if not waiting:
            return True
        _, pending = await asyncio.wait(waiting, timeout=patience)
        return not pending

    def _promise_to(self, topic: str) -> asyncio.Future[Any]:
        promise = self.promise(f"a record for {topic}")
        self._sent[promise] = (topic, asyncio.get_running_loop().time())
        return promise

    def _settle_with(
        self,
        sent: asyncio.Future[Any],
        promise: asyncio.Future[Any],
        where: tuple[str, int | None, float],
        on_ack: OnAck | None,
    ) -> None:
        sent.add_done_callback(lambda done: self._settle(done, promise, where, on_ack))

    def _forget(self, done: asyncio.Future[Any], what: str) -> None:
        self._outstanding.discard(done)
        self._sent.pop(done, None)
        if done.cancelled():
            end_process(f"{what} was cancelled before it was acknowledged")

    def _settle(
        self,
        done: asyncio.Future[Any],
        promise: asyncio.Future[Any],
        sent: tuple[str, int | None, float],
        on_ack: OnAck | None,
    ) -> None:
        topic, partition, sent_at = sent
        error = asyncio.CancelledError() if done.cancelled() else done.exception()
        if error is not None:
            _undeliverable(f"the broker has not acknowledged a record for {topic}", error, partition)
        metadata = done.result()
        if metadata.timestamp_type == LOG_APPEND_TIME:
            self._clock.appended(sent_at, metadata.timestamp / 1000)
        if on_ack is not None:
            with ends_process("what follows an acknowledgement failed"):
                on_ack(metadata)
        if not promise.done():
            promise.set_result(metadata)


def _undeliverable(why: str, error: BaseException, partition: int | None) -> NoReturn:
    failure = failure_of(error)
    # The log and the table are ours, and what is written there fits (`contracts.limits`): a refusal is about the topic.
    end = end_process if failure.scope in GOES_BY else end_until_changed
    end(why, error=repr(error), partition=partition, what_to_do=failure.why)

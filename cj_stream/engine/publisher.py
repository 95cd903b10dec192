"""Records for others: outcomes, dead letters, copies of timeouts. What is refused there harms nothing else.

They go by a producer of their own. Hazard in aiokafka 0.14.0: an idempotent producer counts the records of a refused
batch (``producer/message_accumulator.py``, ``_pop_batch``), so all that follows for the partition is out of order and
refused as well; and what a broker refuses with an error that may go by, as a partition with too few replicas does, it
tries again for ever. Either would keep commits waiting, and so everything. This one is not idempotent, gives a record
up after a while, and sends each alone, so that a refusal is about that record.

Who refuses decides what follows (`produce_errors`). A record that can never be stored: `RecordRefusedError`. A topic
that takes none now: `TopicRefusesError`, a condition that everybody can see, and a pause before it is tried again.

Tests: ``test_publisher.py``, ``tests/kafka/test_refused_outcomes.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, NamedTuple, NoReturn, cast

import faust

from cj_stream.engine.clock import LOG_APPEND_TIME, Clock
from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.fence import Fence
from cj_stream.engine.process import end_process, end_until_changed
from cj_stream.engine.produce_errors import ProduceFailure, Scope, failure_of
from cj_stream.engine.sender import Headers

PAUSE_SECONDS = 5.0
"""How long a topic that has refused is left alone."""
ATTEMPTS = 3
"""How often a topic of our own is asked that refuses until somebody changes something."""


_MEANING = (
    "What belongs there waits and is sent again every few seconds; all else goes on, and ends once it could tell."
)


class RecordRefusedError(Exception):
    """The topic will never take this record; the text says why and what to do."""


class TopicRefusesError(Exception):
    """The topic takes no records now; to be tried again after ``seconds``. The text says why and what to do.

    ``passing`` says whether it may go by, without anybody changing anything.
    """

    def __init__(self, why: str, seconds: float, *, passing: bool) -> None:
        super().__init__(why)
        self.seconds = seconds
        self.passing = passing


class _Refusal(NamedTuple):
    until: float
    why: str
    passing: bool


class Publisher:
    """Publishes records for others, one attempt at a time; remembers which topics refuse."""

    def __init__(self, app: faust.App, fence: Fence, conditions: Conditions, clock: Clock) -> None:
        self._app = app
        self._fence = fence
        self._conditions = conditions
        self._clock = clock
        self._refusing: dict[str, _Refusal] = {}

    async def publish(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Publish a record, and return once the broker has it.

        Raises:
            RecordRefusedError: this record will never be taken.
            TopicRefusesError: no record is taken by the topic now.

        """
        self._fence.check()
        self._check_pause(topic)
        sent = self._clock.own()
        producer = cast("Any", self._app.producer)
        try:
            promise = await producer.publish(topic, key, value, list(headers), self._clock.now())
            metadata = await promise
        except Exception as error:  # noqa: BLE001 (whatever it is, it is told apart below)
            self._failed(topic, len(value or b""), failure_of(error))
        if metadata.timestamp_type == LOG_APPEND_TIME:
            self._clock.appended(sent, metadata.timestamp / 1000)
        self._takes(topic)

    async def deliver(self, topic: str, *, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Publish a record to a topic of our own: again while that may help, and else end the process.

        Raises `RecordRefusedError`.
        """
        for attempt in count(1):
            try:
                await self.publish(topic, key=key, value=value, headers=headers)
            except TopicRefusesError as refuses:
                if not refuses.passing and attempt >= ATTEMPTS:
                    end_until_changed("a topic of our own takes no records", topic=topic, what_to_do=str(refuses))
                await asyncio.sleep(refuses.seconds)
            else:
                return

    def forget(self) -> None:
        """Forget which topics refuse: who published there has gone, and nobody may try again."""
        for topic in list(self._refusing):
            self._takes(topic)

    def _check_pause(self, topic: str) -> None:
        refusal = self._refusing.get(topic)
        left = 0.0 if refusal is None else refusal.until - asyncio.get_running_loop().time()
        if refusal is not None and left > 0:
            raise TopicRefusesError(refusal.why, left, passing=refusal.passing)

    def _takes(self, topic: str) -> None:
        if self._refusing.pop(topic, None) is not None:
            self._conditions.end(ConditionKind.TOPIC_REFUSES, topic)

    def _failed(self, topic: str, size: int, failure: ProduceFailure) -> NoReturn:
        if failure.scope is Scope.WORKER:
            end_until_changed("nothing can be published", topic=topic, what_to_do=failure.why)
        if failure.scope is Scope.PRODUCER:
            end_process("nothing can be published", topic=topic, what_to_do=failure.why)
        if failure.scope in {Scope.RECORD, Scope.MISTAKE}:
            self._takes(topic)
            raise RecordRefusedError(f"topic {topic} refused a record of {size} bytes: {failure.why}")
        why = f"topic {topic} takes no records now: {failure.why}"
        if failure.scope is Scope.CLOCK:
            why += f". {self._clock.difference()}"
        passing = failure.scope is Scope.LATER
        self._refusing[topic] = _Refusal(asyncio.get_running_loop().time() + PAUSE_SECONDS, why, passing)
        self._conditions.begin(ConditionKind.TOPIC_REFUSES, topic, why, _MEANING)
        raise TopicRefusesError(why, PAUSE_SECONDS, passing=passing)


class Deliveries:
    """Publishes in the background what commits have to wait for, at most ``limit`` records at once.

    ``promise`` is the sender's: it gives a future that commits wait for.
    """

    def __init__(self, promise: Callable[[str], asyncio.Future[Any]], limit: int = 100) -> None:
        self._promise = promise
        self._room = asyncio.Semaphore(limit)
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, what: str, work: Coroutine[Any, Any, None]) -> None:
        """Have ``work`` done; returns as soon as there is room for it. Ends the process when it raises anything."""
        promise = self._promise(what)
        try:
            await self._room.acquire()
        except asyncio.CancelledError:
            work.close()
            raise
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finished(what, done, promise))

    def _finished(self, what: str, task: asyncio.Task[None], promise: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        self._room.release()
        if task.cancelled() or task.exception():
            end_process(f"{what} was not delivered", error=repr(task))
        promise.set_result(None)

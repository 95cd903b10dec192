"""The one way to write the log and the table: every record is outstanding until the broker has acknowledged it.

Hazards in Faust 0.15.3: a failed produce is only logged and the source offset committed all the same
(``topics.py`` 463-479); ``Producer.flush`` returns while a record is between buffer and broker
(``transport/producer.py`` 82-126). So nothing here goes through Faust's buffer: a commit waits for what is
outstanding (see ``consumer.py``), and a record that cannot be delivered ends the process. What is for others is
published by `publisher`; where a commit has to wait for it, there is a promise of it here.

Test: ``test_sender.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

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
Headers = Sequence[tuple[str, bytes]]
GOES_BY = {Scope.LATER, Scope.PRODUCER, Scope.MISTAKE}
"""What a worker that starts again may not meet again."""


class Sender:
    """Produces records and knows which of them the broker has not acknowledged."""

    def __init__(self, app: faust.App, fence: Fence, clock: Clock) -> None:
        self._app = app
        self._fence = fence
        self._clock = clock
        self._outstanding: set[asyncio.Future[Any]] = set()
        self._sent: dict[asyncio.Future[Any], tuple[str, float]] = {}
        self._late: set[str] = set()
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
        on_ack: Callable[[Any], None] | None = None,
    ) -> asyncio.Future[Any]:
        """Produce a record. Returns once it is buffered; the future resolves when the broker has it.

        ``on_ack`` is called with the record's metadata. Ends the process when the record cannot be delivered.
        """
        # Whoever sends may have begun long ago, before this process or its machine stood still.
        self._fence.check()
        promise = self.promise(f"a record for {topic}")
        self._sent[promise] = (topic, asyncio.get_running_loop().time())
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
        sent.add_done_callback(lambda done: self._settle(done, promise, (topic, partition, sent_at), on_ack))
        # Shielded: whoever waits may be cancelled, the record is under way all the same.
        return asyncio.shield(promise)

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
        on_ack: Callable[[Any], None] | None,
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

"""Answers to refused requests: the failed event that tells a requester why nothing will come of its request.

A commit waits for the answer. But a failed topic that refuses would then keep every batch waiting; so from its first
refusal on the answer is kept in memory only, and sent again until the topic takes it. The dead letter of the request is
kept in any case. What this worker did not get rid of until it stops is told in its log.
"""

from __future__ import annotations

import asyncio

import structlog

from cj_stream.contracts.outcome_writer import OutgoingEvent
from cj_stream.contracts.refusal import Refused
from cj_stream.engine.publisher import Deliveries, Publisher, RecordRefusedError, TopicRefusesError
from cj_stream.operations.metrics import Metrics

log = structlog.get_logger(__name__)

KEPT = 1_000
"""Answers that wait for the topic; of any more of them only the log knows."""


class Answers:
    """Sends the answers of one worker to the failed topic."""

    def __init__(self, publisher: Publisher, deliveries: Deliveries, topic: str, metrics: Metrics) -> None:
        self._publisher = publisher
        self._deliveries = deliveries
        self._topic = topic
        self._metrics = metrics
        self._waiting: dict[asyncio.Task[None], Refused] = {}

    async def send(self, refused: Refused, answer: OutgoingEvent) -> None:
        """Send ``answer``, the failed event of a refused request."""
        await self._deliveries.begin("the answer to a refused request", self._first(refused, answer))

    def close(self) -> None:
        """Give up what still waits for the topic."""
        for task, refused in self._waiting.items():
            task.cancel()
            self._untold(refused, "the worker stops, and the topic has not taken it yet")
        self._waiting.clear()

    async def _first(self, refused: Refused, answer: OutgoingEvent) -> None:
        try:
            await self._publish(refused, answer)
        except TopicRefusesError as refuses:
            if len(self._waiting) >= KEPT:
                self._untold(refused, f"{KEPT} others wait already: {refuses}")
                return
            task = asyncio.get_running_loop().create_task(self._later(refused, answer, refuses.seconds))
            self._waiting[task] = refused
            task.add_done_callback(lambda done: self._waiting.pop(done, None))

    async def _later(self, refused: Refused, answer: OutgoingEvent, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                return await self._publish(refused, answer)
            except TopicRefusesError as refuses:
                seconds = refuses.seconds

    async def _publish(self, refused: Refused, answer: OutgoingEvent) -> None:
        try:
            await self._publisher.publish(self._topic, key=answer.key, value=answer.value)
        except RecordRefusedError as error:
            self._metrics.unpublished.labels("answer").inc()
            self._untold(refused, str(error))

    def _untold(self, refused: Refused, why: str) -> None:
        log.error(
            "a refused request was not answered: only its dead letter tells of it",
            batch_id=refused.batch_id,
            correlation_id=str(refused.correlation_id),
            reason=refused.reason,
            why=why,
        )

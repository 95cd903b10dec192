"""Whether Kafka is away, or only not where this worker looks for it.

Hazard in aiokafka 0.14.0: a client asks the brokers that it knows for the cluster, and its bootstrap address never
again (``client.py``, ``_metadata_update``). When all of them have moved, or the address leads to another cluster by
now, it asks on for ever, and so does Faust's consumer. Here, while this worker's connections get no answer, the
bootstrap address is asked anew from time to time. A cluster that answers there, for longer than a limit, is no reason
to wait: the worker ends itself to be started again, and connects like everybody else. One that is away is.

Tests: ``test_cluster.py``; ``tests/kafka/test_lost_cluster.py``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import structlog
from aiokafka.errors import KafkaError, LeaderNotAvailableError
from aiokafka.structs import TopicPartition

from cj_stream.engine.clients import Kafka
from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.process import end_process
from cj_stream.engine.standstill import Standstill

ASK_EVERY_SECONDS = 5.0
ANSWER_SECONDS = 10.0
SUBJECT = "the cluster"
_MEANING = "Nothing is read, committed or started at this worker. It goes on by itself when Kafka answers again."

log = structlog.get_logger(__name__)

Ask = Callable[[], Awaitable[str]]


async def ask_anew(kafka: Kafka, topic: str, group: str) -> str:
    """Return, as a new client finds it, what answers at the bootstrap address.

    Raises KafkaError, OSError or TimeoutError unless a worker could go on with it: each partition of ``topic`` has a
    leader that answers, and so has the group a coordinator. A cluster without the topic is another one, and counts.
    """
    async with asyncio.timeout(ANSWER_SECONDS):
        admin = kafka.admin()
        try:
            await admin.start()
            found = {topic["topic"]: topic["partitions"] for topic in await admin.describe_topics()}
            if topic not in found:
                return f"a cluster without the topic {topic}"
            if any(partition["leader"] < 0 for partition in found[topic]):
                raise LeaderNotAvailableError(topic)
            await _ask_leaders(kafka, [TopicPartition(topic, number["partition"]) for number in found[topic]])
            await admin.list_consumer_group_offsets(group)
        finally:
            await admin.close()
    return "a cluster with all it takes"


async def _ask_leaders(kafka: Kafka, partitions: list[TopicPartition]) -> None:
    consumer = kafka.consumer()
    try:
        await consumer.start()
        await consumer.end_offsets(partitions)
    finally:
        await consumer.stop()


class Cluster:
    """What the watchdog knows of the cluster. ``limit`` is in seconds; all but the asking in the watchdog's thread."""

    def __init__(self, ask: Ask, limit: float, conditions: Conditions, kafka: Kafka) -> None:
        self._ask = ask
        self._limit = limit
        self._conditions = conditions
        self._kafka = kafka
        self._asking: threading.Thread | None = None
        self._asked_at = float("-inf")
        self._found: str | None = None
        self._elsewhere = Standstill[str](3 * (ASK_EVERY_SECONDS + ANSWER_SECONDS))

    def answered(self, at: float) -> None:
        """Note that this worker's own connections are answered."""
        self._elsewhere.observe(at, {})
        self._conditions.end(ConditionKind.KAFKA_AWAY, SUBJECT)

    def silent(self, at: float, error: BaseException) -> None:
        """Note that this worker's own connections are not answered, and look whether those of others are."""
        what = f"Kafka at {self._kafka.bootstrap} ({self._kafka.setting}) does not answer this worker: {error!r}"
        self._conditions.begin(ConditionKind.KAFKA_AWAY, SUBJECT, what, _MEANING)
        if self._asking is not None and not self._asking.is_alive():
            self._asking = None
            self._elsewhere.observe(at, {} if self._found is None else {SUBJECT: self._found})
            self._check(error)
        if self._asking is None and at - self._asked_at >= ASK_EVERY_SECONDS:
            self._asked_at = at
            self._asking = threading.Thread(target=self._ask_once, name="bootstrap", daemon=True)
            self._asking.start()

    def _check(self, error: BaseException) -> None:
        seconds = self._elsewhere.seconds.get(SUBJECT, 0.0)
        if seconds > self._limit:
            end_process(
                f"this worker's connections to Kafka are lost, but {self._found} answers at {self._kafka.setting}: "
                "it has to connect anew",
                bootstrap=self._kafka.bootstrap,
                seconds=round(seconds, 1),
                error=repr(error),
            )

    def _ask_once(self) -> None:
        try:
            self._found = asyncio.run(_awaited(self._ask()))
        except (KafkaError, OSError, TimeoutError) as error:
            self._found = None
            log.info(
                "Kafka does not answer anybody at its bootstrap address",
                bootstrap=self._kafka.bootstrap,
                why=repr(error),
            )


async def _awaited(answer: Awaitable[str]) -> str:
    return await answer

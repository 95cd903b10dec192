"""The real ingress agents on a producer in memory, and a check of what becomes of one message."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from support.engine.fake_producer import FakeProducer, Produced

from cj_stream.agents.callbacks import CallbacksAgent
from cj_stream.agents.requests import RequestsAgent
from cj_stream.contracts.envelope import read_envelope
from cj_stream.contracts.event_log import EVENTS
from cj_stream.dead_letters.input_watch import InputWatch
from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.dead_letters.letter import (
    CUT_VALUE_LIMIT,
    WHOLE_VALUE_LIMIT,
    StoredDeadLetter,
    envelope,
    read_dead_letter,
)
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.partition import PartitionBatches
from cj_stream.effects.refusal_answers import Answers
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.publisher import Deliveries
from cj_stream.engine.runs import Record, Run
from cj_stream.operations.batch_policy import policy_of
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.settings import Settings

METRICS = Metrics(dict, dict, dict)
CPU_SECONDS = 5.0
"""A message may take this much of a processor: hundreds of times what any does, so only what never ends is caught."""


@dataclass
class Fate:
    """What became of one message: exactly one of ``event``, ``letter``, ``foreign`` and ``applied``."""

    event: Any = None
    letter: StoredDeadLetter | None = None
    told: dict[str, Any] | None = None
    foreign: bool = False
    applied: bool = False
    """Whether it was a message of the log of events, of which nothing was refused."""

    @property
    def kind(self) -> str:
        """The fate in a word."""
        if self.letter is not None:
            return "refused, and told" if self.told else "refused"
        if self.applied:
            return "applied"
        return "foreign" if self.foreign else "forwarded"


@dataclass
class Ingress:
    """Takes messages as Kafka would deliver them; ``settings`` have no limit on bad input."""

    settings: Settings = field(default_factory=lambda: Settings(invalid_input_share=1, accumulate_milliseconds=1e-6))

    def __post_init__(self) -> None:
        settings = self.settings
        self.producer = FakeProducer(prompt=True)
        self.sender = self.producer.sender()
        publisher, deliveries = self.producer.publisher(), Deliveries(self.sender.promise)
        self.letters = letters = DeadLetters(
            publisher, deliveries, settings.dead_letters_topic, envelope, InputWatch(METRICS, InvalidShare(settings))
        )
        answers = Answers(publisher, deliveries, settings.assessment_failed_topic, METRICS)
        forwarder = Forwarder(self.sender, settings.batch_events_topic, settings.accumulate_milliseconds / 1000, EVENTS)
        self._agents: dict[str, RequestsAgent | CallbacksAgent] = {
            settings.assessment_request_topic: RequestsAgent(settings, forwarder, answers, letters, {}),
            settings.llm_provider_callback_topic: CallbacksAgent(settings.partitions, forwarder, letters, METRICS),
        }

    async def take(
        self, topic: str, value: bytes | None, *, key: bytes | None = None, timestamp: float = 1772615520.0
    ) -> Fate:
        """Handle a message twice, and return its fate; asserts that it has exactly one, and the same both times."""
        first = await self._handle(topic, value, key, timestamp)
        assert [_written(record) for record in first.records] == [
            _written(record) for record in (await self._handle(topic, value, key, timestamp)).records
        ], "the same message was handled in two ways"
        return self._fate(first, key, value)

    async def _handle(self, topic: str, value: bytes | None, key: bytes | None, timestamp: float) -> _Handled:
        orphans, started = _orphans(), time.thread_time()
        self.producer.records.clear()
        await self._agents[topic].handle(Run.of([Record(topic, 3, 17, timestamp, key, value)]))
        assert await self.sender.settled(patience=10)
        assert time.thread_time() - started < CPU_SECONDS, "a message took very long"
        return _Handled(list(self.producer.records), _orphans() - orphans)

    def _fate(self, handled: _Handled, key: bytes | None, value: bytes | None) -> Fate:
        settings = self.settings
        by_topic: dict[str, list[Produced]] = {}
        for record in handled.records:
            by_topic.setdefault(record.topic, []).append(record)
        forwarded, letters, told = (
            by_topic.pop(name, [])
            for name in (settings.batch_events_topic, settings.dead_letters_topic, settings.assessment_failed_topic)
        )
        assert not by_topic, f"something was written to {list(by_topic)}"
        assert len(forwarded) + len(letters) + handled.orphans == 1, "a message has exactly one fate"
        assert len(told) <= len(letters), "nobody is told of what was not refused"
        if letters:
            return Fate(letter=_kept_letter(letters[0], key, value), told=_told(told))
        return Fate(foreign=True) if not forwarded else Fate(event=self._decidable(forwarded[0]))

    def _decidable(self, record: Produced) -> Any:
        (event,) = record.events()
        assert record.partition in range(self.settings.partitions)
        batches = PartitionBatches(CorrelationIds(b"key"), policy_of(self.settings), lambda *_: None)
        for row in batches.decide(cast("Any", event), 1772615520.0).rows:
            msgspec.msgpack.encode(row)
        return event


@dataclass
class _Handled:
    records: list[Produced]
    orphans: float


def _orphans() -> float:
    METRICS.exposition()  # what was noted is counted when somebody looks
    return float(METRICS.callbacks_ignored.labels("orphan")._value.get())


def _written(record: Produced) -> tuple[object, ...]:
    return (record.topic, record.partition, record.key, record.value, record.headers)


def _kept_letter(record: Produced, key: bytes | None, value: bytes | None) -> StoredDeadLetter:
    letter = read_dead_letter(record.key, record.value, record.headers or [])
    assert letter.reason
    assert letter.detail
    assert letter.key == (None if key is None else key[: len(letter.key or b"")])
    if value is None:
        assert (letter.value, letter.size) == (None, -1)
    else:
        assert letter.size == len(value)
        assert letter.value == (value if len(value) <= WHOLE_VALUE_LIMIT else value[:CUT_VALUE_LIMIT])
        assert letter.sha256 == hashlib.sha256(value).hexdigest()
    return letter


def _told(records: list[Produced]) -> dict[str, Any] | None:
    return read_envelope(records[0].value).data if records else None

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from aiokafka import errors
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import PARTITION, Story, requested
from support.engine.fake_producer import FakeProducer
from support.engine.until import until

from cj_stream.content.client import TextMissing
from cj_stream.contracts.event_log import encode_event
from cj_stream.contracts.message_limits import REASONS_LIMIT
from cj_stream.contracts.outcome_writer import OutgoingEvent
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.events import ContentLoaded, Event, OutcomePublished, OutcomeRefused
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.todo import LoadContent, Publish
from cj_stream.effects import refusal_answers
from cj_stream.effects.carry_out import Effects
from cj_stream.effects.refusal_answers import Answers
from cj_stream.engine import publisher as publisher_module
from cj_stream.engine.dispatcher import PostponedError
from cj_stream.engine.fence import Fence
from cj_stream.engine.limits import EVENT_LIMIT
from cj_stream.engine.publisher import Deliveries
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.settings import Settings
from cj_stream.provider.prompts import JudgingInstructions, judging

TOO_LARGE = errors.MessageSizeTooLargeError()
FORBIDDEN = errors.TopicAuthorizationFailedError("t")


async def _no_judgements(_batch: Batch) -> None:
    return None


def effects(producer: FakeProducer, content: Any = None) -> Effects:
    return Effects(
        Settings(),
        content=content,
        provider=content,
        publisher=producer.publisher(),
        correlation_ids=CorrelationIds(b"key"),
        fence=Fence(3600),
        metrics=Metrics(dict, dict, dict),
        judgements=_no_judgements,
    )


@pytest.fixture
def producer() -> FakeProducer:
    return FakeProducer(prompt=True)


@pytest.fixture
def batch() -> Batch:
    story = Story()
    story.tell(requested(3))
    return story.play(judges)


async def published(producer: FakeProducer, batch: Batch, kind: str = "result") -> Event:
    outcome = Outcome(OutcomeKind(kind), batch.roster.correlation_id)
    return await effects(producer)(Publish(batch.batch_id, 1, outcome), batch, PARTITION)


async def test_an_outcome_is_reported_when_the_broker_has_it(producer: FakeProducer, batch: Batch) -> None:
    report = await published(producer, batch)
    assert isinstance(report, OutcomePublished)
    assert len(producer.records) == 1


async def test_an_outcome_that_is_too_large_is_reported_as_such(producer: FakeProducer, batch: Batch) -> None:
    producer.failure = TOO_LARGE
    report = await published(producer, batch)
    assert isinstance(report, OutcomeRefused)
    assert report.outcome == f"result:{batch.roster.correlation_id}"
    assert "max.message.bytes" in report.why


async def test_an_outcome_of_a_topic_that_refuses_is_postponed(producer: FakeProducer, batch: Batch) -> None:
    producer.failure = FORBIDDEN
    with pytest.raises(PostponedError, match="grant it WRITE"):
        await published(producer, batch)


async def test_an_outcome_that_cannot_even_be_written_is_reported_as_such(producer: FakeProducer, batch: Batch) -> None:
    broken = replace(batch.roster, correlation_id="no uuid")
    report = await published(producer, Batch(roster=broken, control=batch.control))
    assert isinstance(report, OutcomeRefused)
    assert "it cannot be written" in report.why


class _Nothing:
    """A content service whose answers are long, and never a text."""

    async def text(self, storage_id: str) -> str:
        raise TextMissing(storage_id, "x" * 1_000)

    def judging(self, _overrides: Any, task: str | None) -> JudgingInstructions:
        return judging(task=task, rubric=None, provider="p", model="m", temperature=0.0)


async def test_the_reasons_of_many_essays_without_a_text_fit_into_an_event(producer: FakeProducer) -> None:
    essays = 5_000
    story = Story()
    story.tell(requested(essays))
    effect = LoadContent(story.batch.batch_id, 1)
    report = await effects(producer, _Nothing())(effect, story.batch, PARTITION)
    assert isinstance(report, ContentLoaded)
    assert len(report.unusable) == essays
    assert sum(map(len, report.unusable.values())) <= REASONS_LIMIT
    assert len(encode_event(report)) < EVENT_LIMIT


REFUSED = Refused("no_essays", "There are none.", batch_id="b", correlation_id=UUID(int=1), is_request=True)
ANSWER = OutgoingEvent(OutcomeKind.FAILED, b"b", b"the failed event")


class Desk:
    """The answers of a worker, and what its commits wait for."""

    def __init__(self, producer: FakeProducer) -> None:
        self.sender = producer.sender()
        self.metrics = Metrics(dict, dict, dict)
        self.answers = Answers(producer.publisher(), Deliveries(self.sender.promise), "failed", self.metrics)


async def test_a_commit_waits_for_the_answer_to_a_refused_request() -> None:
    producer = FakeProducer()
    desk = Desk(producer)
    await desk.answers.send(REFUSED, ANSWER)
    await until(lambda: producer.records)
    assert desk.sender.outstanding == 1
    producer.acknowledge(0)
    assert await desk.sender.settled(10)


async def test_no_commit_waits_for_a_topic_that_refuses_and_the_answer_is_sent_when_it_takes_it(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "PAUSE_SECONDS", 0.001)
    desk = Desk(producer)
    producer.failure = FORBIDDEN
    await desk.answers.send(REFUSED, ANSWER)
    assert await desk.sender.settled(10)
    assert producer.records == []
    producer.failure = None
    await until(lambda: producer.records)
    assert producer.records[0].value == ANSWER.value


async def test_an_answer_that_no_topic_takes_is_counted_and_stops_nobody(producer: FakeProducer) -> None:
    desk = Desk(producer)
    producer.failure = TOO_LARGE
    await desk.answers.send(REFUSED, ANSWER)
    assert await desk.sender.settled(10)
    assert b'cj_unpublished_total{what="answer"} 1.0' in desk.metrics.exposition()


async def test_what_was_not_answered_when_the_worker_stops_is_told(
    producer: FakeProducer, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk(producer)
    producer.failure = FORBIDDEN
    await desk.answers.send(REFUSED, ANSWER)
    assert await desk.sender.settled(10)
    desk.answers.close()
    await asyncio.sleep(0)
    assert "a refused request was not answered" in capsys.readouterr().out


async def test_answers_that_wait_are_bounded(
    producer: FakeProducer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(refusal_answers, "KEPT", 1)
    desk = Desk(producer)
    producer.failure = FORBIDDEN
    for _ in range(2):
        await desk.answers.send(REFUSED, ANSWER)
    assert await desk.sender.settled(10)
    assert "1 others wait already" in capsys.readouterr().out
    desk.answers.close()

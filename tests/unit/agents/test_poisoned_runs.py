"""A record that is refused fails alone within its run: all others are handled, and each refused one has its letter."""

from __future__ import annotations

import pytest
from support.domain.story import PARTITION, START
from support.wire.contract_samples import document, encoded, with_value
from support.wire.event_log import EVENTS, EventLog
from support.wire.ingress import Ingress

from cj_stream.contracts.event_log import encode_event
from cj_stream.dead_letters.letter import StoredDeadLetter, read_dead_letter
from cj_stream.engine.messages import encode_message
from cj_stream.engine.record_batches import NOT_READ
from cj_stream.engine.runs import Record, Run

REQUEST, CALLBACK = "request_current.json", "callback_success.json"
BROKEN = b"{"


def valid(name: str, number: int) -> bytes:
    """Return a sample about a batch of its own."""
    field = "data.entity_id" if name == REQUEST else "data.request_metadata.cj_batch_id"
    return encoded(with_value(document(name), field, f"batch-{number}"))


def letters_of(ingress: Ingress) -> list[StoredDeadLetter]:
    topic = ingress.settings.dead_letters_topic
    records = [record for record in ingress.producer.records if record.topic == topic]
    return [read_dead_letter(record.key, record.value, record.headers or []) for record in records]


@pytest.mark.parametrize("name", [REQUEST, CALLBACK])
async def test_what_is_around_refused_input_is_forwarded(name: str) -> None:
    ingress = Ingress()
    settings = ingress.settings
    topic = settings.assessment_request_topic if name == REQUEST else settings.llm_provider_callback_topic
    values = [valid(name, 0), BROKEN, valid(name, 2), b"", BROKEN, valid(name, 5)]
    records = [Record(topic, 3, offset, START, None, value) for offset, value in enumerate(values)]
    records[3] = Record(topic, 3, 3, START, None, b"", ((NOT_READ, b"it was damaged"),))
    handle = ingress.letters.read_by(ingress._agents[topic].handle)
    await handle(Run.of(records))
    assert await ingress.sender.settled(10)
    assert sorted((letter.offset, letter.reason) for letter in letters_of(ingress)) == [
        (1, "not_json"),
        (3, "not_read"),
        (4, "not_json"),
    ]
    forwarded = [record for record in ingress.producer.records if record.topic == settings.batch_events_topic]
    assert sum(len(record.events()) for record in forwarded) == 3


async def test_what_is_around_a_message_that_cannot_be_read_is_applied() -> None:
    log = EventLog()
    first, *rest = [encode_message([encode_event(event)]) for event in EVENTS]
    values = [BROKEN, first, BROKEN, *rest, BROKEN]
    records = [Record("events", PARTITION, offset, START, None, value) for offset, value in enumerate(values)]
    await log.agent.handle(Run.of(records))
    assert await log.sender.settled(10)
    assert [letter.offset for letter in log.letters] == [0, 2, len(values) - 1]
    assert log.held == [len(values) - 1]
    (batch,) = log.rows.heads(PARTITION)
    assert log.rows.position(PARTITION, batch) == len(values) - 2, "up to the last event"

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from support.engine.fake_producer import FakeProducer

from cj_stream.contracts.refusal import Refused
from cj_stream.dead_letters.input_watch import InputWatch
from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.dead_letters.letter import CUT_VALUE_LIMIT, StoredDeadLetter, envelope, read_dead_letter
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.publisher import Deliveries
from cj_stream.engine.runs import Record
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.settings import Settings

VALUE = b"x" * 300_000


class Topic(FakeProducer):
    """A dead-letter topic that takes records up to ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(prompt=True)
        self.limit = limit
        self.metrics = Metrics(dict, dict, dict)

    async def publish(self, topic: str, key: Any, value: Any, headers: Any, timestamp: float) -> Any:
        size = len(key or b"") + len(value or b"") + sum(len(name) + len(content) for name, content in headers)
        if size > self.limit:
            raise MessageSizeTooLargeError
        return await super().publish(topic, key, value, headers, timestamp)

    async def put(self) -> None:
        sender = self.sender()
        share = InvalidShare(Settings())
        letters = DeadLetters(
            self.publisher(), Deliveries(sender.promise), "letters", envelope, InputWatch(self.metrics, share)
        )
        record = Record("requests", 1, 2, 1772615520.0, b"k" * 500, VALUE)
        await letters.put(record, Refused("not_json", "d" * 400))
        assert await sender.settled(10)

    def kept(self) -> StoredDeadLetter:
        (record,) = self.records
        return read_dead_letter(record.key, record.value, record.headers or [])


@pytest.mark.parametrize(("limit", "kept"), [(400_000, len(VALUE)), (100_000, CUT_VALUE_LIMIT), (8_000, 4_096)])
async def test_a_dead_letter_is_cut_to_what_its_topic_takes_and_says_so(limit: int, kept: int) -> None:
    topic = Topic(limit)
    await topic.put()
    letter = topic.kept()
    assert (letter.value, letter.size) == (VALUE[:kept], len(VALUE))
    assert letter.is_whole == (kept == len(VALUE))
    assert (letter.reason, letter.topic, letter.partition, letter.offset) == ("not_json", "requests", 1, 2)


async def test_where_hardly_anything_is_taken_the_letter_says_at_least_what_and_where() -> None:
    topic = Topic(600)
    await topic.put()
    letter = topic.kept()
    assert (letter.value, letter.size, letter.reason, letter.offset) == (b"", len(VALUE), "not_json", 2)
    assert not letter.is_whole


async def test_a_letter_that_is_taken_in_no_form_is_told_in_the_log_and_stops_nobody(
    capsys: pytest.CaptureFixture[str],
) -> None:
    topic = Topic(10)
    await topic.put()
    assert topic.records == []
    told = capsys.readouterr().out
    assert "a dead letter could not be kept" in told
    assert "requests" in told
    assert b'cj_unpublished_total{what="dead_letter"} 1.0' in topic.metrics.exposition()

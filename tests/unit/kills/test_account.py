"""The kill suite's account finds what it is there to find; here in what a worker would have left behind."""

from __future__ import annotations

from collections import Counter, defaultdict
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from kills import account
from kills.ledger import Ledger
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, IDS, PARTITION, Story

from cj_stream.contracts.event_log import encode_event
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import (
    Event,
    SubmissionAccepted,
)
from cj_stream.domain.records import Comparison
from cj_stream.engine.messages import PartitionOpened, encode_message
from cj_stream.engine.rows import row_position
from cj_stream.operations.settings import Settings
from cj_stream.tables.codec import (
    KINDS,
    encode_row,
    row_key,
)

SETTINGS = Settings(correlation_key=IDS.key.decode())


class Remains:
    """What a batch that was judged to its end has left on the topics."""

    def __init__(self) -> None:
        story = Story()
        story.start(essays=4)
        self.batch: Batch = story.play(judges)
        self.events: list[tuple[Event | PartitionOpened, ...]] = [events for _, events in story.log]
        self.rows = [*story.table.data.items()]
        ids = [str(self._id(index)) for index in range(self.batch.total_comparisons)]
        self.submissions = Counter(ids)
        self.committed = {TopicPartition(SETTINGS.batch_events_topic, PARTITION): len(self.events)}

    def _id(self, index: int) -> Any:
        parts: dict[str, Any] = {"partition": PARTITION, "batch_id": BATCH, "run": 1, "index": index, "attempt": 1}
        return IDS.make(pair=self.batch.essay_ids(index), **parts)

    def violations(self) -> list[str]:
        records: dict[str, list[Any]] = defaultdict(list)
        records[SETTINGS.batch_events_topic] = [
            _record(SETTINGS.batch_events_topic, offset, None, encode_message([encode_event(e) for e in events]))
            for offset, events in enumerate(self.events)
        ]
        topic = SETTINGS.changelog_topic
        records[topic] = [_record(topic, offset, key, value) for offset, (key, value) in enumerate(self.rows)]
        ledger = Ledger(SETTINGS, cast("Any", SimpleNamespace(records=records)))
        ledger.update()
        echo = {"metadata": {"bos_batch_id": BATCH}}
        post = SimpleNamespace(submissions=self.submissions, requests=defaultdict(lambda: echo))
        return [
            *account.verdicts(ledger, {BATCH: self.batch}),
            *account.commits(ledger, cast("Any", SimpleNamespace(settings=SETTINGS)), self.committed),
            *account.submissions(ledger, cast("Any", post)),
        ]

    def place_of_a_verdict(self) -> int:
        return next(place for place, (key, _) in enumerate(self.rows) if key[:1] == KINDS[Comparison])

    def open_before(self, what: type[Event]) -> None:
        """Put a change of owner before the first event of a kind."""
        place = next(place for place, events in enumerate(self.events) if isinstance(events[0], what))
        self.events.insert(place, (PartitionOpened(nonce="another owner"),))
        self.committed = {tp: offset + 1 for tp, offset in self.committed.items()}


def _record(topic: str, offset: int, key: bytes | None, value: bytes) -> Any:
    return SimpleNamespace(topic=topic, partition=PARTITION, offset=offset, timestamp=1000, key=key, value=value)


@pytest.fixture
def remains() -> Remains:
    return Remains()


def test_a_run_in_which_nothing_went_wrong_has_no_violations(remains: Remains) -> None:
    assert remains.violations() == []


def test_a_verdict_that_is_committed_but_in_no_row_is_found(remains: Remains) -> None:
    del remains.rows[remains.place_of_a_verdict()]
    said = remains.violations()
    assert any("has no verdict" in text for text in said)
    assert any("committed and not in the changelog" in text for text in said)


def test_a_verdict_that_was_replaced_is_found(remains: Remains) -> None:
    row = remains.batch.comparisons[0]
    other = replace(row, winner="B" if row.winner == "A" else "A")
    value = dict(remains.rows)[row_key(BATCH, 1, row)]
    remains.rows.append((row_key(BATCH, 1, row), encode_row(other, row_position(value))))
    said = remains.violations()
    assert any("had 2 verdicts" in text for text in said)
    assert any("not the judge's" in text for text in said)


def test_a_second_submission_is_found_unless_the_owner_changed_before_the_log_had_the_first(remains: Remains) -> None:
    first = str(remains._id(0))
    remains.submissions[first] += 1
    (said,) = remains.violations()
    assert said == f"{first} of {BATCH} was submitted 2 times, allowed are 1"
    remains.open_before(SubmissionAccepted)
    assert remains.violations() == []


def test_a_control_row_that_is_older_than_what_is_committed_is_found(remains: Remains) -> None:
    control = replace(remains.batch.control, published=())
    key = row_key(BATCH, 1, control)
    remains.rows = [(k, encode_row(control, row_position(v)) if k == key else v) for k, v in remains.rows]
    (said,) = remains.violations()
    assert "published is" in said

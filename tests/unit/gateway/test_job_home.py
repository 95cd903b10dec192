"""What events make of the jobs of a partition, through the rows that are stored of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

import msgspec
import pytest
from structlog.testing import capture_logs
from support.domain.story import MemoryTable
from support.wire.questions import question

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.engine.home import Entry
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.runs import Record
from cj_stream.gateway import deciding
from cj_stream.gateway.job_home import JobHome, Subject
from cj_stream.gateway.job_rows import JOB, TEXTS, JobRows
from cj_stream.gateway.jobs import (
    Accepted,
    Answered,
    AnyEvent,
    BatchCancelled,
    Began,
    Call,
    Ended,
    Job,
    JobCancelled,
    Publish,
    Published,
    ScopeLimited,
    ScopePaused,
    TimeIsOver,
    next_due,
    todo,
)

PARTITION = 2
START = 1_700_000_000.0
TTL = 3000.0
ESSAY = "the essay's own words"


class Told:
    """A partition whose log is told event by event; the home can be made anew, as another gateway would."""

    def __init__(self) -> None:
        self.table = MemoryTable()
        self.rows = JobRows(cast("Any", self.table))
        self.home = JobHome(PARTITION, self.rows)
        self.log: list[tuple[AnyEvent, float]] = []
        self.changed: dict[Any, Subject] = {}

    async def tell(self, *events: AnyEvent, after: float = 0.0) -> None:
        at = START + after
        entries = [self._entry(event, len(self.log) + number, at) for number, event in enumerate(events)]
        self.log += [(event, at) for event in events]
        await self._apply(entries)

    async def read_again(self, since: int = 0) -> None:
        """Read the log again from an event on, as after a crash before the commit."""
        self.home = JobHome(PARTITION, self.rows)
        entries = [self._entry(event, offset, at) for offset, (event, at) in enumerate(self.log) if offset >= since]
        await self._apply(entries)

    async def _apply(self, entries: Sequence[Entry[AnyEvent]]) -> None:
        applied = await self.home.apply(entries)
        assert not applied.undecided
        await self.table.write(cast("Any", None), PARTITION, applied.puts)
        self.changed |= {subject.key: subject for subject in applied.changed}

    def job(self, job_id: str) -> Job:
        found = self.rows.job(PARTITION, job_id)
        assert found is not None
        return found

    @staticmethod
    def _entry(event: AnyEvent, offset: int, at: float) -> Entry[AnyEvent]:
        # As it comes from the log: encoded and decoded.
        codec = EventCodec[AnyEvent](AnyEvent)
        read = codec.decode(codec.encode(event))
        return Entry(cast("AnyEvent", read), Record("log", PARTITION, offset, at, None, b""))


@pytest.fixture
def told() -> Told:
    return Told()


def accepted(batch: str = "b", job_id: str | None = None, **metadata: Any) -> Accepted:
    named = {"essay_a_id": "one", "essay_b_id": "two", "bos_batch_id": batch, "cj_batch_id": f"{batch}-1"}
    request = question("one", "two", user_prompt=ESSAY, metadata=named | metadata).request
    return Accepted(id=job_id or str(uuid4()), scope="mock/simulated", seconds=TTL, request=request)


def effects(job: Job) -> list[Any]:
    return list(todo(job))


async def test_a_job_is_called_for_until_it_has_an_answer_and_published_until_the_broker_has_it(told: Told) -> None:
    event = accepted(priority=3)
    await told.tell(event)
    job = told.job(event.id)
    assert (effects(job), job.priority, next_due(job)) == ([Call(1)], 3, START + TTL * 0.95)
    assert (len(told.home.unanswered), told.home.unanswered.bytes) == (1, len(ESSAY))
    await told.tell(Began(id=event.id, number=1))
    assert effects(told.job(event.id)) == [Call(1)]
    await told.tell(Answered(id=event.id, callback=b"answer"))
    assert effects(told.job(event.id)) == [Publish(1)]
    assert next_due(told.job(event.id)) is None
    await told.tell(Published(id=event.id, number=1))
    assert effects(told.job(event.id)) == []
    assert next_due(told.job(event.id)) == START + TTL
    await told.tell(TimeIsOver(kind=deciding.JOB, name=event.id, at=START + TTL), after=TTL)
    assert told.rows.job(PARTITION, event.id) is None


async def test_texts_go_with_the_answer_and_nothing_of_them_stays_in_any_row(told: Told) -> None:
    event = accepted()
    await told.tell(event)
    assert any(ESSAY.encode() in value for _, value in told.table.scan(PARTITION, TEXTS))
    await told.tell(Answered(id=event.id, callback=b"answer"))
    assert not [key for key, value in told.table.scan(PARTITION, b"") if ESSAY.encode() in value]
    assert told.rows.request(PARTITION, event.id) is None


async def test_a_repeated_request_meets_its_first_copy_and_is_answered_with_the_same_bytes(told: Told) -> None:
    event = accepted()
    await told.tell(event, event)
    assert len(told.home.unanswered) == 1
    await told.tell(Answered(id=event.id, callback=b"answer"), Published(id=event.id, number=1))
    await told.tell(msgspec.structs.replace(event, seconds=1.0))
    job = told.job(event.id)
    assert (effects(job), job.answer, job.expires_at) == ([Publish(2)], b"answer", START + TTL)
    # While a copy is on its way, more requests ask for no more copies.
    await told.tell(event)
    await told.tell(Published(id=event.id, number=2))
    assert effects(told.job(event.id)) == []


async def test_the_first_answer_stays(told: Told) -> None:
    event = accepted()
    await told.tell(event, Answered(id=event.id, callback=b"one"), Answered(id=event.id, callback=b"other"))
    assert told.job(event.id).answer == b"one"


async def test_what_is_not_answered_in_time_gets_an_error_that_says_so_with_the_same_bytes_every_time(
    told: Told,
) -> None:
    event = accepted()
    over = TimeIsOver(kind=deciding.JOB, name=event.id, at=START + TTL * 0.95)
    await told.tell(event)
    await told.tell(TimeIsOver(kind=deciding.JOB, name=event.id, at=START + 1), after=1)
    assert told.job(event.id).answer is None
    await told.tell(over, after=TTL)
    first = told.job(event.id).answer
    assert first is not None
    callback = read_callback(first)
    assert (str(callback.correlation_id), callback.winner, callback.error_code) == (event.id, None, "TIMEOUT")
    assert json.loads(first)["data"]["request_metadata"]["bos_batch_id"] == "b"
    other = Told()
    await other.tell(event)
    await other.tell(msgspec.structs.replace(over), after=1)
    other.log[-1] = (over, START + TTL)
    other.table = MemoryTable()
    other.rows = JobRows(cast("Any", other.table))
    await other.read_again()
    assert other.job(event.id).answer == first


async def test_a_cancelled_batch_reaches_what_waits_and_what_comes_later_and_leaves_the_others(told: Told) -> None:
    waiting, other = accepted("b"), accepted("c")
    await told.tell(waiting, other, BatchCancelled(batch="b-1", seconds=TTL))
    later, retried = accepted("b"), accepted("b", cj_batch_id="b-2")
    await told.tell(later, retried)
    answers = {event.id: told.job(event.id).answer for event in (waiting, other, later, retried)}
    assert [bool(answers[event.id]) for event in (waiting, other, later, retried)] == [True, False, True, False]
    assert {read_callback(answer).error_code for answer in answers.values() if answer} == {"CANCELLED"}
    assert told.rows.request(PARTITION, later.id) is None
    await told.tell(BatchCancelled(batch="b", seconds=TTL))
    assert told.job(retried.id).answer is not None
    await told.tell(TimeIsOver(kind=deciding.BATCH, name="b-1", at=START + TTL), after=TTL)
    await told.tell(TimeIsOver(kind=deciding.BATCH, name="b", at=START + TTL), after=TTL)
    free = accepted("b")
    await told.tell(free, after=TTL)
    assert told.job(free.id).answer is None


async def test_a_call_under_way_is_not_cut_off_by_a_cancellation_but_not_made_again_either(told: Told) -> None:
    event, failing = accepted(), accepted()
    await told.tell(event, failing, Began(id=event.id, number=1), Began(id=failing.id, number=1))
    await told.tell(JobCancelled(id=event.id), JobCancelled(id=failing.id))
    assert told.job(event.id).answer is None
    await told.tell(Answered(id=event.id, callback=b"answer"))
    assert told.job(event.id).answer == b"answer"
    await told.tell(Ended(id=failing.id, number=1, paid=True, not_before=0.0, why="503"))
    answer = told.job(failing.id).answer
    assert answer is not None
    assert read_callback(answer).error_code == "CANCELLED"


async def test_calls_are_counted_with_those_of_which_nobody_knows_how_they_ended(told: Told) -> None:
    event = accepted()
    await told.tell(event, Began(id=event.id, number=1))
    assert (told.job(event.id).paid, told.home.unanswered.under_way()) == (1, 1)
    # Another gateway calls again, and is told to wait: that one was not paid.
    await told.tell(Began(id=event.id, number=2), Ended(id=event.id, number=2, paid=False, not_before=0.0, why="429"))
    job = told.job(event.id)
    assert (job.paid, job.under_way, effects(job)) == (1, False, [Call(3)])
    await told.tell(Began(id=event.id, number=3), Ended(id=event.id, number=3, paid=True, not_before=9.0, why="500"))
    job = told.job(event.id)
    assert (job.paid, job.not_before, effects(job)) == (2, 9.0, [Call(4)])


async def test_an_opened_partition_says_how_many_calls_may_be_paid_for_twice(told: Told) -> None:
    doubtful, waiting = accepted(), accepted()
    await told.tell(doubtful, waiting, Began(id=doubtful.id, number=1))
    with capture_logs() as logs:
        subjects = list(JobHome(PARTITION, told.rows).subjects())
    assert {subject.key for subject in subjects} == {(JOB, doubtful.id), (JOB, waiting.id)}
    assert [(entry["partition"], entry["calls"]) for entry in logs] == [(PARTITION, 1)]


async def test_a_pause_and_limits_are_kept_and_only_newer_ones_win(told: Told) -> None:
    await told.tell(ScopePaused(scope="x/y", until=START + 100, why="a 429"))
    await told.tell(ScopePaused(scope="x/y", until=START + 50, why="shorter"))
    await told.tell(ScopeLimited(scope="x/y", requests_per_minute=30.0, tokens_per_minute=None), after=5)
    found = JobHome(PARTITION, told.rows).scopes["x/y"]
    assert (found.paused_until, found.why) == (START + 100, "a 429")
    assert (found.requests_per_minute, found.tokens_per_minute) == (30.0, None)


async def test_reading_the_log_again_from_anywhere_changes_nothing(told: Told) -> None:
    events = [accepted() for _ in range(3)]
    first = events[0]
    await told.tell(*events, Began(id=first.id, number=1), Answered(id=first.id, callback=b"answer"))
    await told.tell(Published(id=first.id, number=1), first, BatchCancelled(batch="b", seconds=TTL))
    await told.tell(Published(id=first.id, number=2), ScopePaused(scope="s", until=START + 9, why="w"), after=3)
    await told.tell(TimeIsOver(kind=deciding.JOB, name=first.id, at=START + TTL), after=TTL)
    rows = dict(told.table.scan(PARTITION, b""))
    for since in range(len(told.log)):
        await told.read_again(since)
        again = dict(told.table.scan(PARTITION, b""))
        assert {key for key in again if key != b"h"} == {key for key in rows if key != b"h"}
        assert all(again[key] == value for key, value in rows.items() if key != b"h"), since


async def test_an_event_that_cannot_be_decided_harms_no_other_and_its_texts_are_told_to_nobody(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ValueError(ESSAY)

    handlers: dict[Any, Any] = deciding._HANDLERS
    monkeypatch.setitem(handlers, Began, fails)
    event = accepted()
    events: list[AnyEvent] = [Began(id="x", number=1), event]
    entries = [told._entry(each, offset, START) for offset, each in enumerate(events)]
    with capture_logs() as logs:
        applied = await told.home.apply(entries)
    assert [subject.key for subject in applied.changed] == [(JOB, event.id)]
    (undecided,) = applied.undecided
    assert ESSAY not in str(undecided.refusal)
    assert ESSAY not in json.dumps(logs, default=str)

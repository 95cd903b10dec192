from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from support.domain.story import BATCH, FIRST, PARTITION, START, Story, requested
from support.engine.fake_producer import FakeProducer
from support.engine.scraped import value

from cj_stream.agents.timeouts import BatchDeadlines
from cj_stream.domain.batch import Batch
from cj_stream.domain.deadlines import next_due
from cj_stream.domain.draft import Change
from cj_stream.domain.events import (
    Action,
    Event,
    OperatorCommand,
    TimeoutDue,
)
from cj_stream.domain.identifiers import timeout_event_id
from cj_stream.domain.policy import Policy
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.messages import PartitionOpened
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.lag import Read
from cj_stream.engine.windows import Windows
from cj_stream.operations.metrics import Metrics

WIDTH = 60.0
HOUR = 3600.0


class Timer:
    """The timer agent of a worker that serves one partition. ``sent`` are the events it has sent there."""

    def __init__(self) -> None:
        self.now = START
        self.read = Read(everything=True)
        self.while_asking: Callable[[], None] = lambda: None
        self.copies: list[bytes] = []
        self.told: list[dict[str, Any]] = []
        self.sent: list[TimeoutDue] = []
        self.opener = Opener(FakeProducer().sender(), "events", lambda: self.now)
        self.metrics = Metrics(dict, dict, dict)
        forwarder = _Forwarder(self.sent)
        told = self.metrics.stuck_detected.set
        deadlines = BatchDeadlines(WIDTH, self._copy)
        self.agent: Windows[Any, Any, Any] = Windows(
            WIDTH, deadlines, self.opener, forwarder, self._callbacks_read, told
        )

    async def _copy(self, key: bytes, value: bytes) -> None:
        self.copies.append(key)
        self.told.append(json.loads(value))

    async def _callbacks_read(self) -> Read:
        self.while_asking()
        return self.read

    def open(self) -> None:
        """Take the partition over, and read its marker."""
        self.opener.assigned({PARTITION})
        self.opener.read(PARTITION, PartitionOpened(nonce=self.opener._nonces[PARTITION]))

    async def look(self, after: float) -> list[TimeoutDue]:
        """Let the windows close ``after`` more seconds, and return what was sent because of it."""
        self.now += after
        self.sent.clear()
        await self.agent.close(self.now)
        return list(self.sent)


class _Forwarder(Forwarder[Event]):
    def __init__(self, sent: list[TimeoutDue]) -> None:
        self._sent = sent

    async def deliver(self, partition: int, event: object) -> object:
        assert partition == PARTITION
        assert isinstance(event, TimeoutDue)
        self._sent.append(event)
        return None


@pytest.fixture
def batch() -> Batch:
    story = Story(Policy(retention=HOUR))
    story.tell(requested(3))
    return story.batch


@pytest.fixture
async def timer(batch: Batch) -> Timer:
    timer = Timer()
    timer.open()
    timer.agent.watch(PARTITION, [batch])
    return timer


async def test_a_batch_is_due_when_the_window_of_its_deadline_has_closed(timer: Timer, batch: Batch) -> None:
    due = next_due(batch, START)
    assert due is not None
    window_end = (due.at // WIDTH + 1) * WIDTH
    assert await timer.look(window_end - START - 1) == []
    sent = await timer.look(1)
    assert [(event.batch_id, event.run, event.due_at, event.opened_at) for event in sent] == [(BATCH, 1, due.at, START)]
    assert timer.copies == [BATCH.encode()]


async def test_whoever_watches_is_told_of_what_is_due_in_an_event_with_the_same_id_from_any_worker(
    timer: Timer,
) -> None:
    (sent,) = await timer.look(5 * HOUR)
    (told,) = timer.told
    assert told["event_id"] == str(timeout_event_id(BATCH, 1, sent.due_at))
    assert told["correlation_id"] == FIRST
    assert datetime.fromisoformat(told["event_timestamp"]).timestamp() == timer.now
    assert (told["data"]["batch_id"], told["data"]["run"]) == (BATCH, 1)
    assert datetime.fromisoformat(told["data"]["due_at"]).timestamp() == pytest.approx(sent.due_at, abs=1e-5)
    window_end = datetime.fromisoformat(told["data"]["window_end"]).timestamp()
    assert (window_end % WIDTH, 0 < window_end - sent.due_at <= WIDTH) == (0, True)


async def test_a_partition_that_was_given_up_while_the_broker_was_asked_is_left_alone(timer: Timer) -> None:
    def give_up() -> None:
        timer.agent.drop([PARTITION])
        timer.opener.revoked()

    timer.while_asking = give_up
    assert await timer.look(5 * HOUR) == []


async def test_nothing_is_due_while_callbacks_lie_unread(timer: Timer) -> None:
    timer.read = Read(everything=False)
    assert await timer.look(5 * HOUR) == []
    timer.read = Read(everything=True)
    assert len(await timer.look(0)) == 1


async def test_each_timeout_tells_of_partitions_that_stand_and_whose_callbacks_were_not_waited_for(
    timer: Timer,
) -> None:
    timer.read = Read(everything=True, standing=("partition 1 of callbacks stands at offset 3",))
    assert len(await timer.look(5 * HOUR)) == 1
    reason = timer.told[0]["data"]["reason"]
    assert "verdicts may lie unread: partition 1 of callbacks stands at offset 3" in reason


async def test_a_batch_that_nothing_came_of_is_due_again_in_the_next_window_and_not_before(timer: Timer) -> None:
    assert len(await timer.look(5 * HOUR)) == 1
    assert await timer.look(1) == []
    assert len(await timer.look(2 * WIDTH)) == 1


async def test_a_batch_that_moved_while_the_broker_was_asked_is_left_alone(timer: Timer) -> None:
    story = Story()
    story.now = START + 5 * HOUR
    moved: Change = story.tell(requested(3))
    assert moved.batch is not None
    timer.while_asking = lambda: timer.agent.watch(PARTITION, [moved.batch] if moved.batch else [])
    assert await timer.look(5 * HOUR) == []


async def test_a_partition_that_was_opened_anew_while_the_broker_was_asked_is_left_alone(timer: Timer) -> None:
    timer.while_asking = timer.open
    assert await timer.look(5 * HOUR) == []


async def test_a_partition_that_is_not_open_is_left_alone(timer: Timer) -> None:
    timer.opener.revoked()
    assert await timer.look(5 * HOUR) == []


async def test_what_was_watched_before_a_partition_was_given_up_is_forgotten(timer: Timer, batch: Batch) -> None:
    """It may be elsewhere by now, and is told anew with the marker. The simulation cannot see it: it does no harm."""
    timer.agent.drop([PARTITION])
    timer.opener.revoked()
    timer.open()
    assert await timer.look(5 * HOUR) == []
    timer.agent.watch(PARTITION, [batch])
    assert len(await timer.look(5 * HOUR)) == 1


async def test_how_many_batches_are_past_a_deadline_is_told_while_they_wait_too(timer: Timer) -> None:
    timer.read = Read(everything=False)
    for after, stuck in ((0, 0.0), (5 * HOUR, 1.0)):
        await timer.look(after)
        assert value(timer.metrics, "cj_stuck_batches_detected") == stuck
    timer.read = Read(everything=True)
    await timer.look(0)
    await timer.look(1)
    assert value(timer.metrics, "cj_stuck_batches_detected") == 0.0


async def test_a_batch_that_has_ended_is_not_due_until_everybody_is_told() -> None:
    story = Story(Policy(retention=HOUR))
    story.start(3)
    timer = Timer()
    timer.open()
    timer.agent.watch(PARTITION, [story.batch])
    ended = story.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL)).batch
    assert ended is not None
    timer.agent.watch(PARTITION, [ended])
    assert await timer.look(50 * HOUR) == []
    timer.agent.watch(PARTITION, [story.finish()])
    assert len(await timer.look(2 * HOUR)) == 1


async def test_a_finished_batch_is_told_once_that_its_retention_is_over() -> None:
    story = Story(Policy(retention=HOUR))
    story.tell(requested(1))
    timer = Timer()
    timer.open()
    timer.agent.watch(PARTITION, [story.finish()])
    assert len(await timer.look(2 * HOUR)) == 1
    assert await timer.look(2 * HOUR) == []

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from support.engine.packed_batches import GZIP, ZSTD, batch, entries

from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.overrides import fetch_guard
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.engine.record_batches import NOT_READ
from cj_stream.engine.standing import Mark, read_mark

FIRST, SECOND, CHANGELOG = (
    TopicPartition("callbacks", 0),
    TopicPartition("callbacks", 1),
    TopicPartition("changelog", 0),
)
VALUES = [b"one", b"two", b"three"]
CORRUPT_MESSAGE = 2
DAMAGED = batch(VALUES)[:-1] + b"\xff"


class Broker:
    """Answers fetches with what ``log`` has by partition, or with an error, to a consumer that is at ``positions``."""

    def __init__(self) -> None:
        self.log: dict[TopicPartition, bytes] = {}
        self.errors: dict[TopicPartition, int] = {}
        self.asked: list[set[TopicPartition]] = []
        self.positions = {FIRST: 0, SECOND: 0, CHANGELOG: 0}
        self.committed: dict[TopicPartition, OffsetAndMetadata] = {}
        self._client = self._coordinator = self
        self.subscription = SimpleNamespace(assignment=SimpleNamespace(active=True, state_value=self._state))
        self._subscription = self

    def _state(self, at: TopicPartition) -> Any:
        return SimpleNamespace(has_valid_position=True, position=self.positions[at])

    async def send(self, _node: int, request: Any) -> Any:
        if not isinstance(request, FetchRequest):
            return request
        wanted = [TopicPartition(topic, part[0]) for topic, parts in request.topics for part in parts]
        self.asked.append(set(wanted))
        topics: list[Any] = [
            (at.topic, [(at.partition, self.errors.get(at, 0), 3, 3, [], self.log.get(at))]) for at in wanted
        ]
        return SimpleNamespace(topics=topics)

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        self.committed.update(offsets)

    async def fetch_committed_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, Any]:
        return {at: self.committed.get(at, OffsetAndMetadata(-1, "")) for at in partitions}


class Guarded:
    """A consumer of three partitions, whose fetches are guarded; ``at`` is the time."""

    def __init__(self) -> None:
        self.at = 1000.0
        self.broker = Broker()
        self.conditions = Conditions(lambda: self.at)
        self.guard = FetchGuard(
            self.conditions, lambda topic: topic == "changelog", lambda: self.at, "cj-stream partitions step-over"
        )
        self.guard.attach(self.broker)

    async def fetch(self) -> dict[TopicPartition, bytes]:
        topics = {at.topic: [] for at in self.broker.positions}  # type: ignore[var-annotated]
        for at, position in self.broker.positions.items():
            topics[at.topic].append((at.partition, position, 2**20))
        response = await self.broker.send(0, FetchRequest(200, 1, 2**25, 1, list(topics.items())))
        return {TopicPartition(topic, part[0]): part[-1] for topic, parts in response.topics for part in parts}

    @property
    def degraded(self) -> list[str]:
        return [found.subject for found in self.conditions.current if found.kind is ConditionKind.STANDING_PARTITION]


@pytest.fixture
def guarded(monkeypatch: pytest.MonkeyPatch) -> Guarded:
    monkeypatch.setattr(fetch_guard, "IDLE_SECONDS", 0.0)
    return Guarded()


async def test_what_can_be_read_is_passed_on_unpacked(guarded: Guarded) -> None:
    guarded.broker.log = {FIRST: batch(VALUES, codec=ZSTD), SECOND: batch(VALUES)}
    fetched = await guarded.fetch()
    assert [value for _, _, value in entries(fetched[FIRST])] == VALUES
    assert fetched[SECOND] == batch(VALUES)
    assert fetched[CHANGELOG] == b""
    assert guarded.degraded == []


async def test_what_is_no_fetch_passes_untouched(guarded: Guarded) -> None:
    assert await guarded.broker.send(0, "heartbeat") == "heartbeat"


async def test_a_partition_that_cannot_be_read_stands_and_the_others_are_fetched_without_it(guarded: Guarded) -> None:
    guarded.broker.log = {FIRST: DAMAGED, SECOND: batch(VALUES)}
    fetched = await guarded.fetch()
    assert fetched[FIRST] == b""
    assert [value for _, _, value in entries(fetched[SECOND])] == VALUES
    (condition,) = guarded.conditions.current
    assert condition.subject == "callbacks-0"
    assert "partition 0 of callbacks stands at offset 0: its checksum is wrong" in condition.what
    assert "cj-stream partitions step-over callbacks 0 0" in condition.what
    await guarded.fetch()
    assert guarded.broker.asked[-1] == {SECOND, CHANGELOG}


async def test_what_lies_before_the_damage_is_read_first(guarded: Guarded) -> None:
    guarded.broker.log[FIRST] = batch(VALUES[:1]) + batch(VALUES[1:], base=1)[:-1] + b"\xff"
    assert [value for _, _, value in entries((await guarded.fetch())[FIRST])] == VALUES[:1]
    assert guarded.degraded == []
    guarded.broker.positions[FIRST], guarded.broker.log[FIRST] = 1, batch(VALUES[1:], base=1)[:-1] + b"\xff"
    await guarded.fetch()
    assert guarded.guard.standing()[FIRST].offset == 1


async def test_nothing_is_asked_when_all_partitions_stand(guarded: Guarded) -> None:
    guarded.broker.log = dict.fromkeys(guarded.broker.positions, DAMAGED)
    await guarded.fetch()
    asked = len(guarded.broker.asked)
    assert await guarded.fetch() == {}
    assert len(guarded.broker.asked) == asked
    assert guarded.degraded == ["callbacks-0", "callbacks-1", "changelog-0"]


async def test_a_standing_partition_is_looked_at_now_and_then_and_goes_on_when_it_can_be_read(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.broker.log[FIRST] = DAMAGED
    await guarded.fetch()
    guarded.broker.log[FIRST] = batch(VALUES)
    monkeypatch.setattr(fetch_guard, "LOOK_SECONDS", 0.0)
    assert entries((await guarded.fetch())[FIRST])
    assert guarded.degraded == []


async def test_a_partition_that_was_sought_elsewhere_does_not_stand_any_more(guarded: Guarded) -> None:
    guarded.broker.log[FIRST] = DAMAGED
    await guarded.fetch()
    guarded.broker.positions[FIRST] = 3
    guarded.guard.tell()
    assert (guarded.degraded, guarded.guard.standing()) == ([], {})


async def test_after_a_rebalance_nothing_is_said_before_it_is_found_again(guarded: Guarded) -> None:
    guarded.broker.log[FIRST] = DAMAGED
    await guarded.fetch()
    guarded.broker.subscription.assignment = SimpleNamespace(active=True, state_value=guarded.broker._state)
    assert guarded.guard.standing() == {}


async def test_everybody_learns_from_the_commit_since_when_and_why_and_the_next_owner_too(guarded: Guarded) -> None:
    guarded.broker.log[FIRST] = DAMAGED
    await guarded.fetch()
    assert guarded.guard.unmarked() == {FIRST: 0}
    await guarded.broker.commit({FIRST: OffsetAndMetadata(0, ""), SECOND: OffsetAndMetadata(2, "")})
    assert read_mark(guarded.broker.committed[FIRST].metadata) == Mark(1000.0, "its checksum is wrong")
    assert guarded.broker.committed[SECOND] == OffsetAndMetadata(2, "")
    assert guarded.guard.unmarked() == {}
    successor = Guarded()
    successor.broker.log, successor.broker.committed, successor.at = (
        guarded.broker.log,
        guarded.broker.committed,
        1500.0,
    )
    await successor.fetch()
    assert successor.guard.standing()[FIRST].since == 1000.0


async def test_a_commit_elsewhere_carries_no_mark(guarded: Guarded) -> None:
    guarded.broker.log[FIRST] = DAMAGED
    await guarded.fetch()
    guarded.broker.positions[FIRST] = 3
    await guarded.broker.commit({FIRST: OffsetAndMetadata(3, "")})
    assert guarded.broker.committed[FIRST] == OffsetAndMetadata(3, "")


async def test_a_changelog_that_stands_is_not_committed(guarded: Guarded) -> None:
    guarded.broker.log[CHANGELOG] = DAMAGED
    await guarded.fetch()
    assert guarded.guard.unmarked() == {}
    assert "cannot be rebuilt" in guarded.conditions.current[0].meaning


async def test_an_operator_has_just_that_batch_stepped_over(guarded: Guarded) -> None:
    guarded.broker.log[FIRST] = DAMAGED
    await guarded.fetch()
    behind = guarded.guard.standing()[FIRST].behind
    assert behind == 3
    guarded.guard.step_over(FIRST, 0, behind)
    fetched = (await guarded.fetch())[FIRST]
    assert entries(fetched) == [(0, None, DAMAGED)]
    assert NOT_READ.encode() in fetched
    guarded.broker.positions[FIRST] = 3
    assert guarded.broker.asked[-1] == {FIRST, SECOND, CHANGELOG}
    guarded.broker.log[FIRST] = batch(VALUES, base=3)[:-1] + b"\xff"
    assert (await guarded.fetch())[FIRST] == b"", "the next one is not stepped over"


async def test_an_error_that_the_broker_keeps_answering_makes_the_partition_stand(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.broker.errors[FIRST] = CORRUPT_MESSAGE
    await guarded.fetch()
    assert guarded.degraded == []
    await guarded.fetch()
    assert guarded.broker.asked[-1] == {SECOND, CHANGELOG}, "it would be asked for again at once, without end"
    later = time.monotonic() + fetch_guard.REFUSED_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await guarded.fetch()
    assert "the broker answers" in guarded.guard.standing()[FIRST].why


async def test_an_answer_is_unpacked_only_as_far_as_there_is_room(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_guard, "ROOM", 150_000)
    monkeypatch.setattr(fetch_guard, "PARTITION_ROOM", 100_000)
    large = batch([bytes(60_000)] * 3, codec=GZIP)
    guarded.broker.log = dict.fromkeys((FIRST, SECOND, CHANGELOG), large)
    fetched = await guarded.fetch()
    assert [len(entries(records)) for records in fetched.values()] == [2, 1, 1]
    assert guarded.degraded == []

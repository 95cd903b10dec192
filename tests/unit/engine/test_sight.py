from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType, SimpleNamespace
from typing import Any

from aiokafka.structs import OffsetAndMetadata, TopicPartition

from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.overrides.isolation import OpenTransactions
from cj_stream.engine.overrides.sight import Eye, Lag

READ, UNREAD, FRESH = (TopicPartition("callbacks", number) for number in range(3))
CHANGELOG = TopicPartition("changelog", 1)
EVENTS = TopicPartition("events", 0)


class Consumer:
    """Answers as aiokafka's consumer with these partitions."""

    def __init__(self, *assigned: TopicPartition) -> None:
        self.assigned = set(assigned)
        self.asked: set[TopicPartition] = set()
        self._coordinator = self
        self._fetcher = SimpleNamespace(end_offsets=self._written_ends)
        self._request_timeout_ms = 1000

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked.update(partitions)
        return dict.fromkeys(partitions, 9)

    async def _written_ends(self, partitions: list[TopicPartition], _timeout: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 12)

    def subscription(self) -> frozenset[str]:
        return frozenset({"callbacks", "changelog"})

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 2)

    async def fetch_committed_offsets(self, _partitions: list[TopicPartition]) -> dict[TopicPartition, Any]:
        return {READ: OffsetAndMetadata(9, ""), UNREAD: OffsetAndMetadata(4, ""), FRESH: OffsetAndMetadata(-1, "")}


class LookedAt:
    """Stands in for the worker's inputs: remembers which topics were looked at."""

    def __init__(self) -> None:
        self.topics: set[str] = set()

    async def look(self, _consumer: Any, topics: set[str]) -> None:
        self.topics |= topics


def eye(*, ready: bool = True, standing: Any = None, closed: frozenset[int] = frozenset()) -> Eye:
    recovery = SimpleNamespace(active_offsets={CHANGELOG: 16}, active_highwaters={CHANGELOG: 17}, closed=closed)
    guard = SimpleNamespace(standing=lambda: standing or {})
    return Eye(
        SimpleNamespace(
            _consumer=None,
            rebalancing=not ready,
            rebalancing_count=1,
            consumer_generation_id=5,
            engine=SimpleNamespace(
                opener=SimpleNamespace(ready=True, opened_at={}),
                events_topic="events",
                inputs=LookedAt(),
                guard=guard,
            ),
            tables=SimpleNamespace(recovery=recovery, changelog_topics={"changelog"}),
        ),
        OpenTransactions(Conditions(lambda: 0.0)),
    )


async def test_unread_is_what_lies_between_the_commit_and_the_end_the_broker_tells() -> None:
    sight = await eye()._look(Consumer(READ, UNREAD, FRESH, CHANGELOG))
    assert sight.lags == {UNREAD: Lag(4, 9), FRESH: Lag(2, 9)}


async def test_a_partition_that_stands_goes_no_further_than_it_can_be_read() -> None:
    consumer = Consumer(UNREAD, FRESH, EVENTS)
    standing = {UNREAD: SimpleNamespace(offset=4), FRESH: SimpleNamespace(offset=5)}
    assert (await eye(standing=standing)._look(consumer)).lags == {FRESH: Lag(2, 5), EVENTS: Lag(2, 9)}


async def test_a_partition_whose_table_could_not_be_read_has_nothing_to_read() -> None:
    assert (await eye(closed=frozenset({0}))._look(Consumer(EVENTS, UNREAD))).lags == {UNREAD: Lag(4, 9)}


async def test_a_worker_without_partitions_asks_the_broker_all_the_same() -> None:
    consumer = Consumer()
    sight = await eye()._look(consumer)
    assert (sight.lags, consumer.asked) == ({}, {EVENTS})


async def test_a_recovery_is_told_by_partition_and_each_step_of_it_changes_its_standing() -> None:
    looking = eye(ready=False)
    before = await looking._look(Consumer(CHANGELOG))
    assert (before.ready, before.recovering) == (False, {"changelog-1": "16 of 17"})
    looking._app.tables.recovery.active_offsets[CHANGELOG] = 17
    after = await looking._look(Consumer(CHANGELOG))
    assert after.recovering == {}
    assert after.standing != before.standing


def test_there_is_nothing_to_see_before_the_consumer_is_there() -> None:
    assert eye().look() is None


async def test_only_source_topics_are_looked_at_for_being_the_same() -> None:
    looking = eye()
    await looking._look(Consumer(READ, CHANGELOG))
    assert looking._app.engine.inputs.topics == {"callbacks"}


async def test_transactions_are_looked_for_in_the_changelogs_too() -> None:
    """A recovery waits for what lies behind them."""
    consumer = Consumer(READ, CHANGELOG)
    await eye()._look(consumer)
    assert consumer.asked == {READ, CHANGELOG}


def test_a_transaction_that_stays_open_is_told_until_it_is_over_and_one_that_ends_soon_is_not() -> None:
    conditions = Conditions(lambda: 0.0)
    transactions = OpenTransactions(conditions)
    for at, stable in ((0, 4), (10, 4), (20, 5), (30, 5), (40, 5)):
        transactions.observe(at, {UNREAD: stable, READ: 9}, {UNREAD: 9, READ: 9})
        assert conditions.current == ()
    for at in (50, 60):
        transactions.observe(at, {UNREAD: 5, READ: 9}, {UNREAD: 9, READ: 9})
    assert [(found.kind, found.subject) for found in conditions.current] == [
        (ConditionKind.OPEN_TRANSACTION, "callbacks-1")
    ]
    transactions.observe(70, {UNREAD: 9, READ: 9}, {UNREAD: 9, READ: 9})
    assert conditions.current == ()


def reading(
    *begun: TopicPartition,
    there: frozenset[str] = frozenset({"requests", "callbacks", "events"}),
    standing: Mapping[TopicPartition, Any] = MappingProxyType({}),
    closed: frozenset[int] = frozenset(),
) -> Eye:
    """Return an eye on a worker that has two partitions of callbacks, and has begun to read these partitions."""
    consumer: Any = Consumer(READ, UNREAD, EVENTS, CHANGELOG)
    consumer.partitions_for_topic = lambda topic: {0, 1} if topic in there else None
    thread = SimpleNamespace(_consumer=consumer)
    read = SimpleNamespace(begun=lambda: frozenset(begun))
    engine = SimpleNamespace(guard=SimpleNamespace(standing=lambda: standing), events_topic="events")
    tables = SimpleNamespace(recovery=SimpleNamespace(closed=closed))
    worker = SimpleNamespace(_consumer=SimpleNamespace(_thread=thread, reading=read), engine=engine, tables=tables)
    return Eye(worker, OpenTransactions(Conditions(lambda: 0.0)))


SOURCES = ("requests", "callbacks", "events")


def test_all_input_is_read_when_a_fetch_has_begun_at_each_partition_that_was_assigned() -> None:
    """No partition of the requests is this worker's: there are fewer of them than workers."""
    assert reading(READ, UNREAD, EVENTS).unread(SOURCES) == []


def test_a_partition_that_was_assigned_and_is_not_read_is_named() -> None:
    assert reading(READ, EVENTS).unread(SOURCES) == ["partition 1 of callbacks is this worker's and is not read yet"]


def test_a_partition_that_stands_is_not_waited_for() -> None:
    standing = {UNREAD: SimpleNamespace(offset=4)}
    assert reading(READ, standing=standing, closed=frozenset({0})).unread(SOURCES) == []


def test_a_topic_that_is_gone_is_named() -> None:
    found = reading(READ, UNREAD, EVENTS, there=frozenset({"callbacks", "events"})).unread(SOURCES)
    assert found == ["topic requests is not on the broker any more"]


def test_nothing_is_unread_while_there_is_no_consumer() -> None:
    assert eye().unread(SOURCES) == []

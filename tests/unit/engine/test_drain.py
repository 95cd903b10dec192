from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.types import TP

from cj_stream.engine.overrides.drain import RunMessage
from cj_stream.engine.reading import RUNS_IN_HAND
from cj_stream.engine.runs import RUN_RECORDS, runs_of
from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker

EVENTS, CALLBACKS, CHANGELOG = TP("events", 0), TP("callbacks", 1), TP("changelog", 0)
GENERATION = 7


def records(tp: TP, *offsets: int) -> list[Any]:
    return [
        SimpleNamespace(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            timestamp=1_000,
            timestamp_type=0,
            headers=(),
            key=None,
            value=b"",
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
        )
        for offset in offsets
    ]


class Recovery:
    """Notes what it is given, and in which term it was asked for."""

    def __init__(self) -> None:
        self.term = object()
        self.taken: list[tuple[TP, Any, object]] = []

    async def take(self, tp: TP, records: Any, term: object) -> None:
        self.taken.append((tp, records, term))


class Drain:
    """The real consumer, whose fetches bring what the test says. The agents acknowledge nothing by themselves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app: Any = build_worker(Settings()).faust
        app.topics._acking_topics.update((EVENTS.topic, CALLBACKS.topic))
        app.consumer_generation_id = GENERATION
        app.tables._changelogs[CHANGELOG.topic] = None
        self.recovery = app.tables._recovery = Recovery()
        self.app = app
        self.got: list[Any] = []
        self.fetches: list[dict[TP, list[Any]]] = []
        self.asked: list[float] = []
        self.at_fetch: Callable[[], object] = lambda: None
        self.nothing_left = asyncio.Event()
        app.engine = cast("Any", SimpleNamespace(guard=SimpleNamespace(unmarked=dict)))
        self.consumer: Any = app.transport.create_consumer(
            callback=self._got, on_partitions_revoked=None, on_partitions_assigned=None
        )
        self.consumer._active_partitions = {EVENTS, CALLBACKS, CHANGELOG}
        self.consumer.assignment = lambda: {EVENTS, CALLBACKS}
        self.consumer.reading.restart({EVENTS: 0, CALLBACKS: 5})

        async def fetched(_consumer: Any, _active: Any, timeout: float) -> dict[TP, list[Any]]:  # noqa: ASYNC109 (Faust's)
            self.asked.append(timeout)
            self.at_fetch()
            if not self.fetches:
                self.nothing_left.set()
                await asyncio.sleep(3600)
            return self.fetches.pop(0)

        monkeypatch.setattr(FaustConsumer, "_getmany", fetched)

    async def _got(self, message: Any) -> None:
        self.got.append(message)

    async def drain(self, *fetches: dict[TP, list[Any]]) -> None:
        """Have Faust's own loop hand on what these fetches bring."""
        self.fetches = list(fetches)
        fetcher = SimpleNamespace(_stopped=asyncio.Event())
        draining = asyncio.create_task(self.consumer._drain_messages(fetcher))
        await asyncio.wait([draining, asyncio.create_task(self.nothing_left.wait())], return_when="FIRST_COMPLETED")
        draining.cancel()
        await asyncio.wait([draining])

    def commit(self) -> dict[TP, int]:
        """What the consumer would commit now."""
        offsets: dict[TP, int] = self.consumer._filter_committable_offsets(())
        self.consumer.reading.committed(offsets)
        return offsets

    def runs(self) -> list[tuple[str, int, int]]:
        return [(got.topic, got.run.first, got.run.last) for got in self.got if isinstance(got, RunMessage)]


@pytest.fixture
async def drain(monkeypatch: pytest.MonkeyPatch) -> Drain:
    return Drain(monkeypatch)


async def test_what_a_fetch_brought_comes_in_runs_by_turns_of_the_topics(drain: Drain) -> None:
    most = RUN_RECORDS * 2
    await drain.drain({EVENTS: records(EVENTS, *range(most + 1)), CALLBACKS: records(CALLBACKS, 5, 8)})
    assert drain.runs() == [
        ("events", 0, RUN_RECORDS - 1),
        ("callbacks", 5, 8),
        ("events", RUN_RECORDS, most - 1),
        ("events", most, most),
    ]
    assert {got.generation_id for got in drain.got} == {GENERATION}


async def test_what_is_fetched_of_a_changelog_goes_to_the_recovery_as_a_whole_and_nowhere_else(drain: Drain) -> None:
    term, rows = drain.recovery.term, records(CHANGELOG, 3, 4)
    drain.at_fetch = lambda: setattr(drain.recovery, "term", "a later one")
    await drain.drain({CHANGELOG: rows, EVENTS: records(EVENTS, 0)})
    assert drain.recovery.taken == [(CHANGELOG, rows, term)]
    assert drain.runs() == [("events", 0, 0)]
    assert drain.consumer.reading.oldest(CHANGELOG) is None


async def test_runs_behind_one_another_are_committed_whatever_faust_takes_for_gaps(drain: Drain) -> None:
    await drain.drain(
        {EVENTS: records(EVENTS, 0, 1, 2), CALLBACKS: records(CALLBACKS, 5, 6)}, {EVENTS: records(EVENTS, 3, 4)}
    )
    first, callbacks, second = drain.got
    assert drain.commit() == {}
    drain.consumer.ack(first)
    assert drain.commit() == {EVENTS: 3}
    drain.consumer.ack(second)
    drain.consumer.ack(callbacks)
    assert drain.commit() == {EVENTS: 5, CALLBACKS: 7}


@pytest.mark.parametrize("change", ["the flow stops", "the partitions are another worker's"])
async def test_what_is_left_of_a_fetch_is_dropped_with_its_positions(drain: Drain, change: str) -> None:
    drain.consumer.reading.fetching({EVENTS: 0})
    got = drain._got

    async def changing(message: Any) -> None:
        await got(message)
        drain.nothing_left.set()
        if change == "the flow stops":
            drain.consumer.stop_flow()
        else:
            drain.app.consumer_generation_id += 1

    drain.consumer.callback = drain.consumer._noting(changing)
    await drain.drain({EVENTS: records(EVENTS, *range(RUN_RECORDS + 1))})
    assert drain.runs() == [("events", 0, RUN_RECORDS - 1)]
    drain.consumer.ack(drain.got[0])
    drain.consumer.reading.fetching({EVENTS: RUN_RECORDS + 1})
    assert drain.commit() == {EVENTS: RUN_RECORDS}


async def test_a_partition_of_which_enough_is_in_hand_is_left_out_until_there_is_room(drain: Drain) -> None:
    reading = drain.consumer.reading
    await drain.drain(*({EVENTS: records(EVENTS, offset)} for offset in range(RUNS_IN_HAND)))
    assert reading.left_out == {EVENTS}
    assert drain.asked[-1] < drain.asked[0], "and soon looked at again"
    drain.consumer.ack(drain.got[0])
    drain.nothing_left.clear()
    await drain.drain()
    assert reading.left_out == frozenset()


async def test_nothing_is_fetched_while_all_partitions_are_full(drain: Drain) -> None:
    drain.consumer._active_partitions = {EVENTS}
    for offset in range(RUNS_IN_HAND):
        drain.consumer.reading.given(RunMessage(EVENTS, next(runs_of(records(EVENTS, offset))), GENERATION))
    assert await drain.consumer._getmany({EVENTS}, 1.0) == {}
    assert drain.asked == []

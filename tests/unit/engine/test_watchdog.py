from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import Future
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import TopicPartition
from structlog.testing import capture_logs
from support.engine.fake_producer import ProcessEndedError, no_exit
from support.engine.until import until

from cj_stream.engine import fence as fence_module
from cj_stream.engine import watchdog as watchdog_module
from cj_stream.engine.fence import Fence
from cj_stream.engine.overrides.sight import Lag, Sight
from cj_stream.engine.watchdog import Limits, Watchdog

CALLBACKS = TopicPartition("callbacks", 3)
LIMITS = Limits(loop=60, partition=120, opening=300, stop=30)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Eye:
    """Sees what the test says."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.ready = True
        self.lags: dict[TopicPartition, Lag] = {}
        self.standing: object = 0
        self.recovering: dict[str, str] = {}

    def look(self) -> Future[Sight]:
        future: Future[Sight] = Future()
        if self.error is not None:
            future.set_exception(self.error)
        else:
            future.set_result(Sight(self.ready, dict(self.lags), self.standing, self.recovering))
        return future


class KnownCluster:
    """Notes whether the cluster was said to answer."""

    def __init__(self) -> None:
        self.away = False

    def answered(self, _at: float) -> None:
        self.away = False

    def silent(self, _at: float, _error: BaseException) -> None:
        self.away = True


class Watched:
    """A watchdog with a clock, an eye and no thread."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.eye = Eye()
        self.fence = Fence(session_timeout=10)
        self.cluster = KnownCluster()
        self.watchdog = Watchdog(LIMITS, self.fence, self.eye, self.cluster)  # type: ignore[arg-type]  # stand-ins

    def go_on(self, seconds: float) -> None:
        """Let time pass, in touch with the group."""
        for _ in range(round(seconds)):
            self.clock.now += 1
            self.fence.contact(self.clock.now)
            self.watchdog.check(self.clock.now)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    clock = Clock()
    monkeypatch.setattr(fence_module, "now", clock)
    monkeypatch.setattr(watchdog_module, "now", clock)
    return Watched(clock)


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return no_exit(monkeypatch, "watchdog")


async def test_a_loop_that_begins_to_be_watched_in_the_middle_of_a_look_is_looked_at_the_next_time(
    watched: Watched, reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer's thread does so while a worker starts; the watchdog ended it for that."""
    watchdog = watched.watchdog
    observe = watchdog._turning.observe

    def observe_while_another_begins(at: float, values: Any) -> None:
        observe(at, values)
        if not watchdog._loops:
            watchdog.watch_loop()

    monkeypatch.setattr(watchdog._turning, "observe", observe_while_another_begins)
    watched.go_on(2)
    assert list(watchdog._turning.seconds) == [threading.current_thread().name]
    assert reasons == []


def test_a_partition_with_unread_messages_that_does_not_move_ends_the_process(
    watched: Watched, reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.eye.lags = {CALLBACKS: Lag(40, 50)}
    watched.go_on(80)
    assert watched.watchdog.why_stuck() is not None
    assert reasons == []
    told: dict[str, Any] = {}
    monkeypatch.setattr(watchdog_module, "end_process", lambda why, **details: told.update(details, why=why))
    watched.go_on(70)
    assert "does not move" in told["why"]
    assert (told["topic"], told["partition"], told["committed"], told["end"]) == ("callbacks", 3, 40, 50)
    assert told["seconds"] > LIMITS.partition


def test_a_partition_that_moves_or_is_read_to_its_end_is_not_stuck(watched: Watched, reasons: list[str]) -> None:
    for committed in range(40, 44):
        watched.eye.lags = {CALLBACKS: Lag(committed, 50)}
        watched.go_on(100)
    watched.eye.lags = {}
    watched.go_on(500)
    assert watched.watchdog.why_stuck() is None
    assert reasons == []


def test_a_broker_that_is_away_is_not_a_stuck_partition(watched: Watched, reasons: list[str]) -> None:
    watched.eye.lags = {CALLBACKS: Lag(40, 50)}
    watched.go_on(20)
    watched.eye.error = KafkaConnectionError("away")
    watched.go_on(1000)
    watched.eye.error = None
    watched.go_on(20)
    assert watched.watchdog.why_stuck() is None
    assert reasons == []


def test_a_broker_that_is_away_is_not_a_stuck_opening(watched: Watched, reasons: list[str]) -> None:
    watched.eye.ready = False
    watched.go_on(20)
    for _ in range(20):
        watched.eye.error = KafkaConnectionError("away")
        watched.go_on(100)
        watched.eye.error = None
        watched.go_on(5)
    assert watched.watchdog.why_stuck() is None
    assert reasons == []


def test_a_broker_that_is_away_is_told_twice_a_minute_and_its_return_once(watched: Watched) -> None:
    watched.go_on(20)
    with capture_logs() as logs:
        watched.eye.error = KafkaConnectionError("away")
        watched.go_on(120)
        watched.eye.error = None
        watched.go_on(20)
    told = [entry["event"] for entry in logs]
    assert 4 <= len(told) - 1 <= 5
    assert all("does not answer" in event for event in told[:-1])
    assert told[-1] == "Kafka answers again"


def test_a_worker_that_serves_not_all_its_partitions_says_so_twice_a_minute(watched: Watched) -> None:
    with capture_logs() as logs:
        watched.eye.ready, watched.eye.recovering = False, {"changelog-2": "16 of 17"}
        for step in range(24):
            watched.eye.standing = step  # a rebalance after the other is progress, and yet nothing is served
            watched.go_on(5)
        watched.eye.ready = True
        watched.go_on(100)
    assert 3 <= len(logs) <= 4
    assert all("not all partitions are served" in entry["event"] for entry in logs)
    assert logs[-1]["recovering"] == {"changelog-2": "16 of 17"}


def test_the_cluster_is_asked_about_only_while_it_does_not_answer(watched: Watched) -> None:
    watched.go_on(20)
    assert not watched.cluster.away
    watched.eye.error = KafkaConnectionError("away")
    watched.go_on(20)
    assert watched.cluster.away
    watched.eye.error = None
    watched.go_on(20)
    assert not watched.cluster.away


def test_a_recovery_without_a_step_ends_the_process_and_names_its_partitions(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(watchdog_module, "end_process", lambda why, **details: told.update(details, why=why))
    watched.eye.ready, watched.eye.recovering = False, {"changelog-2": "16 of 17"}
    for step in range(10):
        watched.eye.standing = step
        watched.go_on(200)
    assert told == {}
    watched.go_on(320)
    assert told["recovering"] == {"changelog-2": "16 of 17"}


def test_unread_messages_do_not_count_while_partitions_are_taken_over(watched: Watched, reasons: list[str]) -> None:
    watched.eye.ready, watched.eye.lags = False, {CALLBACKS: Lag(40, 50)}
    for step in range(3):
        watched.eye.standing = step
        watched.go_on(150)
    assert reasons == []


async def test_a_loop_that_does_not_turn_ends_the_process_and_shows_where_it_is(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}
    monkeypatch.setattr(watchdog_module, "end_process", lambda why, **details: told.update(details, why=why))
    watched.watchdog.watch_loop()
    watched.go_on(50)  # this function holds up the loop
    await asyncio.sleep(0)
    watched.go_on(50)
    assert told == {}
    watched.go_on(15)
    assert told["why"] == "an event loop does not turn"
    assert "test_a_loop_that_does_not_turn" in told["stack"]


async def test_a_loop_that_stood_still_while_the_group_was_silent_does_not_go_on(
    watched: Watched, reasons: list[str]
) -> None:
    watched.watchdog.watch_loop()
    watched.clock.now += 10.1
    with pytest.raises(ProcessEndedError):
        watched.watchdog.check(watched.clock.now)
    assert reasons == ["the process stood still, and the partitions may belong to another worker by now"]


async def test_silence_alone_does_not_end_a_worker_whose_loop_turns(watched: Watched, reasons: list[str]) -> None:
    watched.watchdog.watch_loop()
    for _ in range(30):
        watched.clock.now += 1
        watched.watchdog.check(watched.clock.now)
        await asyncio.sleep(0)
    assert reasons == []


def test_a_stop_that_takes_too_long_ends_the_process(watched: Watched, reasons: list[str]) -> None:
    watched.eye.lags = {CALLBACKS: Lag(40, 50)}
    watched.watchdog.stopping()
    watched.go_on(29)
    assert reasons == []
    with pytest.raises(ProcessEndedError):
        watched.go_on(5)
    assert reasons == ["the worker could not stop in order in time"]


async def test_a_watchdog_that_fails_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []
    monkeypatch.setattr(watchdog_module, "end_process", lambda why, **_: ended.append(why))
    watchdog = Watchdog(Limits(60, 0.04, 300, 30), Fence(10), Eye(), KnownCluster())  # type: ignore[arg-type]  # stand-ins
    watchdog._eye = object()  # type: ignore[assignment]  # the mistake
    watchdog.start()
    try:
        await until(lambda: ended)
        assert ended == ["nobody watches this worker any more"]
        watchdog.join(10)
        assert watchdog.why_stuck() == "the watchdog has ended"
    finally:
        watchdog.end()


async def test_the_thread_sees_a_main_thread_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    stacks: list[str] = []

    def end(_why: str, **details: Any) -> None:
        stacks.append(details["stack"])
        hanging.set()

    monkeypatch.setattr(watchdog_module, "end_process", end)
    watchdog = Watchdog(Limits(0.2, 300, 300, 30), Fence(3600), Eye(), KnownCluster())  # type: ignore[arg-type]  # stand-ins
    watchdog.watch_loop()
    watchdog.start()
    try:
        begun = time.monotonic()
        assert hanging.wait(20), f"not seen within {time.monotonic() - begun} s"
    finally:
        watchdog.end()
    assert "hanging.wait" in stacks[0]

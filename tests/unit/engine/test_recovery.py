from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import IllegalStateError
from faust.tables.recovery import Recovery
from faust.types import TP
from structlog.testing import capture_logs

from cj_stream.engine.fence import now
from cj_stream.engine.overrides.recovery import LOOKS, SeekFirstRecovery
from cj_stream.operations.settings import Settings
from cj_stream.worker import Worker

SOURCE, CHANGELOG = TP("cj.batch.events.v1", 2), TP("changelog", 2)


class FakeCopy:
    """Copies that are as complete as the test says."""

    def __init__(self) -> None:
        self.complete = True
        self.asked: list[str] = []
        self.found: dict[bytes, bytes] = {}

    def is_complete(self, partition: int) -> bool:
        assert partition == CHANGELOG.partition
        return self.complete

    def rows(self, _partition: int) -> Iterator[tuple[bytes, bytes]]:
        return iter(self.found.items())

    def empty(self, _partition: int) -> None:
        self.asked.append("empty")

    def trust(self, _partition: int) -> None:
        self.asked.append("trust")


class Recovered:
    """The real recovery, whose tables are rebuilt, on an app that notes what is asked of it."""

    def __init__(self, worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.resumed: list[set[TP]] = []
        self.assigned: list[set[int]] = []
        self.at_seek = lambda: None
        self.begins: list[set[int]] = []
        app: Any = worker.app
        consumer = SimpleNamespace(
            assignment=lambda: {SOURCE, CHANGELOG},
            perform_seek=self._seek,
            resume_partitions=self._resumed,
            resume_flow=lambda: self.steps.append("flow"),
            stop_flow=lambda: self.steps.append("no flow"),
            pause_partitions=lambda partitions: self.steps.append(f"{len(partitions)} paused"),
        )
        monkeypatch.setattr(app.__class__, "consumer", consumer)
        monkeypatch.setattr(app.__class__, "_fetcher", SimpleNamespace(maybe_start=self._nothing))
        self.changelog_queue = app.tables.changelog_queue
        self.resume_streams = app.flow_control.resume
        monkeypatch.setattr(app.flow_control, "resume", self._streams_resumed)
        monkeypatch.setattr(app.engine.opener, "assigned", self.assigned.append)
        monkeypatch.setattr(app.assignor, "assigned_standbys", set)
        app.consumer_generation_id = 7
        app.before_seek, app.after_seek = self.begins.append, self._nothing
        self.recovery = SeekFirstRecovery(app, app.tables)
        self.copy = FakeCopy()
        self.recovery.active_tps.add(CHANGELOG)
        self.recovery.tp_to_table[CHANGELOG] = cast("Any", self.copy)
        self.recovery.active_offsets[CHANGELOG] = 99
        monkeypatch.setattr(self.recovery, "flush_buffers", lambda: self.steps.append("flush"))
        monkeypatch.setattr(self.recovery, "_is_changelog_tp", lambda tp: tp == CHANGELOG)
        monkeypatch.setattr(
            self.recovery,
            "tables",
            SimpleNamespace(values=list, on_actives_ready=lambda: None, on_standbys_ready=lambda: None),
        )

    async def recover(self) -> None:
        """Come to the end of a recovery, as Faust's loop does once it is asked to."""
        self.recovery.signal_recovery_start.clear()
        await self.recovery.on_recovery_completed(7)

    async def _nothing(self) -> None:
        """Start nothing."""

    async def _seek(self) -> None:
        self.steps.append("seek begins")
        self.at_seek()
        await asyncio.sleep(0)
        self.steps.append("seek ends")

    def _streams_resumed(self) -> None:
        self.steps.append("streams")
        self.resume_streams()

    def _resumed(self, partitions: set[TP]) -> None:
        self.resumed.append(partitions)
        self.steps.append("sources")
        # Whatever could come in between would come now.
        asyncio.get_running_loop().call_soon(self.steps.append, "something else")


@pytest.fixture
async def recovered(monkeypatch: pytest.MonkeyPatch) -> Recovered:
    return Recovered(Worker(Settings()), monkeypatch)


async def test_partitions_are_sought_before_anything_flows(recovered: Recovered) -> None:
    await recovered.recovery.on_recovery_completed(7)
    assert recovered.steps == ["seek begins", "seek ends", "sources", "streams", "flow"]
    assert recovered.resumed == [{SOURCE}]
    assert recovered.assigned == [{2}]


async def test_a_partition_whose_changelog_stands_is_not_served_and_nobody_waits_for_it(
    recovered: Recovered, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovery = recovered.recovery
    recovery.active_highwaters[CHANGELOG], recovery.active_offsets[CHANGELOG] = 9, 4
    assert recovery.need_recovery()
    monkeypatch.setattr(recovery._engine.guard, "standing", lambda: {CHANGELOG: SimpleNamespace(offset=5)})
    assert not recovery.need_recovery()
    recovered.resumed.clear()
    await recovery.on_recovery_completed(7)
    assert recovery.closed == {2}
    assert recovered.resumed == [set()]
    assert recovered.assigned == [set()]


async def test_a_partition_that_is_assigned_while_others_are_about_to_be_sought_is_left_to_the_next_recovery(
    recovered: Recovered,
) -> None:
    sought: list[dict[TP, int]] = []

    async def seek_wait(offsets: dict[TP, int]) -> None:
        sought.append(offsets)

    offsets = {CHANGELOG: 4, TP("changelog", 3): None}
    await recovered.recovery._seek_offsets(SimpleNamespace(seek_wait=seek_wait), set(offsets), offsets, "active")
    assert sought == [{CHANGELOG: 4}]


async def test_a_changelog_that_stands_behind_what_was_to_be_read_closes_nothing(
    recovered: Recovered, monkeypatch: pytest.MonkeyPatch
) -> None:
    recovery = recovered.recovery
    recovery.active_highwaters[CHANGELOG], recovery.active_offsets[CHANGELOG] = 4, 4
    monkeypatch.setattr(recovery._engine.guard, "standing", lambda: {CHANGELOG: SimpleNamespace(offset=5)})
    await recovery.on_recovery_completed(7)
    assert recovery.closed == frozenset()
    assert recovered.assigned == [{2}]


async def test_what_a_standby_has_read_is_not_thrown_away_when_the_sources_begin_to_flow(recovered: Recovered) -> None:
    recovered.resume_streams()  # as Faust does when it lets the standbys flow
    recovered.at_seek = lambda: recovered.changelog_queue.force_put_nowait("a row")
    await recovered.recovery.on_recovery_completed(7)
    assert not recovered.changelog_queue.empty()
    assert recovered.changelog_queue.get_nowait() == "a row"
    assert recovered.steps[-2:] == ["sources", "flow"]


async def test_a_copy_that_is_not_complete_is_rebuilt_before_anything_flows(recovered: Recovered) -> None:
    recovery, copy = recovered.recovery, recovered.copy
    recovered.resume_streams()
    recovered.changelog_queue.force_put_nowait("a row")
    copy.complete, copy.found = False, {b"a": b"1", b"b": b"1", b"c": b"1"}
    with capture_logs() as told:
        await recovered.recover()
    assert recovered.steps == ["no flow", "2 paused", "flush"]
    assert recovered.changelog_queue.empty()
    assert not recovery.app.flow_control.is_active()
    assert (copy.asked, recovery.active_offsets[CHANGELOG]) == (["empty"], None)
    assert recovery.signal_recovery_start.is_set(), "nobody was asked to recover again"
    assert (told[0]["partition"], told[0]["rows"], told[0]["has_read_to"]) == (2, 3, 99)

    copy.complete, copy.found = True, {b"a": b"1", b"b": b"2", b"d": b"1", b"e": b"1"}
    with capture_logs() as told:
        await recovered.recover()
    assert recovered.steps[-3:] == ["sources", "streams", "flow"]
    found = told[0]
    assert (found["rows"], found["missing"], found["outdated"], found["too_many"]) == (4, 2, 1, 1)


async def test_a_rebuilt_copy_is_taken_as_it_is_when_two_readings_agree(recovered: Recovered) -> None:
    recovered.copy.complete = False
    for _ in range(2):
        await recovered.recover()
    assert recovered.copy.asked == ["empty", "trust"]
    assert recovered.steps[-3:] == ["sources", "streams", "flow"]


async def test_a_copy_is_rebuilt_until_two_readings_agree(recovered: Recovered) -> None:
    recovered.copy.complete = False
    for found in ({b"a": b"1"}, {b"a": b"2"}, {b"a": b"2", b"b": b"1"}):
        recovered.copy.found = found
        await recovered.recover()
        assert recovered.steps[-1] == "flush"
    await recovered.recover()
    assert recovered.copy.asked == ["empty", "empty", "empty", "trust"]
    assert recovered.steps[-1] == "flow"


async def test_a_copy_that_is_taken_away_while_it_is_verified_is_left_alone(recovered: Recovered) -> None:
    recovered.copy.complete = False
    recovered.recovery._revoked = True
    await recovered.recovery.on_recovery_completed(7)
    assert (recovered.copy.asked, recovered.steps) == ([], [])


def test_what_is_remembered_of_an_earlier_assignment_does_not_stand_in_for_what_the_database_says(
    recovered: Recovered,
) -> None:
    """An offset of the time before a copy was emptied would have all records up to it left out."""
    offsets: Any = {CHANGELOG: 500}
    for persisted in (None, 7):
        table: Any = SimpleNamespace(persisted_offset=lambda _tp, known=persisted: known)
        recovered.recovery._add(table, CHANGELOG, offsets)
        assert offsets == {CHANGELOG: persisted}


class Changelog:
    """A changelog of 106 records, whose last ones do not come; the copy has read to the 99th."""

    def __init__(self, recovery: SeekFirstRecovery, monkeypatch: pytest.MonkeyPatch) -> None:
        self.recovery = recovery
        self.fetched_to = 106
        self.sought: list[int] = []
        self.fails: Exception | None = None
        self.queued = False
        recovery.in_recovery = True
        recovery.active_highwaters[CHANGELOG] = 105
        queue = SimpleNamespace(empty=lambda: not self.queued)
        consumer = SimpleNamespace(_thread=SimpleNamespace(_consumer="aiokafka's"), seek_wait=self._seek)
        monkeypatch.setattr(recovery.app.__class__, "consumer", consumer)
        monkeypatch.setattr(recovery, "tables", SimpleNamespace(changelog_queue=queue))
        fetched = lambda _, tps: dict.fromkeys(tps, self.fetched_to)  # noqa: E731 (a stand-in)
        monkeypatch.setattr("cj_stream.engine.overrides.recovery.positions", fetched)

    async def looked_at(self, times: int, *, moves: int = 0) -> None:
        """Have the recovery look so often at the ends of its changelogs, as it does every second."""
        seen: Any = {}
        for _ in range(times):
            self.recovery.active_offsets[CHANGELOG] += moves
            seen = await self.recovery._look(seen)

    async def _seek(self, offsets: dict[TP, int]) -> None:
        if self.fails is not None:
            raise self.fails
        self.sought.append(offsets[CHANGELOG])


@pytest.fixture
def changelog(recovered: Recovered, monkeypatch: pytest.MonkeyPatch) -> Changelog:
    return Changelog(recovered.recovery, monkeypatch)


@pytest.mark.parametrize("unread", ["not fetched to its end", "something is to be applied", "something comes"])
async def test_a_changelog_of_which_something_is_to_come_is_waited_for(changelog: Changelog, unread: str) -> None:
    changelog.fetched_to -= unread == "not fetched to its end"
    changelog.queued = unread == "something is to be applied"
    await changelog.looked_at(5, moves=int(unread == "something comes"))
    assert changelog.recovery.need_recovery()
    assert changelog.sought == []


async def test_a_changelog_that_ends_with_what_is_no_record_is_read_to_its_end_when_it_was_fetched_twice(
    changelog: Changelog,
) -> None:
    await changelog.looked_at(LOOKS)
    assert changelog.sought == [100]
    assert changelog.recovery.need_recovery()
    await changelog.looked_at(LOOKS)
    assert changelog.sought == [100]
    assert not changelog.recovery.need_recovery()


async def test_the_end_of_a_changelog_that_was_lost_on_its_way_comes_with_the_second_fetch(
    changelog: Changelog,
) -> None:
    await changelog.looked_at(LOOKS)
    changelog.recovery.active_offsets[CHANGELOG] = 103
    await changelog.looked_at(LOOKS)
    assert changelog.sought == [100, 104]
    assert changelog.recovery.need_recovery()


@pytest.mark.parametrize("failure", [IllegalStateError("not assigned"), TimeoutError()])
async def test_a_second_fetch_that_failed_is_no_second_fetch(changelog: Changelog, failure: Exception) -> None:
    changelog.fails = failure
    await changelog.looked_at(2 * LOOKS)
    assert changelog.recovery.need_recovery()
    changelog.fails = None
    await changelog.looked_at(LOOKS)
    assert changelog.sought == [100]
    assert changelog.recovery.need_recovery()


async def test_what_was_fetched_twice_in_an_earlier_assignment_is_fetched_twice_again(
    changelog: Changelog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(_recovery: Any) -> None:
        """Begin nothing."""

    monkeypatch.setattr(Recovery, "on_rebalance", nothing)
    await changelog.looked_at(LOOKS)
    await changelog.recovery.on_rebalance()
    await changelog.looked_at(LOOKS)
    assert changelog.sought == [100, 100]


async def test_partitions_that_are_taken_away_during_the_seek_do_not_flow(recovered: Recovered) -> None:
    recovered.at_seek = lambda: setattr(recovered.recovery, "_revoked", True)
    await recovered.recovery.on_recovery_completed(7)
    assert recovered.steps == ["seek begins", "seek ends"]
    assert recovered.assigned == []


async def test_a_recovery_of_an_earlier_assignment_lets_nothing_flow(recovered: Recovered) -> None:
    await recovered.recovery.on_recovery_completed(6)
    assert recovered.steps == []
    assert recovered.assigned == []


async def test_an_assignment_is_a_sign_of_life_from_the_group_and_ours_until_it_is_revoked(
    recovered: Recovered, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def begins(_recovery: Any) -> None:
        recovered.steps.append("recovers")

    monkeypatch.setattr(Recovery, "on_rebalance", begins)
    fence = recovered.recovery.app.engine.fence
    fence.contact(now() - 4000)
    recovered.recovery._revoked = True
    await recovered.recovery.on_rebalance()
    assert (recovered.steps, recovered.recovery._revoked) == (["recovers"], False)
    assert fence.silence < fence.limit

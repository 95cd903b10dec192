from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import IllegalStateError
from faust.tables.recovery import Recovery
from faust.types import TP
from structlog.testing import capture_logs

from cj_stream.domain.events import Event
from cj_stream.engine.app import App
from cj_stream.engine.fence import now
from cj_stream.engine.overrides.recovery import LOOKS, SeekFirstRecovery
from cj_stream.operations.settings import Settings
from cj_stream.worker import Worker, build_worker

SOURCE, CHANGELOG = TP("cj.batch.events.v1", 2), TP("changelog", 2)


class FakeCopy:
    """Copies that are as complete as the test says."""

    def __init__(self) -> None:
        self.complete = True
        self.asked: list[str] = []
        self.found: dict[bytes, bytes] = {}
        self.applied: list[list[int]] = []
        self.at_run: Callable[[], object] = lambda: None
        self.at_sum: Callable[[], object] = lambda: None

    def apply_run(self, tp: TP, records: Sequence[Any]) -> None:
        assert tp.topic == CHANGELOG.topic
        self.at_run()
        self.applied.append([record.offset for record in records])

    def summing_up(self, _partition: int) -> Iterator[None]:
        for _ in range(3):
            self.at_sum()
            yield

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

    def __init__(self, built: App[Event, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.resumed: list[set[TP]] = []
        self.assigned: list[set[int]] = []
        self.at_seek: Callable[[], object] = lambda: None
        self.begins: list[set[int]] = []
        app: Any = built.faust
        consumer = SimpleNamespace(
            assignment=lambda: {SOURCE, CHANGELOG},
            perform_seek=self._seek,
            resume_partitions=self._resumed,
            resume_flow=lambda: self.steps.append("flow"),
            pause_partitions=lambda partitions: self.steps.append(f"{len(partitions)} paused"),
        )
        monkeypatch.setattr(app.__class__, "consumer", consumer)
        monkeypatch.setattr(app.__class__, "_fetcher", SimpleNamespace(maybe_start=self._nothing))
        monkeypatch.setattr(app.flow_control, "resume", lambda: self.steps.append("streams"))
        monkeypatch.setattr(app.engine.opener, "assigned", self.assigned.append)
        monkeypatch.setattr(app.assignor, "assigned_standbys", set)
        app.consumer_generation_id = 7
        app.life = SimpleNamespace(before_seek=self.begins.append, after_seek=self._nothing)
        self.recovery = SeekFirstRecovery(app, app.tables)
        self.copy = FakeCopy()
        self.recovery.active_tps.add(CHANGELOG)
        self.recovery.tp_to_table[CHANGELOG] = cast("Any", self.copy)
        self.recovery.active_offsets[CHANGELOG] = 99
        monkeypatch.setattr(self.recovery, "_is_changelog_tp", lambda tp: tp == CHANGELOG)
        self.standbys_ready = 0
        self.tables = SimpleNamespace(
            values=list, on_actives_ready=lambda: None, on_standbys_ready=self._ready, standbys_ready=False
        )
        monkeypatch.setattr(self.recovery, "tables", self.tables)

    async def recover(self) -> None:
        """Come to the end of a recovery, as Faust's loop does once it is asked to."""
        self.recovery.signal_recovery_start.clear()
        await self.recovery.on_recovery_completed(7)

    async def take(self, *offsets: int, tp: TP = CHANGELOG, term: object = None) -> None:
        """Hand over a run of records with these offsets, which was asked for in this term, or now."""
        records = [SimpleNamespace(offset=offset) for offset in offsets]
        await self.recovery.take(tp, records, term or self.recovery.term)

    def _ready(self) -> None:
        self.tables.standbys_ready = True
        self.standbys_ready += 1

    async def _nothing(self) -> None:
        """Start nothing."""

    async def _seek(self) -> None:
        self.steps.append("seek begins")
        self.at_seek()
        await asyncio.sleep(0)
        self.steps.append("seek ends")

    def _resumed(self, partitions: set[TP]) -> None:
        self.resumed.append(partitions)
        self.steps.append("sources")
        # Whatever could come in between would come now.
        asyncio.get_running_loop().call_soon(self.steps.append, "something else")


@pytest.fixture
async def recovered(monkeypatch: pytest.MonkeyPatch) -> Recovered:
    return Recovered(build_worker(Settings()), monkeypatch)


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


@pytest.fixture
def recovering(recovered: Recovered) -> Recovered:
    """In the middle of a recovery: a changelog of 106 records, of which the copy has read those up to the 99th."""
    recovered.recovery._set_recovery_started()
    recovered.recovery.active_highwaters[CHANGELOG] = 105
    return recovered


async def test_a_run_of_a_changelog_is_applied_before_its_offset_moves(recovering: Recovered) -> None:
    offsets = recovering.recovery.active_offsets
    recovering.copy.at_run = lambda: recovering.steps.append(f"applied at {offsets[CHANGELOG]}")
    await recovering.take(100, 101, 103)
    assert recovering.steps == ["applied at 99"]
    assert (recovering.copy.applied, offsets[CHANGELOG]) == ([[100, 101, 103]], 103)


async def test_a_run_that_cannot_be_applied_moves_no_offset(recovering: Recovered) -> None:
    def fail() -> None:
        raise SystemExit(70)

    recovering.copy.at_run = fail
    with pytest.raises(SystemExit):
        await recovering.take(100, 101)
    assert recovering.recovery.active_offsets[CHANGELOG] == 99


async def test_what_a_copy_has_read_already_is_left_out(recovering: Recovered) -> None:
    await recovering.take(97, 98, 99)
    await recovering.take(98, 99, 100)
    assert recovering.copy.applied == [[100]]


async def test_recovery_ends_with_the_run_that_reaches_the_end_of_the_changelog(recovering: Recovered) -> None:
    recovery = recovering.recovery
    await recovering.take(100, 104)
    assert not recovery.signal_recovery_end.is_set()
    await recovering.take(105, 106)
    assert recovery.signal_recovery_end.is_set()
    assert not recovery.in_recovery
    recovery._set_recovery_started()
    assert not recovery.signal_recovery_end.is_set(), "the next recovery would end before it has begun"


async def test_others_get_their_turn_between_the_pieces_of_a_long_run(
    recovering: Recovered, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovering.recovery, "most_at_once", 2)
    taken = asyncio.create_task(recovering.take(100, 101, 102, 103, 104))
    seen = []
    while not taken.done():
        await asyncio.sleep(0)
        seen.append(len(recovering.copy.applied))
    assert {1, 2, 3} <= set(seen)
    assert recovering.copy.applied == [[100, 101], [102, 103], [104]]


@pytest.mark.parametrize("change", ["revoked", "assigned", "rebuilt"])
async def test_a_run_of_an_earlier_term_is_not_applied_nor_is_the_rest_of_one_whose_term_ends(
    recovering: Recovered, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    async def nothing(*_: Any) -> None:
        """Begin nothing."""

    recovery = recovering.recovery
    monkeypatch.setattr(Recovery, "on_rebalance", nothing)
    monkeypatch.setattr(recovery, "most_at_once", 2)
    term, first = recovery.term, asyncio.Event()
    recovering.copy.at_run = first.set
    taken = asyncio.create_task(recovering.take(100, 101, 102, 103))
    await first.wait()
    if change == "revoked":
        recovery.on_partitions_revoked({CHANGELOG})
    elif change == "assigned":
        await recovery.on_rebalance()
    else:
        recovery._rebuild([CHANGELOG])
    await taken
    await recovering.take(104, 105, term=term)
    assert recovering.copy.applied == [[100, 101]]
    assert recovery.active_offsets[CHANGELOG] in {101, None}


async def test_nothing_is_read_of_a_changelog_whose_partition_is_served(recovering: Recovered) -> None:
    """What comes then is of a worker out of touch, and the rows are the owner's."""
    recovering.recovery._set_recovery_ended()
    await recovering.take(106, 107)
    assert recovering.copy.applied == []


async def test_a_standby_follows_whether_or_not_others_are_recovered_and_is_ready_at_its_end(
    recovering: Recovered,
) -> None:
    recovery, standby = recovering.recovery, TP("changelog", 5)
    recovery.standby_tps.add(standby)
    recovery.tp_to_table[standby] = recovery.tp_to_table[CHANGELOG]
    recovery.standby_offsets[standby], recovery.standby_highwaters[standby] = 9, 11
    await recovering.take(10, tp=standby)
    recovery._set_recovery_ended()
    assert recovering.standbys_ready == 0
    for offset in (11, 12):
        await recovering.take(offset, tp=standby)
    assert recovering.copy.applied == [[10], [11], [12]]
    assert (recovery.standby_offsets[standby], recovering.standbys_ready) == (12, 1)


async def test_a_standby_without_an_offset_yet_is_not_ready_and_disturbs_no_other(recovering: Recovered) -> None:
    recovery, other = recovering.recovery, TP(CHANGELOG.topic, CHANGELOG.partition + 1)
    recovery.active_tps.clear()
    recovery.standby_tps |= {CHANGELOG, other}
    recovery.standby_highwaters.update({CHANGELOG: 100, other: 3})
    recovery.standby_offsets[CHANGELOG] = 99
    recovery._add(SimpleNamespace(persisted_offset=lambda _tp: None), other, recovery.standby_offsets)
    # Beyond the end that it had when it was sought: that makes up for nothing that the other one lacks.
    await recovering.take(*range(100, 110))
    assert recovering.standbys_ready == 0
    recovery.tp_to_table[other] = cast("Any", recovering.copy)
    await recovering.take(0, 1, 2, 3, tp=other)
    assert recovering.standbys_ready == 1


async def test_what_comes_of_a_changelog_that_is_not_ours_is_dropped_and_said_once(recovering: Recovered) -> None:
    with capture_logs() as told:
        for offset in (1, 2):
            await recovering.take(offset, tp=TP("changelog", 6))
    assert recovering.copy.applied == []
    assert [line["partition"] for line in told] == [6]


async def test_a_copy_that_is_not_complete_is_rebuilt_before_anything_flows(recovered: Recovered) -> None:
    recovery, copy = recovered.recovery, recovered.copy
    copy.complete, copy.found = False, {b"a": b"1", b"b": b"1", b"c": b"1"}
    with capture_logs() as told:
        await recovered.recover()
    assert recovered.steps == ["2 paused"]
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
        assert recovered.steps[-1] == "2 paused"
    await recovered.recover()
    assert recovered.copy.asked == ["empty", "empty", "empty", "trust"]
    assert recovered.steps[-1] == "flow"


async def test_a_copy_that_is_taken_away_while_it_is_verified_is_left_alone(recovered: Recovered) -> None:
    recovered.copy.complete = False
    looks = []

    def look() -> None:
        looks.append("at some rows")
        recovered.recovery._revoked = True

    recovered.copy.at_sum = look
    await recovered.recovery.on_recovery_completed(7)
    assert (recovered.copy.asked, recovered.steps, looks) == ([], [], ["at some rows"])


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
        recovery.in_recovery = True
        recovery.active_highwaters[CHANGELOG] = 105
        consumer = SimpleNamespace(_thread=SimpleNamespace(_consumer="aiokafka's"), seek_wait=self._seek)
        monkeypatch.setattr(recovery.app.__class__, "consumer", consumer)
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
    changelog.recovery.taking = unread == "something is to be applied"
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

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaConnectionError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from structlog.testing import capture_logs

from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.overrides import inputs as inputs_module
from cj_stream.engine.overrides.inputs import DELETED, MADE_ANEW, SHORTER, AppliedUpTo, Gone, Inputs, LogRange, begin
from cj_stream.engine.standing import Mark
from cj_stream.operations.settings import NAMES

FIRST, SECOND = TopicPartition("requests", 0), TopicPartition("requests", 1)
OLD, NEW = str(uuid4()), str(uuid4())
OUT_OF_RANGE = 1


def commit(offset: int, topic_id: str = OLD) -> OffsetAndMetadata:
    return OffsetAndMetadata(offset, topic_id)


@pytest.mark.parametrize(
    ("committed", "found", "expected"),
    [
        (None, LogRange(0, 9, OLD), (0, None)),
        (None, LogRange(4, 9, OLD), (4, None)),
        (commit(4), LogRange(4, 9, OLD), (4, None)),
        (commit(9), LogRange(4, 9, OLD), (9, None)),
        (commit(7), LogRange(0, 9, OLD), (7, None)),
        (commit(3), LogRange(4, 9, OLD), (4, Gone(3, 4, DELETED))),
        (commit(0), LogRange(9, 9, OLD), (9, Gone(0, 9, DELETED))),
        (commit(10), LogRange(4, 9, OLD), (4, Gone(9, 10, SHORTER))),
        (commit(10, ""), LogRange(0, 9, OLD), (0, Gone(9, 10, SHORTER))),
        (commit(5), LogRange(0, 9, NEW), (0, Gone(5, None, MADE_ANEW))),
        (commit(5), LogRange(0, 3, NEW), (0, Gone(5, None, MADE_ANEW))),
        (commit(5, ""), LogRange(0, 9, NEW), (5, None)),
        (commit(5), LogRange(0, 9, ""), (5, None)),
    ],
)
def test_reading_begins_at_the_commit_unless_it_is_not_in_this_log(
    committed: OffsetAndMetadata | None, found: LogRange, expected: tuple[int, Gone | None]
) -> None:
    assert begin(committed, found) == expected


class Broker:
    """A topic of two partitions, and aiokafka's consumer that reads them."""

    def __init__(self) -> None:
        self.commits: dict[TopicPartition, OffsetAndMetadata] = {}
        self.begins = {FIRST: 0, SECOND: 0}
        self.ends = {FIRST: 9, SECOND: 9}
        self.late_ends: dict[TopicPartition, int] = {}
        self.topic_id: str | None = OLD
        self.assigned = {FIRST, SECOND}
        self.sought: dict[TopicPartition, int] = {}
        self.rejoined = 0
        self.times: dict[TopicPartition, int] = {}
        self.at_time: dict[TopicPartition, Any] = {}
        self.refuses: Exception | None = None
        self.ids_fail: Exception | None = None
        self._coordinator = self._client = self
        self._subscription = SimpleNamespace(
            subscription=SimpleNamespace(assignment=SimpleNamespace(state_value=self._state))
        )

    async def fetch_committed_offsets(self, partitions: Any) -> dict[TopicPartition, OffsetAndMetadata]:
        return {tp: self.commits[tp] for tp in partitions if tp in self.commits}

    def partitions_for_topic(self, _topic: str) -> set[int]:
        return {0, 1}

    async def beginning_offsets(self, partitions: Any) -> dict[TopicPartition, int]:
        return {tp: self.begins[tp] for tp in partitions}

    async def offsets_for_times(self, times: dict[TopicPartition, int]) -> dict[TopicPartition, Any]:
        self.times.update(times)
        return {tp: self.at_time.get(tp) for tp in times}

    def assignment(self) -> set[TopicPartition]:
        return self.assigned

    def _state(self, tp: TopicPartition) -> Any:
        return SimpleNamespace(has_valid_position=tp in self.sought, position=self.sought.get(tp))

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.sought[tp] = offset

    async def commit(self, offsets: dict[TopicPartition, OffsetAndMetadata]) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.commits.update(offsets)

    def request_rejoin(self) -> None:
        self.rejoined += 1


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    broker = Broker()

    async def ends(_consumer: Any, partitions: Any) -> dict[TopicPartition, int]:
        found = {tp: broker.ends[tp] for tp in partitions}
        broker.ends.update(broker.late_ends)
        return found

    async def ids(_client: Any, _topics: Any) -> dict[str, str] | None:
        if broker.ids_fail is not None:
            raise broker.ids_fail
        return {FIRST.topic: broker.topic_id} if broker.topic_id else {}

    monkeypatch.setattr(inputs_module, "written_ends", ends)
    monkeypatch.setattr(inputs_module, "topic_ids", ids)
    monkeypatch.setattr(inputs_module, "SECOND_LOOK_SECONDS", 0)
    return broker


def new_inputs() -> Inputs:
    return Inputs(Conditions(lambda: 0.0), NAMES)


def told(logs: Any) -> list[tuple[int, Any, Any]]:
    return [(entry["partition"], entry["first"], entry["end"]) for entry in logs if entry["event"] == "input is gone"]


def out_of_range(inputs: Inputs, broker: Broker, tp: TopicPartition, offset: int) -> None:
    request = FetchRequest(1, 1, 1, 1, [(tp.topic, [(tp.partition, offset, 1)])])
    inputs.answered(broker, request, SimpleNamespace(topics=[(tp.topic, [(tp.partition, OUT_OF_RANGE, -1)])]))


async def test_where_nothing_is_committed_the_beginning_is_and_no_loss_is_told(broker: Broker) -> None:
    broker.begins[SECOND] = 4
    with capture_logs() as logs:
        assert await new_inputs().seek(broker, [FIRST, SECOND]) == {FIRST: 0, SECOND: 4}
    assert broker.commits == {FIRST: commit(0), SECOND: commit(4)}
    assert told(logs) == []


async def test_what_was_deleted_before_it_was_read_is_told_once_with_its_offsets_and_counted(broker: Broker) -> None:
    broker.commits, broker.begins[SECOND] = {FIRST: commit(5), SECOND: commit(3)}, 7
    inputs = new_inputs()
    with capture_logs() as logs:
        assert await inputs.seek(broker, [FIRST, SECOND]) == {FIRST: 5, SECOND: 7}
        await inputs.seek(broker, [FIRST, SECOND])
    assert told(logs) == [(1, 3, 7)]
    assert inputs.lost() == {"requests": 4}
    (condition,) = inputs.conditions.current
    assert (condition.kind, condition.subject) == (ConditionKind.LOST_INPUT, "requests-1")
    assert broker.commits[SECOND] == commit(7)


async def test_a_log_that_ends_before_the_commit_is_read_from_its_beginning_and_the_commit_goes_back(
    broker: Broker,
) -> None:
    broker.commits = {FIRST: commit(12), SECOND: commit(9)}
    inputs = new_inputs()
    with capture_logs() as logs:
        assert await inputs.seek(broker, [FIRST, SECOND]) == {FIRST: 0, SECOND: 9}
    assert told(logs) == [(0, 9, 12)]
    assert broker.commits[FIRST] == commit(0)
    assert inputs.lost() == {"requests": 0}, "what is gone had been read"


async def test_an_end_below_the_commit_is_asked_for_twice_before_it_is_believed(broker: Broker) -> None:
    broker.commits, broker.late_ends = {FIRST: commit(12), SECOND: commit(9)}, {FIRST: 12}
    with capture_logs() as logs:
        assert await new_inputs().seek(broker, [FIRST, SECOND]) == {FIRST: 12, SECOND: 9}
    assert told(logs) == []


async def test_a_topic_with_another_id_is_read_from_its_beginning_whatever_its_offsets(broker: Broker) -> None:
    broker.commits, broker.topic_id = {FIRST: commit(5), SECOND: commit(5)}, NEW
    inputs = new_inputs()
    assert await inputs.seek(broker, [FIRST, SECOND]) == {FIRST: 0, SECOND: 0}
    assert broker.commits == {FIRST: commit(0, NEW), SECOND: commit(0, NEW)}
    assert inputs.identified({FIRST: OffsetAndMetadata(3, "")}) == {FIRST: commit(3, NEW)}


async def test_a_topic_that_is_made_anew_while_it_is_read_is_sought_again_from_its_beginning(broker: Broker) -> None:
    broker.commits = {FIRST: commit(5), SECOND: commit(5)}
    inputs = new_inputs()
    await inputs.seek(broker, [FIRST, SECOND])
    inputs.moved(broker, {FIRST: 8, SECOND: 5})
    await inputs.look(broker, {FIRST.topic})
    assert broker.rejoined == 0
    broker.topic_id = NEW
    with capture_logs() as logs:
        await inputs.look(broker, {FIRST.topic})
        await inputs.look(broker, {FIRST.topic})
        assert broker.rejoined == 1
        # The broker forgets the commits of a deleted topic, but a late one may have been made for the new one.
        broker.commits = {FIRST: commit(8, NEW)}
        assert await inputs.seek(broker, [FIRST, SECOND]) == {FIRST: 0, SECOND: 0}
    assert told(logs) == [(0, 8, "nobody knows where"), (1, 5, "nobody knows where")]


async def test_a_topic_that_is_missing_is_told_until_it_is_there_again(broker: Broker) -> None:
    inputs = new_inputs()
    await inputs.seek(broker, [FIRST, SECOND])
    broker.topic_id = None
    await inputs.look(broker, {FIRST.topic})
    assert [condition.kind for condition in inputs.conditions.current] == [ConditionKind.TOPIC_MISSING]
    broker.topic_id = OLD
    await inputs.look(broker, {FIRST.topic})
    assert inputs.conditions.current == ()
    assert broker.rejoined == 0


async def test_records_deleted_ahead_of_a_reader_are_told_exactly(broker: Broker) -> None:
    broker.commits[FIRST] = commit(2)
    inputs = new_inputs()
    await inputs.seek(broker, [FIRST, SECOND])
    out_of_range(inputs, broker, FIRST, 2)
    with capture_logs() as logs:
        inputs.moved(broker, {SECOND: 1})
        inputs.moved(broker, {FIRST: 6, SECOND: 1})
        inputs.moved(broker, {FIRST: 7, SECOND: 1})
    assert told(logs) == [(0, 2, 6)]
    assert (inputs.lost(), broker.rejoined) == ({"requests": 4}, 0)


async def test_a_log_that_got_shorter_under_a_reader_is_sought_again_from_its_beginning(broker: Broker) -> None:
    broker.commits = {FIRST: commit(9), SECOND: commit(9)}
    inputs = new_inputs()
    await inputs.seek(broker, [FIRST, SECOND])
    out_of_range(inputs, broker, FIRST, 9)
    inputs.moved(broker, {FIRST: 0, SECOND: 9})
    assert broker.rejoined == 1
    # By now it may have grown past the commit: what lies before is unread all the same.
    broker.ends[FIRST] = 30
    assert await inputs.seek(broker, [FIRST, SECOND]) == {FIRST: 0, SECOND: 9}
    assert await inputs.seek(broker, [FIRST, SECOND]) == {FIRST: 0, SECOND: 9}, "committed"


async def test_answers_to_other_requests_say_nothing_of_offsets(broker: Broker) -> None:
    inputs = new_inputs()
    inputs.answered(broker, object(), SimpleNamespace(topics=[(FIRST.topic, [(FIRST.partition, OUT_OF_RANGE, -1)])]))
    with capture_logs() as logs:
        inputs.moved(broker, {FIRST: 3})
    assert logs == []


@pytest.mark.parametrize("error", [CommitFailedError("rebalanced"), KafkaConnectionError("away")])
async def test_a_beginning_that_cannot_be_committed_is_read_from_all_the_same(broker: Broker, error: Exception) -> None:
    broker.refuses = error
    assert await new_inputs().seek(broker, [FIRST, SECOND]) == {FIRST: 0, SECOND: 0}
    assert broker.sought == {FIRST: 0, SECOND: 0}


async def test_what_is_gone_is_told_by_who_keeps_the_partition_and_by_nobody_else(broker: Broker) -> None:
    broker.commits, broker.begins[FIRST] = {FIRST: commit(1)}, 3
    broker.refuses = CommitFailedError("rebalanced")
    with capture_logs() as logs:
        await new_inputs().seek(broker, [FIRST, SECOND])
        broker.assigned = set()
        with pytest.raises(IllegalStateError):
            await new_inputs().seek(broker, [FIRST, SECOND])
    assert told(logs) == []
    broker.assigned, broker.refuses = {FIRST, SECOND}, KafkaConnectionError("away")
    with capture_logs() as logs:
        await new_inputs().seek(broker, [FIRST, SECOND])
    assert told(logs) == [(0, 1, 3)]


async def test_ids_that_are_not_known_just_now_keep_what_was_known(broker: Broker) -> None:
    inputs = new_inputs()
    await inputs.seek(broker, [FIRST, SECOND])
    broker.ids_fail = KafkaConnectionError("away")
    await inputs.seek(broker, [FIRST, SECOND])
    assert inputs.identified({FIRST: OffsetAndMetadata(3, "")}) == {FIRST: commit(3)}


async def test_partitions_that_are_taken_away_during_the_seek_are_not_sought(broker: Broker) -> None:
    broker.assigned = {FIRST}
    with pytest.raises(IllegalStateError):
        await new_inputs().seek(broker, [FIRST, SECOND])
    assert (broker.sought, broker.commits) == ({}, {})


async def test_a_fetch_that_was_under_way_at_the_seek_tells_nothing_more(broker: Broker) -> None:
    broker.commits, broker.begins[FIRST] = {FIRST: commit(1)}, 3
    inputs = new_inputs()
    with capture_logs() as logs:
        await inputs.seek(broker, [FIRST, SECOND])
        out_of_range(inputs, broker, FIRST, 1)
        inputs.moved(broker, {FIRST: 3, SECOND: 0})
    assert told(logs) == [(0, 1, 3)]


async def test_a_topic_that_was_gone_and_is_back_is_told_although_the_broker_has_forgotten_its_commits(
    broker: Broker,
) -> None:
    broker.commits = {FIRST: commit(5), SECOND: commit(5)}
    inputs = new_inputs()
    await inputs.seek(broker, [FIRST, SECOND])
    await inputs.seek(broker, [])
    broker.commits, broker.topic_id = {}, NEW
    with capture_logs() as logs:
        assert await inputs.seek(broker, [FIRST]) == {FIRST: 0}
        await inputs.look(broker, {FIRST.topic})
    assert told(logs) == [(0, 5, "nobody knows where")]
    assert broker.rejoined == 0


def test_a_mark_beside_a_committed_offset_is_no_other_topic_and_stays() -> None:
    mark = Mark(5.0, "its checksum is wrong").beside(OLD)
    assert begin(OffsetAndMetadata(3, mark), LogRange(0, 5, OLD)) == (3, None)
    assert begin(OffsetAndMetadata(3, mark), LogRange(0, 5, NEW))[0] == 0


@pytest.mark.parametrize("metadata", ["no id", "\n", "{}", "12345678-1234"])
async def test_metadata_of_somebody_else_are_no_id(broker: Broker, metadata: str) -> None:
    broker.commits = {FIRST: OffsetAndMetadata(5, metadata)}
    assert await new_inputs().seek(broker, [FIRST]) == {FIRST: 5}
    assert broker.commits == {FIRST: commit(5)}


@pytest.mark.parametrize(
    ("committed", "applied", "topic_id", "another"),
    [
        (commit(7), 6, OLD, False),
        (None, 8, OLD, False),
        (commit(12), 6, OLD, True),
        (commit(7), 9, OLD, True),
        (None, 9, OLD, True),
        (commit(7), 6, NEW, True),
    ],
)
async def test_rows_made_from_another_log_are_gone_on_with_from_the_first_record_that_is_not_older(
    broker: Broker, committed: OffsetAndMetadata | None, applied: int, topic_id: str, *, another: bool
) -> None:
    if committed is not None:
        broker.commits[FIRST] = committed
    broker.topic_id, broker.at_time = topic_id, {FIRST: SimpleNamespace(offset=3)}
    inputs = new_inputs()
    inputs.applied = {FIRST: AppliedUpTo(applied, 1.5)}
    with capture_logs() as logs:
        begins = await inputs.seek(broker, [FIRST, SECOND])
    assert begins == {FIRST: 3 if another else (0 if committed is None else 7), SECOND: 0}
    assert inputs.begun_anew == ({FIRST: 3} if another else {})
    assert broker.times == ({FIRST: 1500} if another else {})
    assert len(told(logs)) == another
    assert broker.commits[FIRST].offset == begins[FIRST]


async def test_a_log_in_which_everything_is_older_than_the_rows_is_read_from_its_end(broker: Broker) -> None:
    broker.commits = {FIRST: commit(12)}
    inputs = new_inputs()
    inputs.applied = {FIRST: AppliedUpTo(11, 1.5)}
    assert await inputs.seek(broker, [FIRST]) == {FIRST: 9}

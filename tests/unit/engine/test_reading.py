from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage
from support.engine.fake_producer import ProcessEndedError, no_exit

from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.engine.overrides.drain import RunMessage
from cj_stream.engine.reading import RUNS_IN_HAND
from cj_stream.engine.runs import Record, Run
from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker

SOURCE = TP("events", 0)


def run(*offsets: int, topic: str = SOURCE.topic) -> Run:
    return Run.of([Record(topic, 0, offset, 0.0, None, b"") for offset in offsets])


class Reader:
    """The real consumer, not connected, whose partition was sought to ``committed``."""

    def __init__(self, committed: int | None) -> None:
        app: Any = build_worker(Settings()).faust
        app.topics._acking_topics.add(SOURCE.topic)
        self.unmarked: dict[TP, int] = {}
        app.engine = cast("Any", SimpleNamespace(guard=SimpleNamespace(unmarked=lambda: self.unmarked)))
        self.passed_on: list[ConsumerMessage] = []
        self.consumer: Any = app.transport.create_consumer(
            callback=self.passed_on.append, on_partitions_revoked=None, on_partitions_assigned=None
        )
        assert isinstance(self.consumer, BarrierConsumer)
        self.consumer.assignment = lambda: {SOURCE}
        self.messages: dict[int, RunMessage] = {}
        self.consumer._committed_offset[SOURCE] = committed
        self.begins = {} if committed is None else {SOURCE: committed}
        self.consumer.reading.restart(self.begins)

    def give(self, *runs: Sequence[int]) -> None:
        for offsets in runs:
            message = self.messages[offsets[0]] = RunMessage(SOURCE, run(*offsets), 1)
            self.consumer.callback(message)

    def acknowledge(self, *firsts: int) -> None:
        for first in firsts:
            self.consumer.ack(self.messages[first])

    def commit(self) -> dict[TP, int]:
        """What the consumer would commit now."""
        offsets: dict[TP, int] = self.consumer._filter_committable_offsets([SOURCE])
        self.consumer.reading.committed(offsets)
        return offsets

    def faust_would_commit(self) -> dict[TP, int]:
        offsets: dict[TP, int] = FaustConsumer._filter_committable_offsets(self.consumer, [SOURCE])
        return offsets


@pytest.mark.parametrize(("committed", "in_hand"), [(None, 6), (2585, 2585)])
async def test_faust_would_commit_over_a_message_that_is_being_handled(committed: int | None, in_hand: int) -> None:
    """Upstream issue 606, on the class itself: if this fails, it is mended and our guard may go."""
    reader = Reader(committed)
    reader.give([in_hand], [in_hand + 1])
    reader.acknowledge(in_hand + 1)
    assert reader.faust_would_commit() == {SOURCE: in_hand + 2}


async def test_what_is_handled_out_of_order_is_not_committed() -> None:
    reader = Reader(2585)
    reader.give([2585, 2586], [2587])
    reader.acknowledge(2587)
    assert reader.commit() == {}
    reader.acknowledge(2585)
    assert reader.commit() == {SOURCE: 2588}


async def test_a_commit_past_a_run_that_is_being_handled_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = no_exit(monkeypatch, "overrides.consumer")
    reader = Reader(10)
    reader.give([10, 11], [12])
    monkeypatch.setattr(reader.consumer.reading, "_reached", lambda *_: 11)
    with pytest.raises(ProcessEndedError):
        reader.commit()
    assert reasons == ["a commit would have passed a message that is still being handled"]


async def test_a_run_is_in_hand_until_it_was_handled_as_a_whole() -> None:
    reader = Reader(10)
    reader.give([10, 11, 14], [15, 16])
    assert reader.commit() == {}
    reader.acknowledge(10)
    assert reader.commit() == {SOURCE: 15}
    reader.acknowledge(15)
    assert reader.commit() == {SOURCE: 17}
    assert reader.commit() == {}
    assert [passed.offset for passed in reader.passed_on] == [10, 15]


async def test_reading_is_behind_while_runs_wait_for_the_one_that_is_being_handled() -> None:
    reader = Reader(10)
    reader.give([10, 11])
    assert not reader.consumer.reading.is_behind()
    reader.give([12])
    assert reader.consumer.reading.is_behind()
    reader.acknowledge(10)
    assert not reader.consumer.reading.is_behind()
    reader.give([13])
    reader.consumer.reading.interrupt()
    assert not reader.consumer.reading.is_behind(), "what is in hand is dropped"


async def test_runs_that_begin_at_the_first_offset_are_committed() -> None:
    """To Faust offset 0 is none: by its book nothing would ever be committed."""
    reader = Reader(0)
    reader.give([0, 1, 2], [3, 4])
    reader.acknowledge(0)
    assert reader.commit() == {SOURCE: 3}
    reader.acknowledge(3)
    assert reader.commit() == {SOURCE: 5}


async def test_nothing_piles_up_of_what_is_acknowledged() -> None:
    reader = Reader(0)
    for first in range(0, 3_000, 3):
        reader.give([first, first + 1, first + 2])
        reader.acknowledge(first)
        reader.commit()
    assert not reader.consumer._acked
    assert not reader.consumer._acked_index
    assert not reader.consumer._gap
    assert not reader.consumer.reading._given[SOURCE]


async def test_a_partition_is_full_until_its_runs_are_handled() -> None:
    reader = Reader(0)
    reading = reader.consumer.reading
    reader.give(*([first] for first in range(RUNS_IN_HAND)))
    assert reading.full() == {SOURCE}
    reader.acknowledge(0)
    assert reading.full() == frozenset()


async def test_what_is_dropped_at_a_revocation_is_not_committed_and_what_is_handled_still_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader = Reader(10)
    reader.give([10, 11], [12, 13], [14])

    async def revoked(*_: Any) -> None:
        reader.consumer._committed_offset.pop(SOURCE)
        reader.acknowledge(10)

    monkeypatch.setattr(FaustConsumer, "on_partitions_revoked", revoked)
    await reader.consumer.on_partitions_revoked({SOURCE})
    assert reader.commit() == {SOURCE: 12}, "the agent has handled one run, and the queue with the others is cleared"
    assert reader.commit() == {}


async def test_nothing_is_committed_a_second_time_at_a_revocation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a topic that was just deleted that would be tried again for ever."""
    reader = Reader(10)
    reader.give([10, 11])
    reader.acknowledge(10)
    assert reader.commit() == {SOURCE: 12}

    async def revoked(*_: Any) -> None:
        reader.consumer._committed_offset.pop(SOURCE, None)

    monkeypatch.setattr(FaustConsumer, "on_partitions_revoked", revoked)
    await reader.consumer.on_partitions_revoked({SOURCE})
    assert reader.commit() == {}


async def test_a_commit_that_ends_after_the_topic_was_made_anew_tells_nothing_of_the_new_one() -> None:
    reader = Reader(5_000)
    reader.give([5_000])
    reader.acknowledge(5_000)
    reader.consumer.reading.restart({SOURCE: 0})
    reader.consumer.reading.committed({SOURCE: 5_001})
    reader.give([0, 1])
    reader.acknowledge(0)
    assert reader.commit() == {SOURCE: 2}


async def test_what_belongs_to_somebody_else_by_now_is_not_committed() -> None:
    reader = Reader(10)
    reader.give([10, 11])
    reader.acknowledge(10)
    reader.consumer.assignment = set
    assert reader.commit() == {}


async def test_records_that_nobody_gets_to_see_are_committed_once_nothing_is_in_hand() -> None:
    reader = Reader(10)
    reader.give([10])
    reader.consumer.reading.fetching({SOURCE: 12})
    assert reader.commit() == {}, "10 is still being handled"
    reader.acknowledge(10)
    assert reader.commit() == {SOURCE: 12}
    assert reader.commit() == {}


async def test_a_message_that_came_after_the_position_was_taken_is_not_committed_over() -> None:
    reader = Reader(10)
    reader.consumer.reading.fetching({SOURCE: 11})
    reader.give([11])
    assert reader.commit() == {SOURCE: 11}
    assert reader.commit() == {}
    reader.acknowledge(11)
    assert reader.commit() == {SOURCE: 12}


async def test_no_position_is_trusted_between_the_loss_of_a_partition_and_its_seek() -> None:
    reader = Reader(10)
    reader.consumer.reading.fetching({SOURCE: 20})
    reader.consumer.reading.interrupt()
    assert reader.commit() == {}
    reader.consumer.reading.restart(reader.begins)
    assert reader.commit() == {}, "the position was taken before the seek"
    reader.consumer.reading.fetching({SOURCE: 11})
    assert reader.commit() == {SOURCE: 11}


@pytest.mark.parametrize(("step", "given"), [("perform_seek", ()), ("on_partitions_revoked", ({SOURCE},))])
async def test_nothing_is_committed_by_its_position_while_partitions_are_sought_or_revoked(
    step: str, given: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = Reader(10)
    reader.consumer.reading.fetching({SOURCE: 20})
    meanwhile: list[dict[TP, int]] = []

    async def takes_a_while(*_: Any) -> None:
        reader.consumer.reading.fetching({SOURCE: 20})
        meanwhile.append(reader.commit())

    monkeypatch.setattr(FaustConsumer, step, takes_a_while)
    await getattr(reader.consumer, step)(*given)
    assert meanwhile == [{}]
    assert reader.commit() == {}


async def test_what_was_in_hand_before_a_seek_is_read_again_and_holds_up_nothing() -> None:
    reader = Reader(10)
    reader.give([10])
    reader.consumer.reading.restart(reader.begins)
    assert reader.consumer.reading.oldest(SOURCE) is None


async def test_a_partition_without_a_commit_is_not_committed_by_its_position() -> None:
    reader = Reader(None)
    reader.consumer.reading.fetching({SOURCE: 20})
    assert reader.commit() == {}


@pytest.mark.parametrize("committed", [19, 20])
async def test_a_partition_that_stands_is_committed_where_it_stands_so_that_all_workers_learn_of_it(
    committed: int,
) -> None:
    reader = Reader(committed)
    reader.give([19])
    reader.unmarked = {SOURCE: 20}
    reader.consumer.reading.fetching({SOURCE: 20})
    assert reader.commit() == {}, "19 is still being handled"
    reader.acknowledge(19)
    assert reader.commit() == {SOURCE: 20}
    assert reader.commit() == {SOURCE: 20}, "until it is committed with its mark"
    reader.unmarked = {}
    assert reader.commit() == {}


async def test_changelog_records_do_not_hold_up_a_commit() -> None:
    reader = Reader(10)
    reader.consumer.callback(ConsumerMessage("changelog", 0, 3, 0.0, 1, None, None, b"", None))
    assert reader.consumer.reading.oldest(TP("changelog", 0)) is None

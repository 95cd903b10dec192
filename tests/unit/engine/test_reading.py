from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from fake_producer import ProcessEndedError, no_exit
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage

from cj_stream.engine.overrides.app import new_app
from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.operations.settings import Settings

SOURCE = TP("events", 0)


def message(offset: int, topic: str = SOURCE.topic) -> ConsumerMessage:
    return ConsumerMessage(topic, 0, offset, 0.0, 1, None, None, b"", None, tp=TP(topic, 0))


class Reader:
    """The real consumer, not connected, whose partition was sought to ``committed``."""

    def __init__(self, committed: int | None) -> None:
        app = new_app(Settings())
        app.topics._acking_topics.add(SOURCE.topic)
        self.unmarked: dict[TP, int] = {}
        app.engine = cast("Any", SimpleNamespace(guard=SimpleNamespace(unmarked=lambda: self.unmarked)))
        self.passed_on: list[ConsumerMessage] = []
        self.consumer: Any = app.transport.create_consumer(
            callback=self.passed_on.append, on_partitions_revoked=None, on_partitions_assigned=None
        )
        assert isinstance(self.consumer, BarrierConsumer)
        self.messages: dict[int, ConsumerMessage] = {}
        self.consumer._committed_offset[SOURCE] = committed
        self.consumer.reading.restart()

    def give(self, *offsets: int) -> None:
        for offset in offsets:
            self.messages[offset] = message(offset)
            self.consumer.callback(self.messages[offset])

    def acknowledge(self, *offsets: int) -> None:
        for offset in offsets:
            self.consumer.ack(self.messages[offset])

    def commit(self) -> dict[TP, int]:
        """What the consumer would commit now."""
        offsets: dict[TP, int] = self.consumer._filter_committable_offsets([SOURCE])
        self.consumer._committed_offset.update(offsets)
        return offsets

    def faust_would_commit(self) -> dict[TP, int]:
        offsets: dict[TP, int] = FaustConsumer._filter_committable_offsets(self.consumer, [SOURCE])
        return offsets


@pytest.mark.parametrize(("committed", "in_hand"), [(None, 6), (2585, 2585)])
async def test_faust_would_commit_over_a_message_that_is_being_handled(committed: int | None, in_hand: int) -> None:
    """Upstream issue 606, on the class itself: if this fails, it is mended and our guard may go."""
    reader = Reader(committed)
    reader.give(in_hand, in_hand + 1)
    reader.acknowledge(in_hand + 1)
    assert reader.faust_would_commit() == {SOURCE: in_hand + 2}


@pytest.mark.parametrize(("committed", "in_hand"), [(None, 6), (2585, 2585)])
async def test_a_commit_past_a_message_that_is_being_handled_ends_the_process(
    committed: int | None, in_hand: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = no_exit(monkeypatch, "overrides.consumer")
    reader = Reader(committed)
    reader.give(in_hand, in_hand + 1)
    reader.acknowledge(in_hand + 1)
    with pytest.raises(ProcessEndedError):
        reader.commit()
    assert reasons == ["a commit would have passed a message that is still being handled"]


async def test_what_is_acknowledged_in_order_is_committed() -> None:
    reader = Reader(10)
    reader.give(10, 11, 12)
    assert reader.commit() == {}
    reader.acknowledge(10, 11)
    assert reader.commit() == {SOURCE: 12}
    reader.acknowledge(12)
    assert reader.commit() == {SOURCE: 13}
    assert [passed.offset for passed in reader.passed_on] == [10, 11, 12]


async def test_records_that_nobody_gets_to_see_are_committed_once_nothing_is_in_hand() -> None:
    reader = Reader(10)
    reader.give(10)
    reader.consumer.reading.fetching({SOURCE: 12})
    assert reader.commit() == {}, "10 is still being handled"
    reader.acknowledge(10)
    assert reader.commit() == {SOURCE: 11}
    assert reader.commit() == {SOURCE: 12}
    assert reader.commit() == {}


async def test_a_message_that_came_after_the_position_was_taken_is_not_committed_over() -> None:
    reader = Reader(10)
    reader.consumer.reading.fetching({SOURCE: 11})
    reader.give(11)
    assert reader.commit() == {}
    reader.acknowledge(11)
    assert reader.commit() == {SOURCE: 12}


async def test_no_position_is_trusted_between_the_loss_of_a_partition_and_its_seek() -> None:
    reader = Reader(10)
    reader.consumer.reading.fetching({SOURCE: 20})
    reader.consumer.reading.interrupt()
    assert reader.commit() == {}
    reader.consumer.reading.restart()
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
    reader.give(10)
    reader.consumer.reading.restart()
    assert reader.consumer.reading.oldest(SOURCE) is None


async def test_a_partition_without_a_commit_is_not_committed_by_its_position() -> None:
    reader = Reader(None)
    reader.consumer.reading.fetching({SOURCE: 20})
    assert reader.commit() == {}


@pytest.mark.parametrize("committed", [None, 20])
async def test_a_partition_that_stands_is_committed_where_it_stands_so_that_all_workers_learn_of_it(
    committed: int | None,
) -> None:
    reader = Reader(committed)
    reader.give(19)
    reader.unmarked = {SOURCE: 20}
    reader.consumer.reading.fetching({SOURCE: 20})
    assert reader.commit() == {}, "19 is still being handled"
    reader.acknowledge(19)
    reader.commit()
    assert reader.commit() == {SOURCE: 20}
    reader.unmarked = {}
    assert reader.commit() == {}


async def test_changelog_records_do_not_hold_up_a_commit() -> None:
    reader = Reader(10)
    reader.consumer.callback(message(3, "changelog"))
    assert reader.consumer.reading.oldest(TP("changelog", 0)) is None

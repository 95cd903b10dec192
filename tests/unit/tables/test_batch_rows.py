from __future__ import annotations

from collections.abc import Sequence

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, PARTITION, SECOND, MemoryTable, Replies, Story, requested

from cj_stream.domain.ranking import ranking
from cj_stream.domain.records import Comparison, Plan, Scores
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import Submit
from cj_stream.engine.overrides.table import Put
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    row_position,
)
from cj_stream.tables.codec import (
    encode_row,
    row_key,
)


def erring_at_first(story: Story, submit: Submit) -> Replies:
    """Judges, but answers the first attempt at every second comparison with an error."""
    replies = judges(story, submit)
    if submit.attempt == 1 and submit.index % 2:
        replies[-1] = (60.0, story.error(submit.index))
    return replies


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(4)
    story.tell(story.verdict(0))
    story.tell(story.acceptance(1))
    return story


def test_a_batch_is_built_from_its_rows_as_it_was(story: Story) -> None:
    assert story.rows.load(PARTITION, BATCH) == story.batch
    assert story.rows.load(PARTITION, BATCH, 1) == story.batch


def test_an_unknown_batch_or_run_is_none(story: Story) -> None:
    assert story.rows.load(PARTITION, "batch") is None
    assert story.rows.load(PARTITION, "batch-11") is None
    assert story.rows.load(PARTITION, BATCH, 2) is None


def test_the_newest_run_is_found_and_the_older_one_kept() -> None:
    story = Story()
    story.tell(requested(3))
    story.play(judges)
    story.tell(requested(3, SECOND))
    newest = story.rows.load(PARTITION, BATCH)
    assert newest is not None
    assert (newest.run, newest.state) == (2, BatchState.INITIALIZING)
    assert story.rows_of_run(1).state is BatchState.COMPLETED


def test_heads_are_all_runs_of_all_batches(story: Story) -> None:
    story.tell(requested(2, batch_id="another"))
    heads = list(story.rows.heads(PARTITION))
    assert [head.key for head in heads] == [("another", 1), (BATCH, 1)]
    assert heads[1].control == story.batch.control


def test_rows_carry_the_offset_that_caused_them_and_never_go_back(story: Story) -> None:
    position = story.rows.position(PARTITION, story.batch)
    assert position == len(story.log) - 1
    story.log.clear()
    story.tell(story.verdict(2))
    assert story.rows.position(PARTITION, story.batch) == position


def test_the_position_of_a_batch_without_rows_is_before_all_others(story: Story) -> None:
    batch = story.batch
    story.table.data.clear()
    assert story.rows.position(PARTITION, batch) == -1


def test_rows_that_the_control_row_does_not_count_are_not_read(story: Story) -> None:
    """They are left from an event that was being written when the worker was killed: it will be read again."""
    before = story.batch
    beyond = [
        Plan(iteration=2, first_index=6, pairs=((0, 1),)),
        Comparison(index=6, attempt=2),
        Scores(
            fit=1,
            iteration=1,
            verdicts=1,
            theta=(0.0,) * 4,
            standard_error=(1.0,) * 4,
            reliability=None,
            ssr=None,
            comparisons=(1,) * 4,
            wins=(0.0,) * 4,
            components=1,
        ),
    ]
    for row in beyond:
        story.table.data[row_key(BATCH, 1, row)] = encode_row(row, 99)
    assert story.rows.load(PARTITION, BATCH) == before


def test_a_deleted_batch_leaves_a_heartbeat_and_the_rows_of_its_neighbours() -> None:
    story = Story()
    for batch_id in (BATCH, "batch-11", "batch"):
        story.tell(requested(1, batch_id=batch_id))
    story.finish()
    story.now += story.policy.retention
    offset = len(story.log)
    story.tell(story.due())
    assert [head.batch_id for head in story.rows.heads(PARTITION)] == ["batch", "batch-11"]
    assert row_position(story.table.data[HEARTBEAT_KEY]) == offset


async def test_a_heartbeat_says_where_the_log_is_and_never_goes_back(story: Story) -> None:
    for offset, known in ((40, 40), (41, 41), (7, 41)):
        await story.table.write(None, PARTITION, [story.rows.positions.heartbeat(PARTITION, offset)])
        assert row_position(story.table.data[HEARTBEAT_KEY]) == known


class RecordingTable(MemoryTable):
    """Remembers every write: the table before it, and the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[tuple[dict[bytes, bytes], list[Put]]] = []

    async def write(self, sender: object, partition: int, puts: Sequence[Put]) -> None:
        self.writes.append((dict(self.data), list(puts)))
        await super().write(sender, partition, puts)


def test_killed_between_any_two_rows_of_a_write_a_batch_ends_the_same_once_the_event_was_read_again() -> None:
    table = RecordingTable()
    whole = Story(table=table)
    whole.tell(requested(4))
    expected = [row.essay_id for row in ranking(whole.play(erring_at_first))]
    cuts = [
        (before, puts[:count], whole.log[row_position(puts[-1][1] or b"")])
        for before, puts in table.writes
        for count in range(1, len(puts))
    ]
    assert len(cuts) > 20
    for before, survived, (at, events) in cuts:
        story = Story()
        story.table.data = {**before, **{key: value for key, value in survived if value is not None}}
        story.now = at
        story.crash()
        story.deliver(*events)
        batch = story.play(erring_at_first)
        assert (batch.state, batch.progress.judged) == (BatchState.COMPLETED, 6)
        assert [row.essay_id for row in ranking(batch)] == expected
        story.check_rebuilt()

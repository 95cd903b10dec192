from __future__ import annotations

from scripted_judges import judges
from story import BATCH, Story, requested

from cj_stream.domain.draft import Change, merge
from cj_stream.domain.records import Comparison, Content, Control, Plan
from cj_stream.domain.todo import LoadContent, PlanPairs


def test_the_changes_of_one_message_become_one_with_the_newest_rows_and_the_control_row_last() -> None:
    story = Story()
    story.start(4)
    first, second, third = story.deliver(story.acceptance(0), story.verdict(1), story.verdict(0))
    merged = merge(merge(first, second), third)
    assert merged.batch == third.batch == story.batch
    assert merged.rows == (story.batch.comparisons[0], story.batch.comparisons[1], story.batch.control)
    assert merged.notes == (*first.notes, *second.notes, *third.notes)


def test_a_change_that_writes_nothing_keeps_the_rows_of_the_one_before() -> None:
    story = Story()
    story.start(4)
    first, repeated = story.deliver(story.verdict(0), story.verdict(0))
    assert repeated.rows == ()
    assert merge(first, repeated).rows == first.rows


def test_a_deletion_outdoes_what_was_changed_before_it() -> None:
    story = Story()
    story.tell(requested(3))
    batch = story.play(judges)
    story.now += story.policy.retention
    changed = Change(batch, (batch.control,))
    (deletion,) = story.deliver(story.due())
    merged = merge(changed, deletion)
    assert merged.deleted == batch
    assert (merged.batch, merged.rows) == (None, ())


def test_a_decision_writes_its_details_before_the_control_row() -> None:
    story = Story()
    story.tell(requested(2))
    kinds = []
    for effect in (LoadContent(BATCH, 1), PlanPairs(BATCH, 1, 1)):
        change = story.tell(story.report(story.batch, effect))
        kinds.append([type(row) for row in change.rows])
    kinds.append([type(row) for row in story.tell(story.verdict(0)).rows])
    assert kinds == [[Content, Control], [Plan, Control], [Comparison, Control]]

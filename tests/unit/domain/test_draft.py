from __future__ import annotations

from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story, requested

from cj_stream.domain.draft import Change, Changes
from cj_stream.domain.records import Comparison, Content, Control, Plan
from cj_stream.domain.todo import LoadContent, PlanPairs


def gathered(*changes: Change) -> list[Change]:
    found = Changes()
    for offset, change in enumerate(changes):
        found.add(change, offset)
    return [change for change, _ in found]


def test_the_changes_of_one_message_become_one_with_the_newest_rows_and_the_control_row_last() -> None:
    story = Story()
    story.start(4)
    first, second, third = story.deliver(story.acceptance(0), story.verdict(1), story.verdict(0))
    (change,) = gathered(first, second, third)
    assert change.batch == third.batch == story.batch
    assert change.rows == (story.batch.comparisons[0], story.batch.comparisons[1], story.batch.control)
    assert change.notes == (*first.notes, *second.notes, *third.notes)


def test_each_row_knows_the_message_that_caused_it_last() -> None:
    story = Story()
    story.start(4)
    accepted, other, verdict = story.deliver(story.acceptance(0), story.verdict(1), story.verdict(0))
    found = Changes()
    for offset, change in ((5, accepted), (7, other), (9, verdict)):
        found.add(change, offset)
    (known,) = found
    assert known.change.rows == (story.batch.comparisons[0], story.batch.comparisons[1], story.batch.control)
    assert known.offsets == (9, 7, 9)


def test_the_changes_of_several_batches_stay_apart_in_the_order_in_which_they_first_changed() -> None:
    story = Story()
    story.start(4)
    first, other, second = story.deliver(story.verdict(0), requested(2, batch_id="another"), story.verdict(1))
    ours, theirs = gathered(first, other, second)
    assert (ours.batch, theirs) == (second.batch, other)


def test_a_change_that_writes_nothing_is_left_out() -> None:
    story = Story()
    story.start(4)
    first, repeated = story.deliver(story.verdict(0), story.verdict(0))
    assert repeated.rows == ()
    assert gathered(first, repeated) == [first]
    assert gathered(repeated) == []


def test_a_deletion_outdoes_what_was_changed_before_it() -> None:
    story = Story()
    story.tell(requested(3))
    batch = story.play(judges)
    story.now += story.policy.retention
    changed = Change(batch, (batch.control,))
    (deletion,) = story.deliver(story.due())
    assert deletion.deleted == batch
    assert gathered(changed, deletion) == [deletion]


def test_a_decision_writes_its_details_before_the_control_row() -> None:
    story = Story()
    story.tell(requested(2))
    kinds = []
    for effect in (LoadContent(BATCH, 1), PlanPairs(BATCH, 1, 1)):
        change = story.tell(story.report(story.batch, effect))
        kinds.append([type(row) for row in change.rows])
    kinds.append([type(row) for row in story.tell(story.verdict(0)).rows])
    assert kinds == [[Content, Control], [Plan, Control], [Comparison, Control]]

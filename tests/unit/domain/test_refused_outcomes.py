from __future__ import annotations

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, FIRST, SECOND, Story, requested

from cj_stream.domain.commands import objection
from cj_stream.domain.deadlines import next_due
from cj_stream.domain.decider import WHY_KEPT
from cj_stream.domain.draft import NoteKind
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.events import Action, OperatorCommand, OutcomeRefused
from cj_stream.domain.todo import is_done, todo

COMPLETED, RESULT = f"completed:{FIRST}", f"result:{FIRST}"


@pytest.fixture
def story() -> Story:
    story = Story()
    story.refusing = {RESULT}
    story.tell(requested(3))
    story.play(judges)
    return story


def retry() -> OperatorCommand:
    return OperatorCommand(batch_id=BATCH, action=Action.RETRY)


def test_an_outcome_that_no_topic_takes_ends_with_its_batch_and_the_others_go_out(story: Story) -> None:
    batch = story.batch
    assert story.published == [COMPLETED]
    assert (is_done(batch), todo(batch)) == (True, [])
    (refused,) = batch.control.unpublishable
    assert (refused.outcome, refused.why) == (RESULT, "the record is larger than the topic takes")
    assert refused.at > batch.control.created_at
    assert story.seen.count(NoteKind.OUTCOME_REFUSED) == 1
    due = next_due(batch)
    assert due is not None, "it is deleted after its retention like any other"
    story.check_rebuilt()


def test_a_refusal_that_is_told_twice_or_contradicts_an_acknowledgement_changes_nothing(story: Story) -> None:
    before = story.batch.control
    for outcome in (RESULT, COMPLETED, f"completed:{SECOND}"):
        story.tell(OutcomeRefused(batch_id=BATCH, run=1, outcome=outcome, why="again"))
        assert story.batch.control == before


def test_an_acknowledgement_after_a_refusal_changes_nothing(story: Story) -> None:
    before = story.batch.control
    story.tell(story.told(RESULT))
    assert story.batch.control == before


def test_an_operator_has_what_was_refused_published_again(story: Story) -> None:
    assert objection(story.batch, Action.RETRY) is None
    story.refusing.clear()
    story.tell(retry())
    assert story.owed() == [RESULT]
    batch = story.finish()
    assert story.published == [COMPLETED, RESULT]
    assert (batch.control.unpublishable, batch.control.published) == ((), (COMPLETED, RESULT))
    assert objection(batch, Action.RETRY) == f"batch {BATCH} has already ended as COMPLETED"


def test_what_is_refused_again_is_recorded_again(story: Story) -> None:
    story.tell(retry())
    batch = story.finish()
    assert [refused.outcome for refused in batch.control.unpublishable] == [RESULT]
    assert is_done(batch)


def test_a_repeated_request_has_what_was_refused_published_again(story: Story) -> None:
    story.refusing.clear()
    story.tell(requested(3))
    story.finish()
    assert story.published == [COMPLETED, COMPLETED, RESULT]


def test_a_refusal_that_cannot_be_told_counts_as_told() -> None:
    story = Story()
    story.start(3)
    story.refusing = {f"refused:{SECOND}"}
    story.tell(requested(3, SECOND, content="other"))
    batch = story.finish()
    assert unpublished(batch) == []
    # Asked once more, it is refused once more.
    story.refusing.clear()
    story.tell(requested(3, SECOND, content="other"), after=1)
    batch = story.finish()
    assert story.published == [f"refused:{SECOND}"]
    assert batch.control.unpublishable == ()


def test_little_is_kept_of_why_since_there_may_be_thousands_of_them(story: Story) -> None:
    story.tell(retry())
    story.tell(OutcomeRefused(batch_id=BATCH, run=1, outcome=RESULT, why="x" * 10_000))
    (refused,) = story.batch.control.unpublishable
    assert len(refused.why) == WHY_KEPT

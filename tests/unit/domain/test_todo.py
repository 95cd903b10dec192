from __future__ import annotations

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, FIRST, Story, requested

from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.policy import Policy
from cj_stream.domain.todo import (
    LoadContent,
    PlanPairs,
    Publish,
    Score,
    Submit,
    duties,
    is_done,
    still_wanted,
    submissions,
    todo,
)

COMPLETED = Publish(BATCH, 1, Outcome(OutcomeKind.COMPLETED, FIRST))
RESULT = Publish(BATCH, 1, Outcome(OutcomeKind.RESULT, FIRST))
ALL_KINDS = [
    LoadContent(BATCH, 1),
    PlanPairs(BATCH, 1, 1),
    Submit(BATCH, 1, 0, 1),
    Score(BATCH, 1, 1),
    COMPLETED,
]


def test_every_state_has_its_work_until_the_report_of_it_comes() -> None:
    story = Story()
    story.tell(requested(2))
    for effect in ALL_KINDS[:4]:
        assert todo(story.batch) == [effect]
        assert [still_wanted(story.batch, other) for other in ALL_KINDS] == [other == effect for other in ALL_KINDS]
        assert not is_done(story.batch)
        story.tell(story.verdict(0) if isinstance(effect, Submit) else story.report(story.batch, effect))
    assert todo(story.batch) == [COMPLETED, RESULT]
    story.tell(story.told(f"completed:{FIRST}"))
    assert (todo(story.batch), is_done(story.batch)) == ([RESULT], False)
    batch = story.finish()
    assert (todo(batch), is_done(batch)) == ([], True)


def test_an_accepted_comparison_is_not_submitted_again() -> None:
    story = Story()
    story.start(2)
    story.tell(story.acceptance(0))
    assert todo(story.batch) == []
    assert not still_wanted(story.batch, Submit(BATCH, 1, 0, 1))


def test_a_retry_is_another_effect_and_the_submission_of_the_attempt_before_it_is_not_wanted_any_more() -> None:
    story = Story()
    story.start(2)
    story.tell(story.refusal(0))
    assert todo(story.batch) == [Submit(BATCH, 1, 0, 2)]
    assert still_wanted(story.batch, Submit(BATCH, 1, 0, 2))
    assert not still_wanted(story.batch, Submit(BATCH, 1, 0, 1))


def test_a_submission_in_hand_is_still_wanted_though_the_cap_would_not_start_it_now() -> None:
    story = Story(Policy(max_concurrent_comparisons=1))
    story.start(3)
    story.tell(story.acceptance(0))
    assert todo(story.batch) == []
    assert still_wanted(story.batch, Submit(BATCH, 1, 1, 1))


def test_submissions_are_those_of_the_lowest_indexes_as_many_as_may_be_in_flight() -> None:
    story = Story(Policy(max_concurrent_comparisons=3))
    story.start(4)
    assert [effect.index for effect in submissions(story.batch)] == [0, 1, 2]
    story.tell(story.acceptance(1))
    assert [effect.index for effect in submissions(story.batch)] == [0, 2]
    story.tell(story.acceptance(0))
    story.tell(story.verdict(0))
    assert [effect.index for effect in submissions(story.batch)] == [2, 3]
    assert duties(story.batch) == []
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.FINALIZE))
    assert (list(submissions(story.batch)), duties(story.batch)) == ([], [Score(BATCH, 1, 1)])


@pytest.mark.parametrize("index", [0, 2, 3, 1000])
def test_no_submission_is_wanted_once_the_batch_has_ended_or_if_it_was_never_planned(index: int) -> None:
    story = Story()
    story.tell(requested(3))
    assert not still_wanted(story.batch, Submit(BATCH, 1, index, 1))
    assert not still_wanted(story.play(judges), Submit(BATCH, 1, index, 1))

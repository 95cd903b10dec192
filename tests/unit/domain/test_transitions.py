from __future__ import annotations

import itertools

import pytest
from support.domain.story import Story

from cj_stream.domain.draft import Draft
from cj_stream.domain.states import TERMINAL, TRANSITIONS, BatchState, IllegalTransitionError, check_transition

LEGAL = [(old, new) for old, following in TRANSITIONS.items() for new in following]
ILLEGAL = [pair for pair in itertools.product(BatchState, BatchState) if pair not in LEGAL]


def test_the_table_says_for_every_state_what_may_follow() -> None:
    assert set(TRANSITIONS) == set(BatchState)


def test_exactly_the_three_ends_are_terminal() -> None:
    assert {BatchState.COMPLETED, BatchState.FAILED, BatchState.CANCELLED} == TERMINAL


def test_every_state_can_be_reached_and_every_live_state_can_fail_or_be_cancelled() -> None:
    reached = {BatchState.INITIALIZING}
    for _ in BatchState:
        reached |= {new for old, new in LEGAL if old in reached}
    assert reached == set(BatchState)
    for state in set(BatchState) - TERMINAL:
        assert TRANSITIONS[state] >= {BatchState.FAILED, BatchState.CANCELLED}


@pytest.mark.parametrize(("old", "new"), LEGAL)
def test_a_legal_transition_is_allowed(old: BatchState, new: BatchState) -> None:
    check_transition(old, new)


@pytest.mark.parametrize(("old", "new"), ILLEGAL)
def test_any_other_transition_is_refused_by_name(old: BatchState, new: BatchState) -> None:
    with pytest.raises(IllegalTransitionError, match=f"{old} cannot become {new}"):
        check_transition(old, new)


def test_a_draft_refuses_a_transition_that_the_table_does_not_have() -> None:
    story = Story()
    draft = Draft(story.start(), story.now)
    with pytest.raises(IllegalTransitionError):
        draft.become(BatchState.COMPLETED)
    assert draft.batch.state is BatchState.WAITING_CALLBACKS

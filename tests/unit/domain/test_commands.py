from __future__ import annotations

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, FIRST, Story, requested

from cj_stream.domain.commands import objection
from cj_stream.domain.draft import NoteKind
from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.identifiers import MAX_ATTEMPTS
from cj_stream.domain.policy import Policy
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import LoadContent, PlanPairs, Publish, Score
from cj_stream.engine.rows import HEARTBEAT_KEY
from cj_stream.scoring.quality.stopping import StopReason


def command(action: Action, reason: str = "") -> OperatorCommand:
    return OperatorCommand(batch_id=BATCH, action=action, reason=reason)


def in_state(state: BatchState) -> Story:
    story = Story()
    story.tell(requested(3))
    if state is not BatchState.INITIALIZING:
        story.carry_out(LoadContent)
    if state in {BatchState.WAITING_CALLBACKS, BatchState.SCORING}:
        story.carry_out(PlanPairs)
    if state is BatchState.SCORING:
        for index in range(3):
            story.tell(story.verdict(index))
    assert story.batch.state is state
    return story


LIVE = [
    BatchState.INITIALIZING,
    BatchState.GENERATING_PAIRS,
    BatchState.WAITING_CALLBACKS,
    BatchState.SCORING,
]


@pytest.mark.parametrize("state", LIVE)
def test_any_live_batch_can_be_cancelled(state: BatchState) -> None:
    story = in_state(state)
    assert objection(story.batch, Action.CANCEL) is None
    story.tell(command(Action.CANCEL, "wrong class"), after=5)
    batch = story.finish()
    assert (batch.state, batch.control.failure, batch.control.finished_at) == (
        BatchState.CANCELLED,
        "cancelled",
        story.now,
    )
    assert batch.control.failure_details["reason"] == "wrong class"
    assert story.published == [f"failed:{FIRST}"]


@pytest.mark.parametrize("action", [Action.CANCEL, Action.RETRY, Action.FINALIZE])
def test_a_batch_that_has_ended_takes_no_commands(action: Action) -> None:
    story = Story()
    story.tell(requested(3))
    ended = story.play(judges)
    assert objection(ended, action) == f"batch {BATCH} has already ended as COMPLETED"
    change = story.tell(command(action))
    assert change.rows == ()
    assert [note.kind for note in change.notes] == [NoteKind.COMMAND_IGNORED]


def test_a_command_for_an_unknown_batch_changes_nothing() -> None:
    assert Story().tell(command(Action.CANCEL)).batch is None


def test_finalize_ranks_with_what_is_there() -> None:
    story = in_state(BatchState.WAITING_CALLBACKS)
    story.tell(story.verdict(0))
    story.tell(command(Action.FINALIZE))
    batch = story.finish()
    assert (batch.state, batch.control.stop_reason) == (BatchState.COMPLETED, StopReason.FINALIZED_BY_OPERATOR)
    assert batch.scores[-1].verdicts == 1


def test_finalize_between_two_iterations_ranks_at_once() -> None:
    story = Story(Policy(max_iterations=5))
    story.start(12)
    for index in range(24):
        story.tell(story.verdict(index))
    story.carry_out(Score)
    assert story.batch.state is BatchState.GENERATING_PAIRS
    story.tell(command(Action.FINALIZE))
    assert story.finish().control.stop_reason == StopReason.FINALIZED_BY_OPERATOR


def test_finalize_during_a_fit_makes_it_the_last_one() -> None:
    story = Story()
    story.start(12)
    for index in range(23):
        story.tell(story.verdict(index))
    assert story.batch.state is BatchState.SCORING
    story.tell(command(Action.FINALIZE))
    batch = story.finish()
    assert (batch.state, len(batch.scores)) == (BatchState.COMPLETED, 1)


@pytest.mark.parametrize("state", LIVE[:3])
def test_finalize_needs_verdicts(state: BatchState) -> None:
    story = in_state(state)
    assert objection(story.batch, Action.FINALIZE) == f"batch {BATCH} has 0 verdicts: not enough to rank its essays"
    assert story.tell(command(Action.FINALIZE)).rows == ()


def test_retry_takes_up_the_pool_without_waiting() -> None:
    story = in_state(BatchState.WAITING_CALLBACKS)
    story.tell(story.error(0))
    assert story.batch.progress.retry_pool == {0}
    story.tell(command(Action.RETRY))
    assert story.batch.progress.planned == {0, 1, 2}
    assert story.batch.comparisons[0].attempt == 2


def test_retry_gives_an_exhausted_comparison_one_more_attempt() -> None:
    story = Story(Policy(max_attempts=1))
    story.start(4)
    story.tell(story.error(0))
    assert story.batch.progress.exhausted == 1
    story.tell(command(Action.RETRY))
    assert (story.batch.progress.exhausted, story.batch.comparisons[0].attempt) == (0, 2)
    story.tell(story.error(0, attempt=2))
    assert story.batch.progress.exhausted == 1


def test_attempts_end_where_correlation_ids_have_no_more_room_for_them() -> None:
    story = Story(Policy(max_attempts=1))
    story.start(4)
    for attempt in range(1, MAX_ATTEMPTS + 1):
        story.tell(story.error(0, attempt))
        story.tell(command(Action.RETRY))
    assert story.batch.comparisons[0].attempt == MAX_ATTEMPTS
    assert "no failed comparison" in (objection(story.batch, Action.RETRY) or "")


@pytest.mark.parametrize("state", LIVE)
def test_retry_needs_failures(state: BatchState) -> None:
    story = in_state(state)
    assert objection(story.batch, Action.RETRY) == f"batch {BATCH} is {state} and has no failed comparison to retry"
    change = story.tell(command(Action.RETRY))
    assert change.rows == ()
    assert [note.kind for note in change.notes] == [NoteKind.COMMAND_IGNORED]


def test_retry_waits_for_nothing_while_a_fit_is_under_way() -> None:
    """What failed is taken up after the fit, in the iteration that follows; until then nobody awaits callbacks."""
    story = Story(Policy(max_attempts=1, completion_threshold_pct=50))
    story.start(6)
    story.tell(story.error(0))
    for index in range(1, 7):
        story.tell(story.verdict(index))
    assert (story.batch.state, story.batch.progress.exhausted) == (BatchState.SCORING, 1)
    assert story.tell(command(Action.RETRY)).rows == ()


def test_a_command_counts_as_activity() -> None:
    story = in_state(BatchState.WAITING_CALLBACKS)
    story.tell(story.error(0))
    story.tell(command(Action.RETRY), after=600)
    assert story.batch.control.activity_at == story.now


def test_what_has_ended_and_told_everybody_is_forgotten_with_all_its_rows() -> None:
    story = Story()
    story.tell(requested(3))
    ended = story.play(judges)
    assert objection(ended, Action.FORGET) is None
    assert story.table.data
    change = story.tell(command(Action.FORGET, "asked for by its author"))
    assert change.deleted == ended
    assert [note.kind for note in change.notes] == [NoteKind.BATCH_DELETED]
    assert set(story.table.data) == {HEARTBEAT_KEY}
    again = story.tell(command(Action.FORGET))
    assert (again.batch, again.rows, again.deleted) == (None, (), None), "a second time there is nothing to forget"


@pytest.mark.parametrize("state", LIVE)
def test_a_live_batch_is_not_forgotten_before_it_is_cancelled(state: BatchState) -> None:
    story = in_state(state)
    assert "cancel it" in str(objection(story.batch, Action.FORGET))
    change = story.tell(command(Action.FORGET))
    assert (change.deleted, change.rows) == (None, ())
    assert [note.kind for note in change.notes] == [NoteKind.COMMAND_IGNORED]


def test_an_outcome_that_nobody_was_told_yet_keeps_its_batch() -> None:
    story = in_state(BatchState.WAITING_CALLBACKS)
    story.tell(command(Action.CANCEL))
    assert "still to be published" in str(objection(story.batch, Action.FORGET))
    assert story.tell(command(Action.FORGET)).deleted is None
    story.carry_out(Publish)
    assert "provider is still to be told" in str(objection(story.batch, Action.FORGET)), "it would go on asking models"
    assert story.tell(command(Action.FORGET)).deleted is None
    story.finish()
    assert objection(story.batch, Action.FORGET) is None


def test_each_run_is_forgotten_by_a_command_of_its_own_the_newest_first() -> None:
    story = Story()
    story.tell(requested(3))
    story.play(judges)
    story.tell(requested(3, content="other"))
    story.play(judges)
    assert [story.tell(command(Action.FORGET)).deleted.run for _ in range(2)] == [2, 1]  # type: ignore[union-attr]
    assert set(story.table.data) == {HEARTBEAT_KEY}

from __future__ import annotations

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, START, Story, requested

from cj_stream.domain.deadlines import Deadline, DeadlineKind, next_due
from cj_stream.domain.draft import NoteKind
from cj_stream.domain.events import TimeoutDue
from cj_stream.domain.policy import Policy
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import LoadContent, PlanPairs, Publish, Score
from cj_stream.scoring.quality.stopping import StopReason

HOUR = 3600.0


def wait(story: Story, seconds: float) -> None:
    """Let the timer look at the batch after this many more seconds."""
    story.now += seconds
    story.deliver(story.due())


def judged(story: Story, count: int) -> None:
    for index in range(count):
        story.tell(story.verdict(index))


def test_a_batch_falls_due_after_its_idle_time() -> None:
    story = Story()
    story.tell(requested(3))
    assert next_due(story.batch) == Deadline(DeadlineKind.IDLE, START + 4 * HOUR)


def test_any_report_starts_the_idle_time_again() -> None:
    story = Story()
    story.start(4)
    for event in (story.acceptance(0), story.verdict(1), story.error(2)):
        story.tell(event, after=600)
        assert story.batch.control.activity_at == story.now
    assert next_due(story.batch) == Deadline(DeadlineKind.COMPARISON, START + 600 + HOUR), (
        "the accepted comparison falls due first"
    )


def test_events_that_change_nothing_do_not_count_as_activity() -> None:
    story = Story()
    story.start(4)
    story.tell(story.verdict(0))
    before = story.batch.control.activity_at
    story.tell(story.verdict(0), after=60)
    story.tell(requested(4), after=60)
    assert story.batch.control.activity_at == before


def test_an_event_read_again_with_its_old_time_does_not_turn_the_clock_back() -> None:
    story = Story()
    story.start(4)
    story.tell(story.verdict(0), after=600)
    story.deliver(story.verdict(1), at=START + 60)
    assert story.batch.control.activity_at == START + 600


def test_a_live_batch_that_moved_meanwhile_is_left_alone() -> None:
    story = Story()
    story.start(4)
    story.tell(story.verdict(0), after=3.9 * HOUR)
    before = story.batch
    wait(story, 0.2 * HOUR)
    assert story.batch == before


@pytest.mark.parametrize("state", [BatchState.INITIALIZING, BatchState.GENERATING_PAIRS, BatchState.WAITING_CALLBACKS])
def test_every_live_state_has_a_deadline(state: BatchState) -> None:
    story = Story()
    story.tell(requested(4))
    if state is not BatchState.INITIALIZING:
        story.carry_out(LoadContent)
    if state is BatchState.WAITING_CALLBACKS:
        story.carry_out(PlanPairs)
    assert story.batch.state is state
    wait(story, 4 * HOUR)
    assert (story.batch.state, story.batch.control.failure) == (
        BatchState.FAILED,
        "stuck_timeout_insufficient_progress",
    )
    assert story.batch.control.failure_details["batch_state"] == state


def test_a_stuck_batch_with_80_percent_progress_is_scored_with_what_is_there() -> None:
    story = Story()
    story.start(6)
    assert story.batch.total_comparisons == 12
    judged(story, 10)
    wait(story, 4 * HOUR)
    assert (story.batch.state, story.batch.control.stop_reason) == (BatchState.SCORING, StopReason.TIMED_OUT)
    assert NoteKind.TIMEOUT_RECOVERED in story.seen
    assert story.finish().state is BatchState.COMPLETED


def test_exactly_80_percent_suffice() -> None:
    story = Story()
    story.start(5)
    judged(story, 8)
    assert story.batch.progress_pct == 80.0
    wait(story, 4 * HOUR)
    assert story.batch.state is BatchState.SCORING


def test_a_stuck_batch_with_less_fails_with_the_counts() -> None:
    story = Story()
    story.start(6)
    judged(story, 8)
    story.tell(story.error(8))
    wait(story, 4 * HOUR)
    assert story.batch.state is BatchState.FAILED
    assert story.batch.control.failure_details == {
        "progress_pct": 75.0,
        "batch_state": "WAITING_CALLBACKS",
        "completed_comparisons": 8,
        "failed_comparisons": 1,
        "total_comparisons": 12,
        "last_activity_at": START,
    }
    assert NoteKind.TIMEOUT_FAILED in story.seen


def test_progress_made_of_failures_alone_is_not_scored() -> None:
    story = Story(Policy(max_attempts=1, success_rate_from=100))
    story.start(6)
    for index in range(11):
        story.tell(story.error(index))
    wait(story, 4 * HOUR)
    assert story.batch.state is BatchState.FAILED


def test_the_fit_after_a_timeout_has_time_of_its_own() -> None:
    story = Story()
    story.start(6)
    judged(story, 10)
    wait(story, 4 * HOUR)
    wait(story, 60)
    assert story.batch.state is BatchState.SCORING, "the next window closes while it is being fitted"
    assert story.finish().state is BatchState.COMPLETED


def test_a_fit_that_never_ends_fails_the_batch() -> None:
    story = Story()
    story.start(3)
    judged(story, 3)
    assert story.batch.state is BatchState.SCORING
    assert next_due(story.batch) == Deadline(DeadlineKind.FIT, START + 4 * HOUR)
    wait(story, 4 * HOUR)
    assert (story.batch.state, story.batch.control.failure_details["batch_state"]) == (BatchState.FAILED, "SCORING")


def test_idle_time_counts_from_the_opening_of_the_partition() -> None:
    story = Story()
    story.tell(requested(3))
    story.now += 5 * HOUR
    story.crash()
    assert next_due(story.batch, story.opened_at) == Deadline(DeadlineKind.IDLE, story.opened_at + 4 * HOUR)
    wait(story, 3.9 * HOUR)
    assert not story.batch.finished
    wait(story, 0.1 * HOUR)
    assert story.batch.state is BatchState.FAILED


def test_a_batch_that_only_ever_moves_a_little_ends_at_its_absolute_age() -> None:
    story = Story(Policy(max_age=10 * HOUR))
    story.start(8)
    for index in range(9):
        story.tell(story.verdict(index), after=HOUR)
    assert next_due(story.batch) == Deadline(DeadlineKind.AGE, START + 10 * HOUR)
    wait(story, HOUR)
    assert story.batch.state is BatchState.FAILED


def test_a_batch_that_is_old_but_nearly_done_is_scored_and_given_the_time_for_it() -> None:
    story = Story(Policy(max_age=10 * HOUR))
    story.start(4)
    for index in range(5):
        story.tell(story.verdict(index), after=HOUR)
    story.now += 3 * HOUR
    story.tell(story.acceptance(5))
    wait(story, 2 * HOUR)
    assert story.batch.state is BatchState.SCORING
    wait(story, 60)
    assert story.batch.state is BatchState.SCORING
    assert story.finish().state is BatchState.COMPLETED


def test_a_batch_that_grew_old_while_nobody_served_is_given_the_time_of_an_idle_one() -> None:
    story = Story(Policy(max_age=10 * HOUR))
    story.start(8)
    story.now += 11 * HOUR
    story.crash()
    due = Deadline(DeadlineKind.AGE_AFTER_DOWNTIME, story.opened_at + 4 * HOUR)
    assert next_due(story.batch, story.opened_at) == due
    story.tell(story.verdict(0), after=3 * HOUR)
    wait(story, 0.9 * HOUR)
    assert not story.batch.finished
    wait(story, 0.1 * HOUR)
    assert story.batch.state is BatchState.FAILED


def test_a_finished_batch_is_deleted_when_its_retention_is_over() -> None:
    story = Story(Policy(retention=24 * HOUR))
    story.tell(requested(3))
    batch = story.play(judges)
    assert batch.control.finished_at is not None
    assert next_due(batch) == Deadline(DeadlineKind.RETENTION, batch.control.finished_at + 24 * HOUR)
    story.now = batch.control.finished_at + 24 * HOUR - 1
    assert story.tell(story.due()).deleted is None
    change = story.tell(story.due(), after=1)
    assert change.deleted is not None
    assert change.deleted.key == (BATCH, 1)
    assert story.batches.newest(BATCH) is None
    assert [key for key in story.table.data if len(key) > 1] == []


def test_a_batch_that_still_has_outcomes_to_publish_is_not_deleted() -> None:
    story = Story()
    story.tell(requested(1))
    story.carry_out(LoadContent, PlanPairs, Score)
    assert next_due(story.batch) is None
    wait(story, 365 * 24 * HOUR)
    assert story.batch.state is BatchState.COMPLETED
    story.carry_out(Publish)
    assert next_due(story.batch) is not None


def test_a_request_after_the_deletion_starts_afresh() -> None:
    story = Story()
    story.tell(requested(1))
    story.finish()
    wait(story, 8 * 24 * HOUR)
    story.tell(requested(1))
    assert (story.batch.run, story.batch.state) == (1, BatchState.INITIALIZING)


def test_a_timeout_for_an_unknown_run_changes_nothing() -> None:
    story = Story()
    story.start(3)
    change = story.tell(TimeoutDue(batch_id=BATCH, run=7, due_at=START, opened_at=START), after=100 * HOUR)
    assert (change.batch, change.rows) == (None, ())


def test_a_fit_under_way_when_the_batch_is_old_becomes_its_last_one() -> None:
    story = Story(Policy(max_age=10 * HOUR))
    story.start(12)
    for index in range(23):
        story.tell(story.verdict(index), after=1440)
    assert (story.batch.state, story.batch.control.stop_reason) == (BatchState.SCORING, None)
    wait(story, HOUR)
    assert (story.batch.state, story.batch.control.stop_reason) == (BatchState.SCORING, StopReason.TIMED_OUT)
    assert story.finish().state is BatchState.COMPLETED

from __future__ import annotations

import itertools
from typing import cast

import pytest
from support.domain.scripted_judges import judges
from support.domain.story import Story, requested

from cj_stream.domain.comparisons import TIMEOUT
from cj_stream.domain.draft import NoteKind
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import ComparisonStatus, Slot
from cj_stream.domain.states import BatchState


@pytest.fixture
def story() -> Story:
    """Six comparisons of four essays; a failed one stays in the retry pool as long as others are awaited."""
    story = Story()
    story.start(4)
    return story


def status(story: Story, index: int = 0) -> ComparisonStatus:
    return story.batch.comparisons[index].status


def test_an_accepted_comparison_awaits_its_callback(story: Story) -> None:
    story.tell(story.acceptance(0), after=3)
    row = story.batch.comparisons[0]
    assert (row.status, row.submitted_at) == (ComparisonStatus.ACCEPTED, story.now)


def test_a_verdict_that_overtakes_the_report_of_its_acceptance_counts(story: Story) -> None:
    story.tell(story.verdict(0))
    assert status(story) is ComparisonStatus.JUDGED
    change = story.tell(story.acceptance(0))
    assert change.rows == ()
    assert [note.kind for note in change.notes] == [NoteKind.EVENT_STALE]


def test_an_acceptance_outranks_a_refusal_of_the_same_attempt(story: Story) -> None:
    story.tell(story.refusal(0))
    assert status(story) is ComparisonStatus.FAILED
    story.tell(story.acceptance(0))
    assert status(story) is ComparisonStatus.ACCEPTED
    assert story.batch.comparisons[0].error_code is None
    story.tell(story.refusal(0))
    assert status(story) is ComparisonStatus.ACCEPTED


def test_of_one_attempt_the_verdict_wins_in_whatever_order_the_reports_come() -> None:
    for order in itertools.permutations(range(3)):
        story = Story()
        story.start(4)
        events = [story.refusal(0), story.acceptance(0), story.verdict(0)]
        for number in order:
            story.tell(events[number])
        assert status(story) is ComparisonStatus.JUDGED, order


def test_an_error_callback_ends_an_accepted_attempt(story: Story) -> None:
    story.tell(story.acceptance(0))
    story.tell(story.error(0), after=5)
    row = story.batch.comparisons[0]
    assert (row.status, row.answered, row.completed_at) == (ComparisonStatus.FAILED, True, story.now)
    assert (row.error_code, row.error_message, row.provider) == ("EXTERNAL_SERVICE_ERROR", "try later", "openai")


def test_after_an_error_callback_the_acceptance_comes_too_late(story: Story) -> None:
    story.tell(story.error(0))
    story.tell(story.acceptance(0))
    assert status(story) is ComparisonStatus.FAILED


def test_an_error_callback_outranks_a_refusal_so_that_a_late_acceptance_does_not_wait_in_vain(story: Story) -> None:
    for event in (story.refusal(0), story.error(0), story.acceptance(0)):
        story.tell(event)
    row = story.batch.comparisons[0]
    assert (row.status, row.error_code) == (ComparisonStatus.FAILED, "EXTERNAL_SERVICE_ERROR")
    assert story.batch.progress.failed == 1


def test_a_verdict_after_an_error_callback_of_the_same_attempt_counts(story: Story) -> None:
    story.tell(story.error(0))
    story.tell(story.verdict(0))
    assert status(story) is ComparisonStatus.JUDGED


@pytest.mark.parametrize("order", list(itertools.permutations(("error", "first verdict", "second verdict"))))
def test_of_the_callbacks_of_one_attempt_the_first_verdict_counts_whenever_an_error_comes(
    story: Story, order: tuple[str, ...]
) -> None:
    verdicts = iter("AB")
    for kind in order:
        story.tell(story.error(0) if kind == "error" else story.verdict(0, cast("Slot", next(verdicts))))
    row = story.batch.comparisons[0]
    assert (row.status, row.winner, row.attempt) == (ComparisonStatus.JUDGED, "A", 1)
    assert (story.batch.progress.judged, story.batch.progress.failed) == (1, 0)


def test_reports_of_an_earlier_attempt_are_stale_but_for_its_verdict_which_counts_once() -> None:
    story = Story()
    story.start(2)
    story.tell(story.error(0))
    assert (status(story), story.batch.comparisons[0].attempt) == (ComparisonStatus.PLANNED, 2)
    for event in (story.acceptance(0), story.refusal(0), story.error(0)):
        assert story.tell(event).rows == ()
    story.tell(story.acceptance(0, attempt=2))
    story.tell(story.verdict(0, "B", attempt=1))
    row = story.batch.comparisons[0]
    assert (row.status, row.winner, row.attempt) == (ComparisonStatus.JUDGED, "B", 1)
    change = story.tell(story.verdict(0, "A", attempt=2))
    assert change.rows == ()
    assert [note.kind for note in change.notes] == [NoteKind.CALLBACK_DUPLICATE]


@pytest.mark.parametrize("later", ["verdict", "error", "acceptance", "refusal"])
def test_nothing_changes_a_judged_comparison(story: Story, later: str) -> None:
    story.tell(story.verdict(0, "A"))
    before = story.batch
    event = {
        "verdict": story.verdict(0, "B"),
        "error": story.error(0),
        "acceptance": story.acceptance(0),
        "refusal": story.refusal(0),
    }[later]
    assert story.tell(event, after=1).rows == ()
    assert story.batch == before


def test_callbacks_of_a_finished_batch_change_nothing() -> None:
    story = Story()
    story.tell(requested(3))
    story.play(judges)
    story.tell(requested(3))
    ended = story.batch
    late = [story.verdict(0, "B"), story.error(1), story.verdict(2, attempt=2)]
    for event in late:
        change = story.tell(event)
        assert change.rows == ()
        assert [note.kind for note in change.notes] == [NoteKind.CALLBACK_LATE]
    assert story.batch == ended


def test_callbacks_of_a_batch_that_was_let_go_are_orphans_and_change_nothing() -> None:
    story = Story()
    story.start(3)
    late = story.verdict(0, "B")
    ended = story.play(judges)
    story.now += 60
    story.tell(requested(3, batch_id="another"))
    change = story.tell(late)
    assert [note.kind for note in change.notes] == [NoteKind.CALLBACK_ORPHAN]
    assert story.batch == ended


def test_failures_wait_in_the_retry_pool_while_others_are_awaited(story: Story) -> None:
    story.tell(story.error(0))
    assert story.batch.progress.retry_pool == {0}
    for index in range(1, 5):
        story.tell(story.verdict(index))
    assert story.batch.progress.retry_pool == {0}


def test_the_retry_pool_is_taken_up_when_nothing_else_is_outstanding(story: Story) -> None:
    story.tell(story.error(0))
    for index in range(1, 6):
        story.tell(story.verdict(index))
    assert story.batch.progress.planned == {0}
    assert story.batch.comparisons[0].attempt == 2


def test_the_retry_pool_is_taken_up_when_it_is_large_enough() -> None:
    story = Story(Policy(retry_pool_size=3))
    story.start(6)
    for index in range(2):
        story.tell(story.error(index))
    assert story.batch.progress.retry_pool == {0, 1}
    story.tell(story.error(2))
    assert story.batch.progress.retry_pool == set()
    assert [story.batch.comparisons[index].attempt for index in range(4)] == [2, 2, 2, 1]


def test_a_comparison_is_given_up_after_its_last_attempt() -> None:
    story = Story()
    story.start(4)
    for index in range(1, 6):
        story.tell(story.verdict(index))
    for attempt in (1, 2, 3):
        assert story.batch.progress.exhausted == 0
        change = story.tell(story.error(0, attempt))
    assert NoteKind.COMPARISON_EXHAUSTED in [note.kind for note in change.notes]
    assert (story.batch.progress.exhausted, story.batch.state) == (1, BatchState.SCORING)


def test_an_attempt_that_is_accepted_and_never_answered_fails_at_its_deadline() -> None:
    story = Story()
    story.start(4)
    story.tell(story.acceptance(0))
    story.tell(story.acceptance(1), after=60)
    story.tell(story.due(), after=story.policy.comparison_deadline - 61)
    assert story.batch.progress.accepted == {0, 1}
    story.tell(story.due(), after=1)
    assert story.batch.progress.accepted == {1}
    row = story.batch.comparisons[0]
    assert (row.status, row.error_code, row.answered) == (ComparisonStatus.FAILED, TIMEOUT, True)
    assert "3600 s" in (row.error_message or "")


def test_the_acceptance_of_an_attempt_that_has_timed_out_is_stale(story: Story) -> None:
    story.tell(story.acceptance(0))
    story.tell(story.due(), after=story.policy.comparison_deadline)
    assert story.tell(story.acceptance(0)).rows == ()

"""A budget in money, and what is known of what a batch has cost."""

from __future__ import annotations

from msgspec.structs import replace
from support.domain.story import BATCH, Story

from cj_stream.domain.batch import Spending
from cj_stream.domain.events import CallbackReceived, SubmissionAccepted
from cj_stream.domain.money import CALLS_WITHOUT_A_PRICE
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import ComparisonStatus, Receipt
from cj_stream.domain.states import BatchState, FailureReason
from cj_stream.scoring.quality.stopping import StopReason


def priced(callback: CallbackReceived, cost: float | None) -> CallbackReceived:
    return replace(callback, receipt=Receipt(input_tokens=100, output_tokens=10, cost=cost))


def answer_all(story: Story, cost: float | None) -> int:
    """Accept and answer what may be submitted; return how many that were."""
    submissions = story.submissions()
    for submit in submissions:
        story.tell(story.acceptance(submit.index, submit.attempt))
    for submit in submissions:
        story.tell(priced(story.verdict(submit.index, attempt=submit.attempt), cost))
    return len(submissions)


def test_without_a_price_only_a_few_calls_are_under_way() -> None:
    story = Story()
    story.start(8, max_cost=1.0)
    assert len(story.submissions()) == CALLS_WITHOUT_A_PRICE
    story.tell(story.acceptance(0))
    assert len(story.submissions()) == CALLS_WITHOUT_A_PRICE - 1


def test_what_is_in_flight_is_reserved_at_the_mean_price_so_far() -> None:
    story = Story()
    story.start(8, max_cost=1.0)
    assert answer_all(story, 0.1) == 3
    # 0.3 are spent, and 0.7 pay for seven more.
    submissions = story.submissions()
    assert len(submissions) == 7
    for submit in submissions[:4]:
        story.tell(story.acceptance(submit.index))
    assert len(story.submissions()) == 3


def test_a_spent_budget_ends_the_batch_with_the_ranking_it_has_and_says_so() -> None:
    story = Story()
    story.start(8, max_cost=1.0)
    while story.batch.state is BatchState.WAITING_CALLBACKS and answer_all(story, 0.09):
        pass
    batch = story.finish()
    assert (batch.state, batch.control.stop_reason) == (BatchState.COMPLETED, StopReason.MONEY_SPENT)
    assert batch.scores
    assert 0.9 < batch.progress.spending.dollars <= 1.0
    assert batch.progress.spending == Spending(990_000_000, 1100, 110, 11)


def test_the_budget_is_passed_by_no_more_than_the_calls_in_flight() -> None:
    story = Story()
    story.start(8, max_cost=1.0)
    answer_all(story, 0.1)
    in_flight = answer_all(story, 0.5)
    batch = story.finish()
    assert batch.control.stop_reason == StopReason.MONEY_SPENT
    assert batch.progress.spending.dollars == 0.3 + 0.5 * in_flight


def test_a_batch_is_not_over_while_answers_that_are_paid_for_are_in_flight() -> None:
    story = Story()
    story.start(8, max_cost=0.35)
    submissions = story.submissions()
    for submit in submissions:
        story.tell(story.acceptance(submit.index))
    story.tell(priced(story.verdict(submissions[0].index), 0.3))
    assert story.batch.state is BatchState.WAITING_CALLBACKS
    assert story.submissions() == []
    for submit in submissions[1:]:
        story.tell(priced(story.verdict(submit.index), 0.3))
    assert story.finish().control.stop_reason == StopReason.MONEY_SPENT


def test_a_verdict_of_unknown_price_ends_a_batch_with_a_budget_and_says_why() -> None:
    story = Story()
    story.start(8, max_cost=1.0)
    story.tell(story.acceptance(0))
    story.tell(story.verdict(0))
    batch = story.finish()
    assert (batch.state, batch.control.failure) == (BatchState.FAILED, FailureReason.PRICE_UNKNOWN)
    assert batch.control.failure_details["max_cost"] == 1.0


def test_without_a_budget_nobody_needs_a_price() -> None:
    story = Story()
    story.start(8)
    story.tell(story.acceptance(0))
    story.tell(story.verdict(0))
    assert story.batch.state is BatchState.WAITING_CALLBACKS
    assert len(story.submissions()) > CALLS_WITHOUT_A_PRICE


def test_judges_that_cost_nothing_never_spend_the_budget() -> None:
    story = Story()
    story.start(8, max_cost=0.01)
    answer_all(story, 0.0)
    assert len(story.submissions()) == len(story.batch.progress.planned)


def test_every_attempt_of_a_comparison_counts() -> None:
    story = Story(Policy(retry_pool_size=1))
    story.start(4)
    story.tell(story.acceptance(0))
    story.tell(priced(story.error(0), 0.25))
    story.tell(story.acceptance(0, 2))
    story.tell(priced(story.verdict(0, attempt=2), 0.5))
    row = story.batch.comparisons[0]
    assert row.status is ComparisonStatus.JUDGED
    assert row.receipt == Receipt(
        input_tokens=100, output_tokens=10, cost=0.5, earlier_cost=0.25, earlier_tokens=(100, 10)
    )
    assert story.batch.progress.spending == Spending(750_000_000, 200, 20, 1)
    story.check_rebuilt()


def test_an_error_that_came_before_the_verdict_of_the_same_attempt_was_paid_for_as_well() -> None:
    story = Story()
    story.start(4)
    story.tell(story.acceptance(0))
    story.tell(priced(story.error(0), 0.25))
    story.tell(priced(story.verdict(0), 0.5))
    assert story.batch.progress.spending.dollars == 0.75


def test_a_verdict_that_comes_twice_is_counted_once() -> None:
    story = Story()
    story.start(4)
    for _ in range(2):
        story.tell(priced(story.verdict(0), 0.5))
    assert story.batch.progress.spending.dollars == 0.5


def test_the_provider_is_told_once_that_a_batch_with_open_comparisons_has_ended() -> None:
    story = Story()
    story.start(8, max_cost=0.2)
    while story.batch.state is BatchState.WAITING_CALLBACKS and answer_all(story, 0.1):
        pass
    story.finish()
    assert story.told_provider == [1]


def test_a_batch_that_has_nothing_open_has_nobody_to_tell() -> None:
    story = Story()
    story.start(3)
    for index in range(story.batch.total_comparisons):
        story.tell(story.acceptance(index))
        story.tell(story.verdict(index))
    batch = story.finish()
    assert batch.finished
    assert story.told_provider == []
    assert not batch.control.provider_untold


def test_an_expected_wait_moves_the_deadline_and_is_no_idleness() -> None:
    hour = 3600.0
    story = Story(Policy(batch_timeout=4 * hour, comparison_deadline=hour))
    story.start(3)
    for index in range(story.batch.total_comparisons):
        story.tell(SubmissionAccepted(batch_id=BATCH, run=1, index=index, attempt=1, expected_wait=(24 + index) * hour))
    accepted_at = story.now
    story.tell(story.due(), after=20 * hour)
    assert len(story.batch.progress.accepted) == 3
    story.tell(story.due(), after=4 * hour)
    assert len(story.batch.progress.accepted) == 2
    assert story.batch.state is BatchState.WAITING_CALLBACKS
    story.tell(story.verdict(1), after=0.5 * hour)
    assert story.batch.comparisons[1].status is ComparisonStatus.JUDGED
    assert story.batch.control.awaited_until == accepted_at + 26 * hour


def test_an_expected_wait_within_the_deadline_changes_nothing() -> None:
    story = Story()
    story.start(3)
    story.tell(SubmissionAccepted(batch_id=BATCH, run=1, index=0, attempt=1, expected_wait=60.0))
    assert story.batch.comparisons[0].expected_wait is None
    assert story.batch.control.awaited_until == 0.0

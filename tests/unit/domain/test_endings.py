from __future__ import annotations

import pytest
from support.domain.scripted_judges import errs, judges, judges_late, judges_twice, keeps_silent, refuses
from support.domain.story import FIRST, Judge, Story, requested

from cj_stream.domain.policy import Policy
from cj_stream.domain.ranking import ranking
from cj_stream.domain.records import Comparison, ComparisonStatus
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import is_done, todo
from cj_stream.scoring.quality.stopping import StopReason


@pytest.mark.parametrize("essays", [1, 2, 5])
def test_a_batch_without_any_usable_essay_fails(essays: int) -> None:
    story = Story(unusable=dict.fromkeys(range(essays), "not found"))
    story.tell(requested(essays))
    batch = story.finish()
    assert (batch.state, batch.control.failure) == (BatchState.FAILED, "no_usable_essays")
    assert batch.control.failure_details == {"essays": essays}
    assert story.published == [f"failed:{FIRST}"]


@pytest.mark.parametrize("essays", [1, 3])
def test_a_batch_with_one_usable_essay_completes_with_one_rank_and_no_comparisons(essays: int) -> None:
    story = Story(unusable=dict.fromkeys(range(1, essays), "blank"))
    story.tell(requested(essays))
    batch = story.finish()
    assert (batch.state, batch.control.stop_reason) == (BatchState.COMPLETED, StopReason.SINGLE_ESSAY)
    assert batch.total_comparisons == 0
    assert [(row.rank, row.essay_id) for row in ranking(batch)] == [(1, "essay-0")]
    assert story.published == [f"completed:{FIRST}", f"result:{FIRST}"]


@pytest.mark.parametrize("essays", [2, 3, 4, 7])
def test_a_small_batch_is_ranked_as_it_was_judged(essays: int) -> None:
    story = Story()
    story.tell(requested(essays))
    batch = story.play(judges)
    assert batch.state is BatchState.COMPLETED
    assert batch.total_comparisons == essays * (essays - 1) // 2
    assert batch.progress.judged == batch.total_comparisons
    assert [row.essay_id for row in ranking(batch)] == [f"essay-{i}" for i in range(essays)]
    assert sum(row.wins for row in ranking(batch)) == batch.total_comparisons


def test_unusable_essays_are_left_out_of_the_comparisons_and_kept_with_their_reasons() -> None:
    story = Story(unusable={1: "not found", 3: "blank"})
    story.tell(requested(5))
    batch = story.play(judges)
    assert batch.usable == (0, 2, 4)
    assert batch.content is not None
    assert batch.content.unusable == {1: "not found", 3: "blank"}
    assert [row.essay_id for row in ranking(batch)] == ["essay-0", "essay-2", "essay-4"]


@pytest.mark.parametrize("judge", [refuses, errs, keeps_silent])
@pytest.mark.parametrize("essays", [2, 3, 6, 12])
def test_without_a_single_verdict_a_batch_fails_at_any_size(essays: int, judge: Judge) -> None:
    story = Story()
    story.tell(requested(essays))
    batch = story.play(judge)
    assert (batch.state, batch.control.failure) == (BatchState.FAILED, "low_success_rate")
    assert batch.control.failure_details["completed_comparisons"] == 0
    assert max(row.attempt for row in batch.comparisons) == story.policy.max_attempts


def test_iterations_go_on_without_any_verdict_until_enough_have_failed() -> None:
    story = Story(Policy(comparisons_per_essay=1))
    story.tell(requested(8))
    batch = story.play(refuses)
    assert (batch.state, batch.control.failure) == (BatchState.FAILED, "low_success_rate")
    assert batch.control.iteration > 1


def test_verdicts_beyond_the_deadline_still_count() -> None:
    story = Story()
    story.tell(requested(3))
    batch = story.play(judges_late)
    assert batch.state is BatchState.COMPLETED
    assert {row.attempt for row in batch.comparisons} == {1}


def test_the_first_of_two_verdicts_counts() -> None:
    story = Story()
    story.tell(requested(4))
    batch = story.play(judges_twice)
    assert [row.essay_id for row in ranking(batch)] == [f"essay-{i}" for i in range(4)]


def test_a_finished_batch_owes_nothing_once_everybody_was_told() -> None:
    story = Story()
    story.tell(requested(3))
    batch = story.play(judges)
    assert (todo(batch), is_done(batch)) == ([], True)
    assert sorted(story.published) == [f"completed:{FIRST}", f"result:{FIRST}"]


def test_what_was_judged_is_kept_with_its_verdict() -> None:
    story = Story()
    story.start(2)
    story.tell(story.acceptance(0), after=2.0)
    story.tell(story.verdict(0, "B"), after=5.0)
    assert story.batch.comparisons[0] == Comparison(
        index=0,
        status=ComparisonStatus.JUDGED,
        submitted_at=story.now - 5.0,
        completed_at=story.now,
        winner="B",
        confidence=4.0,
        provider="openai",
        model="judge-1",
        answered=True,
    )

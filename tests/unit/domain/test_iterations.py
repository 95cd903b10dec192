from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import errs, judges
from support.domain.story import BATCH, Story, requested

from cj_stream.domain import computations
from cj_stream.domain.batch import Batch
from cj_stream.domain.decisions import decide_waiting, iteration_closed
from cj_stream.domain.draft import NoteKind
from cj_stream.domain.events import ContentLoaded, PairsPlanned, ScoresComputed
from cj_stream.domain.policy import Judging, Policy
from cj_stream.domain.ranking import ranking
from cj_stream.domain.states import BatchState, Decision
from cj_stream.domain.todo import LoadContent, PlanPairs, Score
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopReason

MANY_PAIRS = 12  # essays: 66 pairs, of which an iteration plans 24
MATCHINGS = Policy(random_iterations=5)  # so that every essay has 4 comparisons more after every iteration


def judge_some(story: Story, count: int, start: int = 0) -> Batch:
    for index in range(start, start + count):
        story.tell(story.verdict(index, "A" if story.batch.pair(index)[0] < story.batch.pair(index)[1] else "B"))
    return story.batch


def scored(batch: Batch, **fields: float | None) -> ScoresComputed:
    """The report of a fit as real as can be, but for these figures; of itself it reaches nothing."""
    report = computations.score(batch)
    figures = {"reliability": 0.5, "previous_reliability": 0.5, "largest_change": 1.0, **fields}
    return replace(report, scores=replace(report.scores, **figures))


def test_an_iteration_plans_four_comparisons_per_essay() -> None:
    batch = Story().start(MANY_PAIRS)
    assert (batch.iteration_size, batch.total_comparisons) == (24, 24)
    assert batch.unused_pairs == 66 - 24


def test_no_pair_is_ever_planned_twice() -> None:
    story = Story(Policy(stability_threshold=1e-9, reliability_target=1.0))
    story.tell(requested(9))
    batch = story.play(judges)
    pairs = {frozenset(batch.pair(row.index)) for row in batch.comparisons}
    assert len(pairs) == batch.total_comparisons == 36


@pytest.mark.parametrize(("threshold", "verdicts"), [(95, 23), (50, 12), (100, 24), (96, 24)])
def test_an_iteration_closes_when_enough_of_it_have_verdicts(threshold: int, verdicts: int) -> None:
    story = Story(Policy(completion_threshold_pct=threshold))
    story.start(MANY_PAIRS)
    assert judge_some(story, verdicts - 1).state is BatchState.WAITING_CALLBACKS
    assert not iteration_closed(story.batch)
    batch = judge_some(story, 1, start=verdicts - 1)
    assert (batch.state, batch.control.partial_scoring_triggered) == (BatchState.SCORING, True)


def test_an_iteration_closes_when_nothing_of_it_is_awaited_any_more() -> None:
    story = Story(Policy(max_attempts=1))
    story.start(MANY_PAIRS)
    judge_some(story, 20)
    for index in range(20, 24):
        assert story.batch.state is BatchState.WAITING_CALLBACKS
        story.tell(story.error(index))
    assert story.batch.state is BatchState.SCORING


def test_stragglers_of_a_closed_iteration_still_count() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    judge_some(story, 23)
    story.carry_out(Score, PlanPairs)
    assert (story.batch.control.iteration, story.batch.progress.judged_in_iteration) == (2, 0)
    story.tell(story.verdict(23))
    assert (story.batch.progress.judged, story.batch.progress.judged_in_iteration) == (24, 0)


def test_the_failures_of_a_closed_iteration_are_retried_in_the_next_one() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    story.tell(story.error(23))
    judge_some(story, 23)
    assert story.batch.progress.retry_pool == {23}
    story.carry_out(Score, PlanPairs)
    judge_some(story, 22, start=24)
    assert story.batch.progress.retry_pool == {23}
    for index in (46, 47):
        story.tell(story.error(index))
    assert story.batch.progress.planned == {23, 46, 47}


def test_what_follows_a_closed_iteration_is_partial_scoring_and_then_new_pairs() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    change = None
    for index in range(23):
        change = story.tell(story.verdict(index))
    assert change is not None
    assert ("decided", Decision.TRIGGER_PARTIAL_SCORING) in [(note.kind, note.detail) for note in change.notes]
    change = story.tell(computations.score(story.batch))
    assert ("decided", Decision.GENERATE_ADAPTIVE_PAIRS) in [(note.kind, note.detail) for note in change.notes]
    assert story.batch.state is BatchState.GENERATING_PAIRS
    assert story.batch.control.stop_reason is None


@pytest.mark.parametrize(
    ("policy", "essays", "reason"),
    [
        (Policy(), 4, StopReason.PAIRS_EXHAUSTED),
        (Policy(max_comparisons=24), MANY_PAIRS, StopReason.BUDGET_SPENT),
        (Policy(max_comparisons=10), MANY_PAIRS, StopReason.BUDGET_SPENT),
        (Policy(max_iterations=1), MANY_PAIRS, StopReason.ITERATIONS_SPENT),
    ],
)
def test_the_last_iteration_is_followed_by_the_final_scoring(policy: Policy, essays: int, reason: StopReason) -> None:
    story = Story(policy)
    batch = story.start(essays)
    batch = judge_some(story, batch.total_comparisons)
    assert (batch.state, batch.control.stop_reason) == (BatchState.SCORING, reason)
    assert story.finish().state is BatchState.COMPLETED


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"reliability": 0.9, "previous_reliability": 0.9}, StopReason.RELIABILITY_REACHED),
        ({"reliability": 0.95, "previous_reliability": 0.89}, None),
        ({"reliability": 0.95, "previous_reliability": None}, None),
        ({"largest_change": 0.049}, StopReason.SCORES_STABLE),
        ({"grade_certainty": 0.9}, StopReason.DECISIONS_CERTAIN),
        ({"grade_certainty": 0.89}, None),
    ],
)
def test_a_batch_ends_when_a_rule_holds_on_enough_comparisons(
    figures: dict[str, float | None], reason: StopReason | None
) -> None:
    story = Story(MATCHINGS)
    story.start(MANY_PAIRS)
    judge_some(story, 24)
    story.tell(scored(story.batch, **figures))
    assert story.batch.state is BatchState.GENERATING_PAIRS, "4 comparisons per essay are too few"
    story.carry_out(PlanPairs)
    judge_some(story, 24, start=24)
    story.tell(scored(story.batch, **figures))
    assert (story.batch.control.stop_reason, story.batch.finished) == (reason, reason is not None)


def test_a_fit_tells_how_it_differs_from_the_one_a_round_ago() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    judge_some(story, 18)
    before = computations.score(story.batch).scores
    judge_some(story, 6, start=18)
    now = computations.score(story.batch).scores
    assert now.previous_reliability == pytest.approx(before.reliability)
    change = max(abs(a - b) for a, b in zip(now.theta, before.theta, strict=True))
    assert now.largest_change == pytest.approx(change)


def test_it_makes_no_difference_in_which_order_the_verdicts_come() -> None:
    fits = []
    for order in (range(24), reversed(range(24))):
        story = Story(Policy(completion_threshold_pct=100))
        story.start(MANY_PAIRS)
        for index in order:
            story.tell(story.verdict(index), after=1)
        fits.append(computations.score(story.batch).scores)
    assert fits[0] == fits[1]


def test_an_iteration_can_be_planned_in_waves() -> None:
    story = Story(Policy(judging=Judging(wave_size=5), completion_threshold_pct=100))
    story.start(MANY_PAIRS)
    sizes, fits = [], []
    while not story.batch.finished and story.batch.total_comparisons < 40:
        batch = story.batch
        sizes.append(batch.iteration_size)
        judge_some(story, batch.iteration_size, start=batch.total_comparisons - batch.iteration_size)
        story.carry_out(Score, PlanPairs)
        fits.append(len(story.batch.scores))
    assert sizes[:6] == [5, 5, 5, 5, 4, 5], "a wave does not reach into the next iteration"
    assert fits[:5] == [0, 1, 1, 2, 2], "a fit after every round of 6 verdicts, not after every wave"
    assert story.batch.iteration == 2


@pytest.mark.parametrize("wave_size", [1, 4, 24, None])
def test_whatever_the_wave_size_a_batch_begins_with_the_same_number_of_random_rounds(wave_size: int | None) -> None:
    story = Story(Policy(judging=Judging(wave_size=wave_size), completion_threshold_pct=100))
    batch = story.start(MANY_PAIRS)
    while batch.total_comparisons < 24:
        assert computations.pairs_task(batch).random
        batch = judge_some(story, batch.iteration_size, start=batch.total_comparisons - batch.iteration_size)
        story.carry_out(Score, PlanPairs)
        batch = story.batch
    judge_some(story, batch.iteration_size, start=24 - batch.iteration_size)
    assert not computations.pairs_task(story.batch).random


def test_with_random_pairing_no_pair_is_chosen_by_the_scores() -> None:
    story = Story(Policy(judging=Judging(pairing=PairingPolicy.RANDOM)))
    story.start(MANY_PAIRS)
    judge_some(story, 24)
    assert computations.pairs_task(story.batch).random


def test_pairs_in_flight_are_planned_with_and_failed_ones_are_not() -> None:
    story = Story(Policy(max_attempts=1))
    story.start(MANY_PAIRS)
    judge_some(story, 21)
    story.tell(story.error(21))
    task = computations.pairs_task(story.batch)
    assert list(task.pending) == [task.history[22], task.history[23]]


def test_pairs_can_be_judged_again_in_the_other_order_once_all_were_judged() -> None:
    story = Story(Policy(judging=Judging(judgements_per_pair=2, stop_rules=())))
    story.tell(requested(4))
    batch = story.play(judges)
    pairs = [batch.pair(row.index) for row in batch.comparisons]
    assert (len(pairs), batch.control.stop_reason) == (12, StopReason.PAIRS_EXHAUSTED)
    assert {(b, a) for a, b in pairs[:6]} == set(pairs[6:])


def test_a_boundary_is_a_level_or_an_essay_and_one_without_text_marks_none() -> None:
    story = Story(unusable={2: "blank"})
    story.start(MANY_PAIRS, grade_boundaries=(0.5, "essay-3", "essay-2", "essay-0"))
    task = computations.fit_task(story.batch)
    assert (list(task.levels), list(task.marks)) == ([0.5], [2, 0])


def test_a_final_ranking_holds_every_verdict_there_is() -> None:
    story = Story()
    story.start(MANY_PAIRS, max_comparisons=24)
    judge_some(story, 23)
    report = computations.score(story.batch)
    assert report.scores.verdicts == 23
    story.tell(story.verdict(23))
    story.tell(report)
    assert story.batch.state is BatchState.SCORING, "it is fitted once more"
    batch = story.finish()
    assert batch.state is BatchState.COMPLETED
    assert (batch.scores[-1].verdicts, batch.progress.judged, len(batch.scores)) == (24, 24, 2)
    assert sum(row.comparisons for row in ranking(batch)) == 48


def test_a_verdict_during_a_partial_fit_causes_no_second_fit() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    judge_some(story, 23)
    report = computations.score(story.batch)
    story.tell(story.verdict(23))
    story.tell(report)
    assert story.batch.state is BatchState.GENERATING_PAIRS


def test_a_fit_of_an_earlier_round_and_a_plan_of_another_iteration_are_stale() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    plan = PairsPlanned(batch_id=story.batch.batch_id, run=1, iteration=1, pairs=((0, 1),))
    assert story.tell(plan).rows == ()
    judge_some(story, 23)
    report = computations.score(story.batch)
    assert story.tell(replace(report, scoring_round=0)).rows == ()
    story.tell(report)
    assert story.tell(report).rows == ()
    assert story.tell(replace(plan, iteration=3)).rows == ()
    assert story.batch.state is BatchState.GENERATING_PAIRS


def test_when_no_informative_pair_is_left_the_batch_is_scored_for_the_last_time() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    judge_some(story, 24)
    story.carry_out(Score)
    story.tell(PairsPlanned(batch_id=story.batch.batch_id, run=1, iteration=2, pairs=()))
    assert (story.batch.state, story.batch.control.stop_reason) == (BatchState.SCORING, StopReason.PAIRS_EXHAUSTED)
    assert story.finish().state is BatchState.COMPLETED


def test_no_pairs_and_no_verdicts_is_a_failure() -> None:
    story = Story()
    story.tell(requested(3))
    story.carry_out(LoadContent)
    story.tell(PairsPlanned(batch_id=story.batch.batch_id, run=1, iteration=1, pairs=()))
    assert (story.batch.state, story.batch.control.failure) == (BatchState.FAILED, "no_pairs")


def test_from_10_settled_comparisons_on_a_low_success_rate_ends_a_running_batch() -> None:
    story = Story(Policy(max_attempts=1))
    story.start(MANY_PAIRS)
    judge_some(story, 7)
    for index in (7, 8):
        story.tell(story.error(index))
    assert story.batch.state is BatchState.WAITING_CALLBACKS, "7 of 9, but too few to tell"
    story.tell(story.error(9))
    assert (story.batch.state, story.batch.control.failure) == (BatchState.FAILED, "low_success_rate")
    assert story.batch.control.failure_details == {
        "total_budget": 24,
        "completed_comparisons": 7,
        "failed_comparisons": 3,
        "success_rate": 0.7,
        "threshold": 0.8,
    }


def test_a_success_rate_of_exactly_the_threshold_suffices() -> None:
    story = Story(Policy(max_attempts=1))
    story.start(MANY_PAIRS)
    judge_some(story, 8)
    for index in (8, 9):
        story.tell(story.error(index))
    assert story.batch.state is BatchState.WAITING_CALLBACKS


def test_failures_with_attempts_left_do_not_lower_the_success_rate() -> None:
    story = Story()
    story.start(MANY_PAIRS)
    for index in range(15):
        story.tell(story.error(index))
    assert story.batch.state is BatchState.WAITING_CALLBACKS


@pytest.mark.parametrize(("judged", "state"), [(2, BatchState.FAILED), (3, BatchState.SCORING)])
def test_at_the_end_the_success_rate_counts_however_few_were_settled(judged: int, state: BatchState) -> None:
    story = Story(Policy(max_attempts=1, min_success_rate=0.7), unusable={})
    story.start(4, max_comparisons=4)
    judge_some(story, judged)
    for index in range(judged, 4):
        story.tell(story.error(index))
    assert story.batch.state is state


def test_failures_that_come_during_the_final_fit_still_count() -> None:
    story = Story(Policy(max_attempts=1, max_comparisons=24, completion_threshold_pct=50))
    story.start(MANY_PAIRS)
    judge_some(story, 12)
    assert story.batch.state is BatchState.SCORING
    for index in range(12, 24):
        story.tell(story.error(index))
    story.carry_out(Score)
    assert (story.batch.state, story.batch.control.failure) == (BatchState.FAILED, "low_success_rate")


def test_no_verdict_at_all_is_never_enough() -> None:
    story = Story(Policy(max_attempts=1, min_success_rate=0.0))
    story.start(2)
    story.tell(story.error(0))
    assert (story.batch.state, story.batch.control.failure) == (BatchState.FAILED, "low_success_rate")


def test_the_last_decision_of_a_batch_without_verdicts_is_to_publish_its_failure() -> None:
    story = Story(Policy(max_attempts=1))
    batch = story.start(2)
    assert decide_waiting(batch) is Decision.WAIT
    story.tell(story.error(0))
    assert story.batch.state is BatchState.FAILED
    assert story.seen.count(NoteKind.COMPARISON_EXHAUSTED) == 1


def test_submissions_under_way_are_capped_by_the_policy() -> None:
    story = Story(Policy(max_concurrent_comparisons=5))
    story.start(MANY_PAIRS)
    assert [effect.index for effect in story.submissions()] == [0, 1, 2, 3, 4]
    story.tell(story.acceptance(0))
    story.tell(story.acceptance(3))
    assert [effect.index for effect in story.submissions()] == [1, 2, 4]
    story.tell(story.verdict(0))
    assert [effect.index for effect in story.submissions()] == [1, 2, 4, 5]


def test_an_erring_provider_fails_a_large_batch_early() -> None:
    story = Story(Policy(retry_pool_size=10))
    story.tell(requested(MANY_PAIRS))
    batch = story.play(errs)
    assert (batch.control.failure, batch.control.iteration) == ("low_success_rate", 1)


def test_texts_that_are_reported_once_more_change_nothing() -> None:
    """As after a crash between the report and its commit: they are loaded and reported again."""
    story = Story()
    batch = story.start(4)
    change = story.tell(ContentLoaded(batch_id=BATCH, run=1, unusable={0: "blank"}))
    assert ([note.kind for note in change.notes], change.rows) == ([NoteKind.EVENT_STALE], ())
    assert story.batch == batch

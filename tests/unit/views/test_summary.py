from __future__ import annotations

import json
from typing import Any

from support.domain.scripted_judges import judges
from support.domain.story import BATCH, FIRST, SECOND, START, Replies, Story, requested

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.policy import Policy
from cj_stream.domain.todo import Submit
from cj_stream.views.summary import Place, detail, summary

HERE = Place(partition=3, worker="http://worker-1:6066")


def shown(batch: Batch) -> dict[str, object]:
    return summary(batch, HERE)


def test_a_new_batch_has_its_essays_its_times_and_no_comparisons() -> None:
    story = Story()
    story.tell(requested(3))

    found = shown(story.batch)

    assert (found["batch_id"], found["run"], found["state"]) == (BATCH, 1, "INITIALIZING")
    assert found["created_at"] == "2023-11-14T22:13:20.000Z"
    assert found["finished_at"] is None
    assert (found["essays"], found["usable_essays"], found["total_comparisons"]) == (3, 0, 0)
    assert (found["progress_pct"], found["reliability"]) == (0.0, None)
    assert (found["partition"], found["worker"]) == (3, "http://worker-1:6066")


def test_the_counts_by_status_add_up_to_the_comparisons_planned() -> None:
    story = Story()
    story.start(5)
    for index in range(4):
        story.tell(story.acceptance(index))
    story.tell(story.verdict(0))
    story.tell(story.error(1))

    found = shown(story.batch)

    counts = [
        found[f"{name}_comparisons"] for name in ("completed", "failed", "in_flight", "planned", "submitted", "total")
    ]
    assert counts == [1, 1, 2, 6, 4, 10]
    assert found["progress_pct"] == 20.0


def test_a_batch_that_has_ended_has_nothing_in_flight_and_tells_what_stayed_unanswered() -> None:
    story = Story()
    story.start(5)
    story.tell(story.acceptance(0))
    story.tell(story.verdict(1))
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL))

    found = shown(story.batch)

    counts = [found[f"{name}_comparisons"] for name in ("in_flight", "planned", "unanswered", "completed", "total")]
    assert counts == [0, 0, 9, 1, 10]


def test_the_share_of_the_budget_never_goes_back_and_is_whole_when_the_batch_is_completed() -> None:
    story = Story(Policy(max_iterations=3))
    shares: list[Any] = [shown(story.start(12))["budget_pct"]]

    def watched(told: Story, effect: Submit) -> Replies:
        shares.append(shown(told.batch)["budget_pct"])
        return judges(told, effect)

    story.play(watched)
    assert len(set(shares)) >= 3
    assert shares == sorted(shares)
    assert shown(story.batch)["budget_pct"] == 100.0


def test_a_refused_submission_does_not_count_as_submitted_but_a_repeated_one_does() -> None:
    story = Story(Policy(retry_pool_size=1))
    story.start(5)
    before = shown(story.batch)["submitted_comparisons"]

    story.tell(story.refusal(0))

    assert story.batch.comparisons[0].attempt == 2
    assert (before, shown(story.batch)["submitted_comparisons"]) == (0, 1)


def test_expected_comparisons_are_bounded_by_the_pairs_there_are() -> None:
    story = Story()
    assert shown(story.start(4))["expected_comparisons"] == 6


def test_expected_comparisons_are_bounded_by_the_iterations_and_by_the_budget() -> None:
    assert shown(Story(Policy(max_iterations=2)).start(40))["expected_comparisons"] == 160
    assert shown(Story(Policy(max_comparisons=100)).start(40))["expected_comparisons"] == 100


def test_a_finished_batch_expects_no_more_than_it_planned() -> None:
    story = Story()
    story.start(40)
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL))

    found = shown(story.batch)

    assert found["state"] == "CANCELLED"
    assert found["expected_comparisons"] == found["total_comparisons"] == 80


def test_a_batch_never_plans_more_comparisons_than_expected() -> None:
    for essays in range(2, 9):
        story = Story()
        expected = shown(story.start(essays))["expected_comparisons"]
        assert isinstance(expected, int)
        assert story.play(judges).total_comparisons <= expected, f"{essays} essays"


def test_a_completed_batch_shows_its_reliability_and_why_it_stopped() -> None:
    story = Story()
    story.start(4)
    batch = story.play(judges)

    found = shown(batch)

    assert (found["state"], found["stop_reason"], found["progress_pct"]) == ("COMPLETED", "pairs_exhausted", 100.0)
    assert found["reliability"] == batch.scores[-1].reliability
    assert str(found["finished_at"]) > str(found["created_at"])


def test_the_detail_lists_the_essays_that_could_not_take_part() -> None:
    story = Story(unusable={1: "the text is blank"})
    story.start(4)
    assert detail(story.batch, HERE, 1)["failed_essays"] == [{"essay_id": "essay-1", "reason": "the text is blank"}]
    assert detail(story.batch, HERE, 1)["usable_essays"] == 3


def test_the_detail_tells_published_outcomes_from_those_still_owed() -> None:
    story = Story()
    story.start(4)
    story.tell(requested(4, SECOND))
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL))
    owed = detail(story.batch, HERE, 1)["outcomes"]
    told = detail(story.finish(), HERE, 1)["outcomes"]

    assert owed == [{"kind": "failed", "correlation_id": who, "published": False} for who in (FIRST, SECOND)]
    assert told == [{"kind": "failed", "correlation_id": who, "published": True} for who in (FIRST, SECOND)]


def test_the_detail_has_the_scores_of_the_newest_fit_by_essay() -> None:
    story = Story()
    story.start(4)
    batch = story.play(judges)

    metadata = detail(batch, HERE, 1)["processing_metadata"]

    assert list(metadata["previous_scores"].values()) == list(batch.scores[-1].theta)
    assert set(metadata["previous_scores"]) == {"essay-0", "essay-1", "essay-2", "essay-3"}
    assert (metadata["fits"], metadata["scoring_rounds"]) == (len(batch.scores), batch.control.scoring_round)


def test_the_detail_is_json_with_the_whole_policy_and_the_newest_run() -> None:
    story = Story(Policy(max_attempts=2))
    story.start(4)
    found = json.loads(json.dumps(detail(story.batch, HERE, 7)))
    assert found["runs"] == 7
    assert found["correlation_id"] == FIRST
    assert found["policy"]["max_attempts"] == 2
    assert set(found["policy"]) == set(Policy.__struct_fields__)


def test_times_are_utc_with_milliseconds_so_that_they_sort_as_text() -> None:
    story = Story()
    story.now = START + 0.25
    story.tell(requested(3))
    assert shown(story.batch)["created_at"] == "2023-11-14T22:13:20.250Z"

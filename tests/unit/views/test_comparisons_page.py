from __future__ import annotations

from typing import Any

from support.domain.scripted_judges import judges
from support.domain.story import IDS, PARTITION, Story

from cj_stream.domain.batch import Batch
from cj_stream.domain.records import ComparisonStatus
from cj_stream.views.comparisons_page import comparisons_page


def page(batch: Batch, status: ComparisonStatus | None = None, offset: int = 0, limit: int = 100) -> dict[str, Any]:
    return comparisons_page(batch, status, offset, limit, partition=PARTITION, correlation_ids=IDS)


def test_every_comparison_is_listed_in_its_presented_order() -> None:
    story = Story()
    batch = story.start(4)
    found = page(batch)
    assert (found["total"], found["offset"]) == (batch.total_comparisons, 0)
    pairs = [(row["essay_a_id"], row["essay_b_id"]) for row in found["comparisons"]]
    assert pairs == [batch.essay_ids(index) for index in range(batch.total_comparisons)]


def test_the_correlation_id_is_the_one_the_provider_was_given_for_this_attempt() -> None:
    story = Story()
    story.start(4)
    found = page(story.batch)
    assert found["comparisons"][2]["request_correlation_id"] == str(story.correlation_id(2, attempt=1))


def test_a_verdict_shows_winner_judge_and_times() -> None:
    story = Story()
    story.start(4)
    story.tell(story.acceptance(0))
    story.tell(story.verdict(0, "B"), after=60)

    row = page(story.batch)["comparisons"][0]

    assert (row["status"], row["winner"], row["provider"], row["model"]) == ("JUDGED", "Essay B", "openai", "judge-1")
    assert (row["submitted_at"], row["completed_at"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:14:20.000Z")
    assert row["error_code"] is None


def test_a_failure_shows_its_error_and_no_winner() -> None:
    story = Story()
    story.start(4)
    story.tell(story.acceptance(0))
    story.tell(story.error(0))

    (row,) = page(story.batch, ComparisonStatus.FAILED)["comparisons"]

    assert (row["status"], row["winner"]) == ("FAILED", None)
    assert (row["error_code"], row["error_message"]) == ("EXTERNAL_SERVICE_ERROR", "try later")


def test_the_total_counts_the_chosen_status_and_the_page_is_cut_from_it() -> None:
    story = Story()
    story.start(5)
    for index in (1, 3, 5):
        story.tell(story.acceptance(index))

    found = page(story.batch, ComparisonStatus.ACCEPTED, offset=1, limit=1)

    assert (found["total"], [row["index"] for row in found["comparisons"]]) == (3, [3])
    assert page(story.batch, offset=999)["comparisons"] == []


def test_each_comparison_names_the_iteration_that_planned_it() -> None:
    story = Story()
    story.start(12)
    batch = story.play(judges)
    assert len(batch.plans) > 1
    planned = [plan.iteration for plan in batch.plans for _ in plan.pairs]
    assert [row["iteration"] for row in page(batch, limit=1000)["comparisons"]] == planned

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story, requested

from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.todo import LoadContent, PlanPairs, Score
from cj_stream.views.result import result


def test_there_is_no_result_before_the_first_fit() -> None:
    assert result(Story().start(4)) is None


def test_a_completed_batch_has_a_final_ranking_best_first() -> None:
    story = Story()
    story.start(6)
    batch = story.play(judges)

    found = result(batch)

    assert found is not None
    assert (found["final"], found["stop_reason"], found["components"]) == (True, "pairs_exhausted", 1)
    assert [line["essay_id"] for line in found["ranking"]] == [f"essay-{i}" for i in range(6)]
    assert [line["rank"] for line in found["ranking"]] == [1, 2, 3, 4, 5, 6]
    assert found["verdicts"] == found["comparisons"] == 15
    assert sum(line["wins"] for line in found["ranking"]) == 15


def test_the_interval_holds_two_standard_errors_to_either_side() -> None:
    story = Story()
    story.start(6)
    found = result(story.play(judges))
    assert found is not None
    best = found["ranking"][0]
    low, high = best["ci95"]
    assert (low + high) / 2 == pytest.approx(best["theta"])
    assert high - low == pytest.approx(2 * 1.96 * best["standard_error"], rel=1e-3)


def test_both_reliabilities_come_with_their_formulas() -> None:
    story = Story()
    story.start(6)
    batch = story.play(judges)
    found = result(batch)
    assert found is not None
    assert found["reliability"]["eap"] == batch.scores[-1].reliability
    assert found["reliability"]["ssr"] == batch.scores[-1].ssr
    assert "SE^2" in found["reliability"]["eap_formula"]
    assert "var(theta)" in found["reliability"]["ssr_formula"]


def test_every_fit_is_listed_by_iteration() -> None:
    story = Story()
    story.start(12)
    batch = story.play(judges)
    found = result(batch)
    assert found is not None
    assert [fit["iteration"] for fit in found["scores_by_iteration"]] == [fit.iteration for fit in batch.scores]
    assert found["scores_by_iteration"][-1]["verdicts"] == batch.progress.judged


def test_a_cancelled_batch_keeps_its_last_ranking_as_provisional() -> None:
    story = Story()
    story.start(12)
    for index in range(story.batch.total_comparisons):
        story.tell(story.verdict(index))
    story.carry_out(Score, PlanPairs)
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL))

    found = result(story.batch)

    assert found is not None
    assert (found["state"], found["final"]) == ("CANCELLED", False)


def test_a_single_usable_essay_is_ranked_without_a_fit() -> None:
    story = Story(unusable={1: "no such text"})
    story.tell(requested(2))
    story.carry_out(LoadContent)

    found = result(story.batch)

    assert found is not None
    (line,) = found["ranking"]
    assert (line["rank"], line["standard_error"], line["ci95"]) == (1, None, None)
    assert (found["stop_reason"], found["reliability"]["eap"]) == ("single_essay", None)
    assert found["failed_essays"] == [{"essay_id": "essay-1", "reason": "no such text"}]


def judged(*given: tuple[str, str]) -> dict[str, Any]:
    """The result of a batch whose verdicts came, in turn, from these providers and models."""
    story = Story()
    story.start(4)
    for index in range(6):
        provider, model = given[index % len(given)]
        story.tell(replace(story.verdict(index), provider=provider, model=model))
    story.carry_out(Score)
    shown = result(story.batch)
    assert shown is not None
    return shown


def test_a_ranking_by_a_model_names_it_and_warns_of_nothing() -> None:
    found = judged(("openai", "gpt-5"))
    assert (found["judged_by"], found["cautions"]) == (
        [{"source": "model", "provider": "openai", "model": "gpt-5", "verdicts": 6, "name": "openai gpt-5"}],
        [],
    )


def test_a_ranking_that_was_drawn_says_that_nobody_has_read_the_essays() -> None:
    found = judged(("mock", "simulated"))
    assert [judge["name"] for judge in found["judged_by"]] == ["simulated (mock simulated)"]
    assert found["cautions"] == [
        "All 6 verdicts were simulated: no judge has read the essays, and the ranking says nothing about them."
    ]


def test_the_mock_provider_of_the_platform_is_no_model_whatever_it_calls_its_own() -> None:
    assert [judge["source"] for judge in judged(("mock", "mock-gpt"))["judged_by"]] == ["simulated"]


def test_recorded_decisions_are_told_from_drawn_ones_and_both_from_those_of_a_model() -> None:
    found = judged(("mock", "recorded"), ("mock", "simulated"), ("anthropic", "claude"))
    assert sorted(judge["source"] for judge in found["judged_by"]) == ["model", "recorded", "simulated"]
    assert [caution.partition(":")[0] for caution in found["cautions"]] == [
        "2 of 6 verdicts were simulated",
        "2 of 6 verdicts were recorded earlier and only repeated here",
    ]


@pytest.mark.parametrize("provider", ["", "unknown"])
def test_who_did_not_say_who_they_are_are_unknown_and_not_taken_for_a_model(provider: str) -> None:
    found = judged((provider, ""))
    assert [(judge["source"], judge["name"]) for judge in found["judged_by"]] == [("unknown", "unknown")]
    assert found["cautions"] == ["All 6 verdicts were given by an unknown judge: the provider did not say who judged."]


def test_a_single_essay_is_judged_by_nobody() -> None:
    story = Story()
    story.tell(requested(1))
    found = result(story.finish())
    assert found is not None
    assert (found["judged_by"], found["cautions"]) == ([], [])

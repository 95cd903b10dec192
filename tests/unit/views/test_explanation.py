from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
from support.domain.scripted_judges import errs, judges, refuses
from support.domain.story import BATCH, START, Story, requested

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.policy import Policy
from cj_stream.domain.states import FailureReason
from cj_stream.domain.todo import Effect, LoadContent, Score, Submit, todo
from cj_stream.engine.times import iso_time
from cj_stream.provider.breaker import BreakerState
from cj_stream.provider.breakers import HeldUp
from cj_stream.views.explanation import explanation

HOUR = 3600.0


def explained(batch: Batch, postponed: str | None = None, opened_at: float = 0.0) -> dict[str, Any]:
    return explanation(batch, postponed, opened_at)


def test_a_new_batch_waits_for_its_texts() -> None:
    story = Story()
    story.tell(requested(3))
    found = explained(story.batch)
    assert found["waiting_for"] == "The texts of 3 essays are being loaded from the content service."
    assert found["effects_to_do"] == [{"kind": "LoadContent", "what": "load the texts of 3 essays"}]
    assert found["hints"] == ["`cancel` ends the batch without a ranking."]


def test_then_it_waits_for_its_pairs() -> None:
    story = Story()
    story.tell(requested(3))
    story.carry_out(LoadContent)
    found = explained(story.batch)
    assert found["waiting_for"] == "The pairs of iteration 1 are being chosen."
    assert [effect["kind"] for effect in found["effects_to_do"]] == ["PlanPairs"]


def test_a_batch_waiting_for_verdicts_says_how_many_it_has_and_needs() -> None:
    story = Story()
    story.start(5)
    for index in range(3):
        story.tell(story.acceptance(index))
    story.tell(story.verdict(0))
    assert explained(story.batch)["waiting_for"] == (
        "Iteration 1 of at most 5 has 1 of 10 verdicts and closes at 10: 2 comparison(s) await their callback, "
        "7 are to be submitted, 0 failed and may be tried again."
    )


def test_a_batch_being_scored_says_from_how_much() -> None:
    story = Story()
    story.start(12)
    for index in range(story.batch.total_comparisons):
        story.tell(story.verdict(index))
    found = explained(story.batch)
    assert found["waiting_for"].startswith("The scores are being fitted to ")
    assert [effect["kind"] for effect in found["effects_to_do"]] == ["Score"]
    assert found["next_event"]["what"] == "If the fit has not ended by then, the batch is stuck: it fails."


def test_a_finished_batch_waits_for_its_outcomes_and_then_for_nothing() -> None:
    story = Story()
    story.start(3)
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL))
    owing, told = explained(story.batch), explained(story.finish())

    assert owing["waiting_for"] == "The batch has ended as CANCELLED; 1 outcome event(s) are still to be published."
    assert owing["next_event"] is None
    assert owing["effects_to_do"][0]["what"].startswith("publish the failed event of request ")
    assert told["waiting_for"] == "Nothing: the batch has ended as CANCELLED, and everybody has been told."
    assert told["next_event"]["what"] == "The batch is deleted: its retention period is over."


def test_every_effect_is_explained() -> None:
    story, seen = Story(), set[str]()
    story.tell(requested(3, reuse_judgements="nobody"))
    while found := explained(story.batch)["effects_to_do"]:
        seen |= {effect["kind"] for effect in found}
        effect = todo(story.batch)[0]
        story.tell(story.verdict(effect.index) if isinstance(effect, Submit) else story.report(story.batch, effect))
    cancelled = Story()
    cancelled.start(3)
    cancelled.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL))
    seen |= {effect["kind"] for effect in explained(cancelled.batch)["effects_to_do"]}
    assert seen == {kind.__name__ for kind in Effect.__subclasses__()}


def test_only_the_first_effects_are_listed() -> None:
    story = Story()
    batch = story.start(40)
    found = explained(batch)
    assert len(found["effects_to_do"]) == 20
    first, second = batch.essay_ids(0)
    assert found["effects_to_do"][0]["what"] == f"submit comparison 0, attempt 1: {first} and {second}"


def test_an_idle_batch_is_due_when_it_counts_as_stuck() -> None:
    story = Story(Policy(batch_timeout=4 * HOUR))
    found = explained(story.start(4))
    assert found["next_event"]["at"] == iso_time(START + 4 * HOUR)
    assert "is stuck" in found["next_event"]["what"]


def test_no_batch_counts_as_idle_from_before_its_partition_was_opened() -> None:
    story = Story(Policy(batch_timeout=4 * HOUR))
    found = explained(story.start(4), opened_at=START + HOUR)
    assert found["next_event"]["at"] == iso_time(START + 5 * HOUR)


def test_an_accepted_comparison_is_due_at_its_deadline() -> None:
    story = Story(Policy(comparison_deadline=HOUR))
    story.start(4)
    story.tell(story.acceptance(0), after=10)
    story.tell(story.acceptance(1), after=10)
    found = explained(story.batch)
    assert found["next_event"]["at"] == iso_time(START + 10 + HOUR)
    assert "TIMEOUT" in found["next_event"]["what"]


def test_an_old_batch_is_due_at_its_largest_age() -> None:
    story = Story(Policy(batch_timeout=4 * HOUR, max_age=5 * HOUR))
    story.start(4)
    story.tell(story.verdict(0), after=3 * HOUR)
    found = explained(story.batch)
    assert found["next_event"]["at"] == iso_time(START + 5 * HOUR)
    assert "largest age" in found["next_event"]["what"]


def test_a_batch_that_grew_old_while_nobody_served_it_is_said_to_end_whatever_moves() -> None:
    story = Story(Policy(batch_timeout=4 * HOUR, max_age=10 * HOUR))
    story.start(4)
    opened_at = START + 11 * HOUR
    story.tell(story.verdict(0), after=12 * HOUR)
    found = explained(story.batch, opened_at=opened_at)["next_event"]
    assert found["at"] == iso_time(opened_at + 4 * HOUR)
    assert found["what"].startswith("The batch reached its largest age while no worker served it. Whatever moves ")
    assert "nothing moves" not in found["what"]


def test_the_last_errors_come_newest_first_and_five_at_most() -> None:
    story = Story()
    story.start(10)
    for index in range(7):
        story.tell(story.acceptance(index))
        story.tell(story.error(index), after=1)
    found = explained(story.batch)["last_errors"]
    assert [error["index"] for error in found] == [6, 5, 4, 3, 2]
    assert (found[0]["error_code"], found[0]["error_message"]) == ("EXTERNAL_SERVICE_ERROR", "try later")
    assert found[0]["at"] == iso_time(START + 7)


def test_a_postponed_batch_says_whom_it_waits_for_and_that_it_goes_on_by_itself() -> None:
    found = explained(Story().start(4), postponed="the LLM provider takes nothing now")
    assert found["postponed"] == "the LLM provider takes nothing now"
    assert "goes on by itself" in found["hints"][0]


def test_the_hints_name_exactly_the_commands_that_would_do_something() -> None:
    story = Story()
    story.start(10)
    assert [hint.split()[0] for hint in explained(story.batch)["hints"]] == ["`cancel`"]

    story.tell(story.verdict(0))
    story.tell(story.error(1))
    found = explained(story.batch)["hints"]
    assert [hint.split()[0] for hint in found] == ["`retry`", "`finalize`", "`cancel`"]
    assert found[0] == "`retry` plans another attempt of the 1 failed comparison(s) now."


def test_a_failed_batch_says_where_to_look() -> None:
    for judge in (errs, refuses):
        story = Story()
        story.start(4)
        batch = story.play(judge)
        assert batch.control.failure == "low_success_rate"
        (hint,) = explained(batch)["hints"]
        assert hint.startswith("Too few comparisons got a verdict: see the last errors and the LLM provider.")


def test_every_reason_of_failure_has_its_hint() -> None:
    story = Story()
    story.start(4)
    batch = story.play(errs)
    for reason in FailureReason:
        control = msgspec.structs.replace(batch.control, failure=reason)
        (hint,) = explained(msgspec.structs.replace(batch, control=control))["hints"]
        assert hint.endswith("Sending the request again starts another run."), reason


def test_groups_never_compared_with_each_other_are_warned_of() -> None:
    story = Story()
    story.start(12)
    for index in range(3):
        story.tell(story.verdict(index))
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.FINALIZE))
    story.carry_out(Score)
    batch = story.finish()
    assert batch.scores[-1].components > 1
    assert "never compared with each other" in explained(batch)["hints"][-1]


def test_a_completed_batch_needs_nothing() -> None:
    story = Story()
    story.start(4)
    assert explained(story.play(judges))["hints"] == []


def test_a_breaker_says_whose_failures_they_are_and_when_it_is_probed() -> None:
    story = Story()
    story.start(4)
    held = HeldUp("openai/gpt", BreakerState.OPEN, "another batch", "HTTP 503: out of order", START + 60)
    assert explanation(story.batch, None, 0.0, held)["breaker"] == {
        "scope": "openai/gpt",
        "state": "open",
        "failures_of": "another batch",
        "own_failures": False,
        "why": "HTTP 503: out of order",
        "next_probe_at": iso_time(START + 60),
    }
    own = dataclasses.replace(held, batch_id=BATCH)
    assert explanation(story.batch, None, 0.0, own)["breaker"]["own_failures"] is True
    assert explanation(story.batch, None, 0.0, None)["breaker"] is None

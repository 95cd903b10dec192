"""What has to be named in more than one place is named in all of them."""

from __future__ import annotations

import typing

import msgspec
import pytest
from support.domain.story import Story

from cj_stream.domain.decider import HANDLERS
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.events import AnyEvent, BatchRequested, CallbackReceived, Event, RunEvent, VerdictReceived
from cj_stream.domain.records import Comparison, Receipt
from cj_stream.domain.states import TRANSITIONS, BatchState

ELSEWHERE = {BatchRequested, CallbackReceived}
"""Requests are decided in `request`; callbacks are resolved to other events before they are decided."""


def subclasses(kind: type) -> set[type]:
    children: list[type] = kind.__subclasses__()
    return {found for child in children for found in ({child} | subclasses(child))}


def test_every_event_that_can_be_in_the_log_has_a_handler() -> None:
    assert set(HANDLERS) | ELSEWHERE == set(typing.get_args(AnyEvent))


def test_every_kind_of_event_can_be_in_the_log() -> None:
    kinds = {kind for kind in subclasses(Event) if kind.__module__ == Event.__module__} - {RunEvent}
    assert kinds == set(typing.get_args(AnyEvent))


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(BatchState)


@pytest.mark.parametrize("kind", OutcomeKind)
def test_every_outcome_is_found_again_by_its_name(kind: OutcomeKind) -> None:
    outcome = Outcome(kind, "70d20bdd-79e1-409d-961f-8469230b5ac5")
    assert Outcome.named(outcome.name) == outcome
    with pytest.raises(ValueError, match="nonsense"):
        Outcome.named("nonsense:1")


def test_what_a_callback_says_arrives_in_the_row_of_its_comparison() -> None:
    story = Story()
    story.start(3)
    told = {"justification": "clearer", "provider": "p", "model": "m", "receipt": Receipt(cost=0.5)}
    said = msgspec.structs.replace(story.verdict(0, "B"), **told)
    shared = set(CallbackReceived.__struct_fields__) & set(VerdictReceived.__struct_fields__) - {"batch_id"}
    verdict = story.batches.resolve(said)
    assert isinstance(verdict, VerdictReceived)
    assert shared >= {"winner", "confidence", "justification", "provider", "model"}
    assert all(getattr(verdict, name) == getattr(said, name) for name in shared)
    assert not [name for name in shared if getattr(said, name) is None], "a field of the callback is not tried here"
    story.tell(said)
    row = story.batch.comparisons[0]
    kept = set(VerdictReceived.__struct_fields__) & set(Comparison.__struct_fields__)
    assert all(getattr(row, name) == getattr(verdict, name) for name in kept)
    assert not shared - kept, "a field of the verdict has no place in the row"


def test_a_verdict_leaves_alone_what_it_does_not_speak_of() -> None:
    story = Story()
    story.start(3)
    story.tell(story.acceptance(0))
    before = story.batch.comparisons[0]
    story.tell(story.verdict(0), after=5)
    after = story.batch.comparisons[0]
    changed = {name for name in Comparison.__struct_fields__ if getattr(before, name) != getattr(after, name)}
    spoken_of = {"winner", "confidence", "provider", "model"}
    assert changed == {"status", "completed_at", "answered"} | spoken_of

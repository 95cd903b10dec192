from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from uuid import UUID

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import Story, requested

from cj_stream.contracts.refusal import Refused
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.events import BatchRequested
from cj_stream.domain.records import Essay
from cj_stream.effects.largest_outcomes import SCORES_BYTES, largest_outcomes, refuse_untellable
from cj_stream.effects.outcomes import outcome_message
from cj_stream.engine.limits import (
    DEFAULT_TOPIC_LIMIT,
    RECORD_LIMIT,
)
from cj_stream.operations.settings import Settings

SETTINGS = Settings()
SEED = 20261130
LONGEST_ID = 255


def ids(count: int, characters: int) -> Iterator[str]:
    chance = random.Random(SEED)
    return (f"{chance.getrandbits(4 * characters):0{characters}x}" for _ in range(count))


def asked(essays: int, characters: int = 36) -> BatchRequested:
    listed = tuple(Essay(id=name, storage_id="s") for name in ids(essays, characters))
    return replace(requested(0), essays=listed)


@pytest.mark.parametrize("essays", [1, 2, 7])
def test_no_outcome_is_larger_than_what_was_asked_for_before(essays: int) -> None:
    story = Story()
    asked_for = requested(essays)
    story.tell(asked_for)
    batch = story.play(judges)
    largest: dict[str, int] = {outcome.topic_kind: len(outcome.value) for outcome in largest_outcomes(asked_for)}
    for kind in (OutcomeKind.COMPLETED, OutcomeKind.RESULT):
        _, event = outcome_message(batch, Outcome(kind, asked_for.correlation_id), SETTINGS, f"{batch.batch_id}-1")
        assert len(event.value) <= largest[kind]


@pytest.mark.parametrize(("essays", "characters"), [(2_000, 36), (2_000, 200), (4_500, 36), (10_000, 36)])
def test_what_the_settings_allow_can_be_told_in_a_topic_as_kafka_makes_it(essays: int, characters: int) -> None:
    request = asked(essays, characters)
    refuse_untellable(request, SETTINGS, {})
    assert all(len(gzip.compress(outcome.value)) < DEFAULT_TOPIC_LIMIT for outcome in largest_outcomes(request))


def test_what_no_outcome_topic_would_take_is_refused_with_what_to_do() -> None:
    limits = {SETTINGS.assessment_result_topic: 20_000}
    refuse_untellable(asked(50), SETTINGS, limits)
    with pytest.raises(Refused) as refused:
        refuse_untellable(asked(1_000), SETTINGS, limits)
    assert refused.value.reason == "outcome_too_large"
    assert SETTINGS.assessment_result_topic in refused.value.detail
    assert "split the batch" in refused.value.detail
    assert "max.message.bytes" in refused.value.detail


def test_the_thin_event_is_measured_too() -> None:
    with pytest.raises(Refused, match="The completed event of 900 essays"):
        refuse_untellable(asked(900, LONGEST_ID), SETTINGS, {SETTINGS.assessment_completed_topic: 50_000})


def test_more_essays_than_fit_into_a_row_of_scores_are_refused() -> None:
    with pytest.raises(Refused, match="split the batch") as refused:
        refuse_untellable(asked(RECORD_LIMIT // SCORES_BYTES, 8), SETTINGS, {})
    assert refused.value.reason == "too_many_essays"


def test_the_largest_outcomes_answer_the_requester() -> None:
    for outcome in largest_outcomes(asked(3)):
        assert str(UUID(requested().correlation_id)).encode() in outcome.value

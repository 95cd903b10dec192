"""Limits agree with each other: what the settings allow goes through, and settings that cannot are refused by name."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from cj_stream.contracts.event_log import encode_event
from cj_stream.contracts.message_limits import (
    MOST_ESSAYS,
    MOST_PLANNED_PAIRS,
)
from cj_stream.domain.events import BatchRequested, PairsPlanned
from cj_stream.domain.records import Context, Essay
from cj_stream.engine.limits import EVENT_LIMIT
from cj_stream.operations.settings import Settings

LONGEST_BATCH_ID = "\U0001f600" * 255


def test_as_many_essays_as_can_be_allowed_fit_into_an_event_with_ids_as_the_platforms() -> None:
    essay = Essay(id="3f0b1c2d-1234-4abc-8def-0123456789ab", storage_id="240525e75a9346afa89ab864586782f4")
    event = BatchRequested(
        batch_id=LONGEST_BATCH_ID,
        correlation_id=str(UUID(int=0)),
        digest="0" * 64,
        essays=(essay,) * MOST_ESSAYS,
        context=Context(instructions="x" * 10_000),
        grade_boundaries=(LONGEST_BATCH_ID,) * 50,
    )
    assert len(encode_event(event)) < EVENT_LIMIT


def test_as_many_pairs_as_can_be_planned_fit_into_an_event() -> None:
    pairs = ((MOST_ESSAYS - 2, MOST_ESSAYS - 1),) * MOST_PLANNED_PAIRS
    event = PairsPlanned(batch_id=LONGEST_BATCH_ID, run=2**32 - 1, iteration=2**32 - 1, pairs=pairs)
    assert len(encode_event(event)) < EVENT_LIMIT


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"max_essays": MOST_ESSAYS + 1}, "max_essays"),
        ({"comparisons_per_essay": 1_000, "max_comparisons": 2**20}, "CJ_COMPARISONS_PER_ESSAY"),
        ({"comparisons_per_essay": 1_000, "max_comparisons": 2**20, "wave_size": 200_000}, "CJ_WAVE_SIZE"),
    ],
)
def test_settings_whose_records_would_be_too_large_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Settings(**wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"max_essays": MOST_ESSAYS},
        {"max_essays": 10_000, "max_comparisons": 2**20},
        {"comparisons_per_essay": 1_000},
        {"comparisons_per_essay": 1_000, "max_comparisons": 2**20, "wave_size": 1_000},
    ],
)
def test_settings_whose_records_fit_are_taken(right: dict[str, Any]) -> None:
    Settings(**right)

from __future__ import annotations

from typing import Any
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from support.domain.story import BATCH, FIRST, IDS, PARTITION, SECOND

from cj_stream.domain.identifiers import (
    MAX_ATTEMPTS,
    MAX_COMPARISONS,
    MAX_PARTITIONS,
    CorrelationIds,
    batch_seed,
    batch_tag,
    content_uuid,
    outcome_event_id,
    read_correlation_id,
    timeout_event_id,
)
from cj_stream.operations.settings import Settings

PAIR = ("essay-1", "essay-2")
CORRELATION_ID = IDS.make(partition=PARTITION, batch_id=BATCH, run=1, index=17, attempt=2, pair=PAIR)


def genuine(
    correlation_id: UUID,
    ids: CorrelationIds = IDS,
    batch_id: str = BATCH,
    run: int = 1,
    pair: tuple[str, str] = PAIR,
) -> bool:
    found = read_correlation_id(correlation_id)
    return found is not None and ids.seal(partition=PARTITION, batch_id=batch_id, run=run).verifies(found, pair)


@settings(max_examples=300)
@given(
    partition=st.integers(0, MAX_PARTITIONS - 1),
    index=st.integers(0, MAX_COMPARISONS - 1),
    attempt=st.integers(0, MAX_ATTEMPTS),
    run=st.integers(1, 2**31),
    batch_id=st.text(min_size=1, max_size=40),
)
@example(partition=0, index=0, attempt=0, run=1, batch_id="b")
@example(
    partition=MAX_PARTITIONS - 1, index=MAX_COMPARISONS - 1, attempt=MAX_ATTEMPTS, run=2**31, batch_id="\N{SNOWMAN}"
)
def test_a_correlation_id_says_what_it_was_made_of(
    partition: int, index: int, attempt: int, run: int, batch_id: str
) -> None:
    made = IDS.make(partition=partition, batch_id=batch_id, run=run, index=index, attempt=attempt, pair=PAIR)
    assert (made.version, made.variant) == (8, RFC_4122)
    found = read_correlation_id(UUID(str(made)))
    assert found is not None
    assert (found.partition, found.index, found.attempt) == (partition, index, attempt)
    assert found.tag == batch_tag(batch_id, run)
    assert IDS.seal(partition=partition, batch_id=batch_id, run=run).verifies(found, PAIR)


@pytest.mark.parametrize(
    ("setting", "limit"),
    [("partitions", MAX_PARTITIONS), ("max_comparisons", MAX_COMPARISONS), ("max_attempts", MAX_ATTEMPTS)],
)
def test_settings_allow_no_more_than_an_id_has_room_for(setting: str, limit: int) -> None:
    fields: dict[str, Any] = {"comparison_deadline_minutes": 0.01, setting: limit}
    assert getattr(Settings(**fields), setting) == limit
    fields[setting] = limit + 1
    with pytest.raises(ValidationError, match=setting):
        Settings(**fields)


def test_an_id_with_any_single_bit_flipped_is_refused() -> None:
    assert genuine(CORRELATION_ID)
    accepted = [bit for bit in range(128) if genuine(UUID(int=CORRELATION_ID.int ^ 1 << bit))]
    assert accepted == []


def test_the_id_of_a_pair_is_not_valid_for_the_swapped_or_another_pair() -> None:
    assert not genuine(CORRELATION_ID, pair=("essay-2", "essay-1"))
    assert not genuine(CORRELATION_ID, pair=("essay-1", "essay-3"))
    assert not genuine(CORRELATION_ID, pair=("essay-1essay-2", ""))


def test_the_id_of_one_run_is_not_valid_for_another_run_or_batch() -> None:
    assert genuine(CORRELATION_ID)
    assert not genuine(CORRELATION_ID, run=2)
    assert not genuine(CORRELATION_ID, batch_id="batch-2")


def test_the_id_of_one_partition_is_not_valid_in_another() -> None:
    made = IDS.make(partition=PARTITION + 1, batch_id=BATCH, run=1, index=17, attempt=2, pair=PAIR)
    assert not genuine(made)


def test_an_id_made_with_another_key_is_refused() -> None:
    other = CorrelationIds(b"another key")
    assert not genuine(CORRELATION_ID, ids=other)
    assert not genuine(other.make(partition=PARTITION, batch_id=BATCH, run=1, index=17, attempt=2, pair=PAIR))


def test_ids_of_other_versions_and_variants_are_not_ours() -> None:
    assert read_correlation_id(uuid4()) is None
    assert read_correlation_id(UUID(int=0)) is None
    assert read_correlation_id(UUID(int=2**128 - 1)) is None
    assert read_correlation_id(UUID(FIRST)) is None


def test_an_attempt_always_gets_the_same_id_and_another_attempt_another_one() -> None:
    again = IDS.make(partition=PARTITION, batch_id=BATCH, run=1, index=17, attempt=2, pair=PAIR)
    retry = IDS.make(partition=PARTITION, batch_id=BATCH, run=1, index=17, attempt=3, pair=PAIR)
    assert again == CORRELATION_ID
    assert retry != CORRELATION_ID


def test_event_ids_are_the_same_every_time_and_differ_in_every_part() -> None:
    ids = {
        outcome_event_id(batch_id, run, kind, correlation_id)
        for batch_id in ("a", "b")
        for run in (1, 2)
        for kind in ("completed", "result")
        for correlation_id in (FIRST, SECOND)
    }
    assert len(ids) == 16
    assert outcome_event_id("a", 1, "completed", FIRST) in ids
    assert timeout_event_id("a", 1, 10.0) == timeout_event_id("a", 1, 10.0) != timeout_event_id("a", 1, 11.0)
    assert content_uuid("x") == content_uuid("x") != content_uuid("y")


def test_seeds_are_not_negative_and_differ_between_runs() -> None:
    seeds = {batch_seed("a", run) for run in range(1, 100)}
    assert len(seeds) == 99
    assert all(0 <= seed < 2**63 for seed in seeds)

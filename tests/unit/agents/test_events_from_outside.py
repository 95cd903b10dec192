"""Every word of a message from outside reaches the event that it becomes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import asdict, replace
from support.domain.story import FIRST
from support.wire.contract_samples import document, encoded, raw, with_value
from support.wire.ingress import Ingress

from cj_stream.agents.callbacks import answered
from cj_stream.agents.requests import requested
from cj_stream.contracts.callback_reader import Callback
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides
from cj_stream.dead_letters import invalid_share
from cj_stream.domain import records
from cj_stream.domain.events import CallbackReceived
from cj_stream.domain.identifiers import MAX_PARTITIONS, CorrelationIds
from cj_stream.engine.partitioning import home_partition
from cj_stream.operations.settings import Settings
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

CALLBACK = Callback(
    correlation_id=UUID(FIRST),
    winner="B",
    confidence=2.5,
    justification="B argues.",
    error_code="TIMEOUT",
    error_message="too late",
    provider="openai",
    model="judge-1",
    essay_a_id="e1",
    essay_b_id="e2",
    batch_id="batch-1",
    published_at=datetime(2026, 3, 4, tzinfo=UTC),
    receipt=records.Receipt(input_tokens=7, cost=0.5),
)
REQUEST = AssessmentRequest(
    batch_id="batch-1",
    correlation_id=UUID(FIRST),
    essays=(RequestedEssay("e1", "s1"), RequestedEssay("e2", "s2")),
    language="sv",
    course_code="ENG6",
    overrides=RequestedOverrides(
        model="judge-1",
        temperature=0.0,
        max_tokens=1,
        provider="openai",
        system_prompt="fair",
        judge_rubric="content",
        reasoning_effort="low",
        output_verbosity="high",
    ),
    prompt_storage_id="prompt",
    essay_instructions="compare",
    assignment_id="assignment",
    user_id="user",
    org_id="org",
    max_comparisons=30,
    completion_threshold=0.85,
    pairing_policy=PairingPolicy.RANDOM,
    stop_rules=(StopRule.STABILITY,),
    reliability_target=0.7,
    grade_boundaries=(0.5, "e2"),
    max_cost=2.5,
    priority=3,
    batching_mode="serial_bundle",
    reuse_judgements="batch-0",
    traceparent="trace",
)
NOT_ASKED_FOR = {
    "correlation_id",
    "requested_at",
    "traceparent",
    "batch_size",
    "max_concurrent_batches",
    "batching_mode",
    "priority",
}
"""What may differ between two requests for the same."""


def test_a_callback_says_what_the_provider_said() -> None:
    assert answered(CALLBACK) == CallbackReceived(
        batch_id="batch-1",
        correlation_id=UUID(FIRST),
        essay_ids=("e1", "e2"),
        winner="B",
        confidence=2.5,
        justification="B argues.",
        provider="openai",
        model="judge-1",
        error_code="TIMEOUT",
        error_message="too late",
        receipt=records.Receipt(input_tokens=7, cost=0.5),
    )


@pytest.mark.parametrize("missing", ["essay_a_id", "essay_b_id"])
def test_half_an_echo_names_no_pair(missing: str) -> None:
    assert answered(replace(CALLBACK, **{missing: None})).essay_ids is None


def test_a_callback_without_ids_has_none() -> None:
    event = answered(replace(CALLBACK, correlation_id=None, batch_id=None))
    assert (event.correlation_id, event.batch_id) == (None, "")


def test_a_request_says_what_upstream_asked_for() -> None:
    event = requested(REQUEST)
    assert (event.batch_id, event.correlation_id, event.origin) == ("batch-1", FIRST, None)
    assert event.essays == (records.Essay(id="e1", storage_id="s1"), records.Essay(id="e2", storage_id="s2"))
    assert event.context == records.Context(
        language="sv",
        course_code="ENG6",
        prompt_storage_id="prompt",
        instructions="compare",
        overrides=records.Overrides(**asdict(REQUEST.overrides)),
        assignment_id="assignment",
        user_id="user",
        org_id="org",
        traceparent="trace",
    )
    assert (event.max_comparisons, event.completion_threshold_pct) == (30, 85)
    assert (event.pairing, event.stop_rules) == (PairingPolicy.RANDOM, (StopRule.STABILITY,))
    assert (event.reliability_target, event.grade_boundaries) == (0.7, (0.5, "e2"))
    assert (event.max_cost, event.priority, event.batching_mode) == (2.5, 3, "serial_bundle")
    assert event.reuse_judgements == "batch-0"


@pytest.mark.parametrize("field", AssessmentRequest.__struct_fields__)
def test_whatever_is_asked_for_tells_one_content_from_another(field: str) -> None:
    others: dict[str, Any] = {
        "essays": REQUEST.essays[::-1],
        "overrides": RequestedOverrides(),
        "pairing_policy": PairingPolicy.ADAPTIVE,
        "stop_rules": (),
        "grade_boundaries": (),
        "batching_mode": "per_request",
        "correlation_id": UUID(int=1),
        "requested_at": datetime(2026, 3, 4, tzinfo=UTC),
    }
    value = getattr(REQUEST, field)
    if field not in others:
        others[field] = f"{value}x" if isinstance(value, str) else (value or 0) / 2
    changed = requested(replace(REQUEST, **{field: others[field]}))
    assert (changed.digest == requested(REQUEST).digest) == (field in NOT_ASKED_FOR), field


def test_a_request_without_a_correlation_id_gets_one_that_its_content_tells() -> None:
    bare = replace(REQUEST, correlation_id=None)
    other = replace(bare, language="en")
    assert requested(bare) == requested(bare)
    assert UUID(requested(bare).correlation_id) != UUID(requested(other).correlation_id)
    assert requested(replace(bare, completion_threshold=None)).completion_threshold_pct is None


@pytest.mark.parametrize("partition", [0, 7, 8, 9, MAX_PARTITIONS - 1])
async def test_an_id_that_names_a_partition_we_do_not_have_is_not_followed(partition: int) -> None:
    """No record can be sent there: the worker would end at each attempt."""
    ingress = Ingress()
    assert ingress.settings.partitions == 8
    forged = CorrelationIds(b"key").make(
        partition=partition, batch_id="batch-1", run=1, index=0, attempt=1, pair=("e1", "e2")
    )
    message = with_value(document("callback_success.json"), "data.correlation_id", str(forged))
    fate = await ingress.take(ingress.settings.llm_provider_callback_topic, encoded(message))
    echoed = message["data"]["request_metadata"]["bos_batch_id"]
    home = partition if partition < 8 else home_partition(echoed, 8)
    assert fate.event.correlation_id == forged
    assert ingress.producer.records[0].partition == home


@pytest.mark.parametrize("name", ["request_current.json", "callback_success.json"])
async def test_valid_input_counts_against_a_flood_of_bad_input(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(why: str, **_facts: object) -> None:
        raise AssertionError(why)

    monkeypatch.setattr(invalid_share, "end_for_bad_input", end)
    limits: dict[str, Any] = {"invalid_input_share": 0.5, "invalid_input_window": 100, "invalid_input_minimum": 5}
    ingress = Ingress(Settings(**limits, accumulate_milliseconds=1e-6))
    requests, callbacks = ingress.settings.assessment_request_topic, ingress.settings.llm_provider_callback_topic
    topic = requests if name == "request_current.json" else callbacks
    for _ in range(10):
        await ingress.take(topic, raw(name))
        await ingress.take(topic, raw(name))
        await ingress.take(topic, b"no JSON")
    with pytest.raises(AssertionError, match="too much of the recent input is invalid"):
        await flood(ingress, topic)


async def flood(ingress: Ingress, topic: str) -> None:
    for _ in range(100):
        await ingress.take(topic, b"no JSON")

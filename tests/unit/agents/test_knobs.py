"""Each knob of a request goes all the way: written, read, handed on, and effective in the batch."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest
from support.domain.story import START

from cj_stream.agents.requests import requested
from cj_stream.contracts.knobs import Knobs
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides, read_request
from cj_stream.contracts.request_writer import write_request
from cj_stream.domain.decider import decide
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Roster
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

EVENT = UUID("feec6f51-042f-4068-9091-8b6f43684318")
PLAIN = AssessmentRequest(
    batch_id="b1",
    correlation_id=UUID("70d20bdd-79e1-409d-961f-8469230b5ac5"),
    essays=(RequestedEssay("e1", "s1"), RequestedEssay("e2", "s2")),
    language="en",
    course_code="ENG6",
    overrides=RequestedOverrides(),
    user_id="me",
    requested_at=datetime(2026, 3, 4, 9, 12, tzinfo=UTC),
)
TURNED: dict[str, Any] = {
    "max_comparisons": 7,
    "completion_threshold": 0.75,
    "batch_size": 20,
    "max_concurrent_batches": 2,
    "batching_mode": "serial_bundle",
    "traceparent": "00-be9a6c5678f85478d174b1f350859442-45d5841cc58d41bb-01",
    "pairing_policy": PairingPolicy.RANDOM,
    "stop_rules": (StopRule.STABILITY,),
    "reliability_target": 0.5,
    "grade_boundaries": (-1.0, "e1"),
    "max_cost": 2.5,
    "priority": -3,
    "reuse_judgements": "b0",
}
"""Each knob, turned to something that is not the default."""
READ_AND_NO_MORE = {"batch_size", "max_concurrent_batches"}
"""The platform's own, about how its service sent comparisons. They are checked, and mean nothing here."""


def roster(request: AssessmentRequest) -> Roster:
    """What a batch that this request starts keeps of it, but for the two fields that tell requests apart."""
    batch = decide(None, requested(request), Policy(), START).batch
    assert batch is not None
    return msgspec.structs.replace(batch.roster, digest="", correlation_id="")


def test_every_knob_is_tried_here() -> None:
    assert set(TURNED) == set(Knobs.__struct_fields__)
    assert all(getattr(PLAIN, knob) != value for knob, value in TURNED.items())


@pytest.mark.parametrize("knob", TURNED)
def test_a_knob_reads_back_as_it_was_written(knob: str) -> None:
    request = msgspec.structs.replace(PLAIN, **{knob: TURNED[knob]})
    assert read_request(write_request(request, EVENT), max_essays=2) == request


@pytest.mark.parametrize("knob", TURNED.keys() - READ_AND_NO_MORE)
def test_a_knob_changes_the_batch_that_the_request_starts(knob: str) -> None:
    assert roster(msgspec.structs.replace(PLAIN, **{knob: TURNED[knob]})) != roster(PLAIN)

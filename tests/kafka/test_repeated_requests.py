from __future__ import annotations

from pathlib import Path
from uuid import uuid5

import pytest
from msgspec import structs
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.stage import new_request, staged

from cj_stream.contracts.outcome_writer import JOB_ID_OF_REFUSED
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka


async def test_a_repeated_request_changes_nothing_and_other_content_waits_for_the_end(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path) as stage:
        await stage.fleet.start()
        stage.provider.holds = lambda _: True
        request = new_request("batch-1", 4)
        assert request.correlation_id is not None
        joined = structs.replace(request, correlation_id=uuid5(request.correlation_id, "somebody else"))
        other = new_request("batch-1", 5, content="other", correlation_id=uuid5(request.correlation_id, "other"))
        await stage.ask(request)
        await stage.fleet.until(lambda: len(stage.provider.held) == 6, "all comparisons are submitted")

        for repeat in (request, joined, other):
            await stage.ask(repeat)
        await stage.fleet.until(lambda: bool(stage.mailbox.outcomes("failed", "batch-1")), "other content is refused")
        (refusal,) = stage.mailbox.outcomes("failed", "batch-1")
        assert refusal["correlation_id"] == str(other.correlation_id)
        assert refusal["data"]["cj_assessment_job_id"] == JOB_ID_OF_REFUSED

        await stage.provider.release()
        await stage.ended("batch-1")
        expected = await expected_batch(request, stage.settings, judge_of())
        stage.check_outcome(expected)
        assert set(stage.provider.submissions.values()) == {1}
        assert len(stage.provider.submissions) == expected.total_comparisons
        told = {event["correlation_id"]: event["event_id"] for event in stage.mailbox.outcomes("completed", "batch-1")}
        requesters = (str(request.correlation_id), str(joined.correlation_id))
        assert told == {who: str(outcome_event_id("batch-1", 1, "completed", who)) for who in requesters}

        await stage.ask(request)
        await stage.fleet.until(
            lambda: (
                len(stage.mailbox.outcome_records("result")) == 2
                and len(stage.mailbox.outcome_records("completed")) == 3
            ),
            "the stored outcome is published again",
        )
        await stage.settled()
        stage.check_outcome(expected)
        assert len(stage.provider.submissions) == expected.total_comparisons

        await stage.ask(other)
        await stage.fleet.until(lambda: len(stage.mailbox.outcome_records("result")) == 3, "the second run ends")
        await stage.ended("batch-1")
        stage.check_outcome(await expected_batch(other, stage.settings, judge_of(), after=expected))
        shown = await stage.fleet.batch("batch-1")
        assert shown is not None
        assert (shown["run"], shown["runs"]) == (2, 2)
        assert not stage.mailbox.dead_letters

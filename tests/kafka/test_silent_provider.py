from __future__ import annotations

from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from support.installation.stage import document_of, new_request, staged

from cj_stream.contracts.timeout_writer import EVENT_TYPE
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

HALF_SECOND = 0.5 / 60


async def test_comparisons_that_are_never_answered_time_out_and_fail_the_batch(
    settings: Settings, tmp_path: Path
) -> None:
    timings = {
        "comparison_deadline_minutes": HALF_SECOND,
        "batch_monitor_interval_minutes": HALF_SECOND,
        "max_attempts": 2,
    }
    async with staged(settings, tmp_path, judge="faults:silent=1", **timings) as stage:
        await stage.fleet.start()
        await stage.ask(new_request("batch-1", 3))
        await stage.ended("batch-1")
        (failed,) = stage.mailbox.outcomes("failed", "batch-1")
        error = failed["data"]["system_metadata"]["error_info"]
        assert error["reason"] == "low_success_rate"
        assert error["details"]["completed_comparisons"] == 0
        assert error["details"]["failed_comparisons"] == 3
        assert not stage.mailbox.outcome_records("completed")

        assert set(stage.provider.submissions.values()) == {1}
        attempts = [read_correlation_id(UUID(found)) for found in stage.provider.submissions]
        assert Counter((found.index, found.attempt) for found in attempts if found) == Counter(
            (index, attempt) for index in range(3) for attempt in (1, 2)
        )
        codes = {row["error_code"] for row in await stage.fleet.comparisons("batch-1")}
        assert codes == {"TIMEOUT"}
        copies = stage.mailbox.records[settings.batch_timeouts_topic]
        assert len(copies) >= 2
        assert {record.key for record in copies} == {b"batch-1"}
        assert {document_of(record.value)["event_type"] for record in copies} == {EVENT_TYPE}

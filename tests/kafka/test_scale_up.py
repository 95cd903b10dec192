from __future__ import annotations

from pathlib import Path

import pytest
from counting_provider import judge_of
from oracle import expected_batch
from stage import batches_everywhere, new_request, staged

from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka


async def test_a_worker_that_joins_under_load_causes_no_second_submission(settings: Settings, tmp_path: Path) -> None:
    async with staged(settings, tmp_path, latency=0.4, max_concurrent_comparisons=4) as stage:
        requests = [new_request(batch_id, 12) for batch_id in batches_everywhere(8, settings)]
        expected = [await expected_batch(request, stage.settings, judge_of()) for request in requests]
        await stage.fleet.start()
        for request in requests:
            await stage.ask(request)
        await stage.fleet.until(lambda: len(stage.provider.submissions) > 20, "the load is on")
        await stage.fleet.start()
        assert len(stage.provider.submissions) < 0.9 * sum(batch.total_comparisons for batch in expected)
        assert [len(await stage.fleet.partitions(worker)) for worker in stage.fleet.workers] == [2, 2]
        await stage.ended(*(request.batch_id for request in requests))
        assert set(stage.provider.submissions.values()) == {1}
        for batch in expected:
            stage.check_outcome(batch)
        assert not stage.mailbox.dead_letters

"""Workers that come back soon: those that were killed, and those that were stopped. For all else see test_kills."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.fleet import WorkerProcess
from support.installation.stage import Stage, batches_everywhere, new_request, staged

from cj_stream.domain.batch import Batch
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

MARKER = "clean-stop"
ASSIGNED = "partitions are ours and recovered"
BATCHES = 8
ESSAYS = 8


class Trouble:
    """Batches on two workers, one of which gets into trouble while some verdicts are applied and others are not."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.requests = [new_request(batch_id, ESSAYS) for batch_id in batches_everywhere(BATCHES, stage.settings)]
        self.lost: set[int] = set()

    async def begin(self) -> tuple[WorkerProcess, WorkerProcess]:
        """Return the worker that is to get into trouble, in the middle of its batches, and the other one."""
        # While the first verdict of a batch is held back, it cannot finish: whatever happens, happens in the middle.
        self.stage.provider.holds = lambda callback: callback.index == 0
        victim, other = await self.stage.fleet.start(2)
        self.lost = set(await self.stage.fleet.partitions(victim))
        assert len(self.lost) == self.stage.settings.partitions / 2
        for request in self.requests:
            await self.stage.ask(request)
        await self.stage.fleet.until(self._in_the_middle, "every batch has some verdicts and waits for others")
        return victim, other

    async def _in_the_middle(self) -> bool:
        batches = [await self.stage.fleet.batch(request.batch_id) for request in self.requests]
        return all(batch and 0 < batch["completed_comparisons"] < batch["total_comparisons"] for batch in batches)

    def has_ended(self) -> bool:
        """Return whether any batch has an outcome."""
        return bool(self.stage.mailbox.outcome_records("result") or self.stage.mailbox.outcome_records("failed"))

    async def finish(self) -> list[Batch]:
        """Let everything end, check what must hold however the workers fared, and return what was expected."""
        stage = self.stage
        await stage.provider.release()
        await stage.ended(*(request.batch_id for request in self.requests))
        expected = [await expected_batch(request, stage.settings, judge_of()) for request in self.requests]
        for batch in expected:
            stage.check_outcome(batch)
            assert len(stage.provider.submitted(batch.batch_id)) == batch.total_comparisons
        assert not stage.mailbox.dead_letters
        assert not stage.mailbox.outcome_records("failed")
        return expected

    def check_submissions(self) -> None:
        """Assert that only a comparison whose worker was lost was submitted again, and only once."""
        for correlation_id, count in self.stage.provider.submissions.items():
            found = read_correlation_id(UUID(correlation_id))
            assert found is not None
            assert count <= (2 if found.partition in self.lost else 1), correlation_id


async def test_a_killed_worker_that_is_back_within_its_session_disturbs_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path, session_timeout_seconds=30.0, latency=0.2) as stage:
        trouble = Trouble(stage)
        victim, other = await trouble.begin()
        assignments = other.log.count(ASSIGNED)
        victim.kill()
        victim.start()
        await stage.fleet.ready()
        assert set(await stage.fleet.partitions(victim)) == trouble.lost
        await trouble.finish()
        trouble.check_submissions()
        assert other.log.count(ASSIGNED) == assignments


async def test_a_stopped_worker_goes_on_where_it_was(settings: Settings, tmp_path: Path) -> None:
    async with staged(settings, tmp_path) as stage:
        (worker,) = await stage.fleet.start()
        request = new_request("batch-1", ESSAYS)
        stage.provider.holds = lambda callback: callback.index < 5
        await stage.ask(request)
        await stage.fleet.until(lambda: len(stage.provider.held) == 5, "five verdicts are missing")
        await stage.fleet.until(
            lambda: len(stage.provider.submissions) == 2 * ESSAYS, "the first iteration is submitted"
        )
        worker.terminate()
        assert await stage.fleet.ended(worker) == 0
        assert (worker.data_dir / MARKER).exists()
        # Gone from the group at once, although it has a name there: nobody waits for its session to end.
        assert await stage.mailbox.members() == 0
        # Verdicts that come while nobody is there are read afterwards.
        await stage.provider.release()
        worker.start()
        await stage.ended("batch-1")
        assert not (worker.data_dir / MARKER).exists()
        assert "rebuilding the local database" not in worker.log
        stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert set(stage.provider.submissions.values()) == {1}
        assert not stage.mailbox.dead_letters


async def test_a_worker_to_which_a_rebalance_comes_while_it_stops_stops_in_order(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path, app="support.apps.slow_stop_app") as stage:
        (first,) = await stage.fleet.start(1)
        first.terminate()
        stage.fleet.worker().start()
        assert await stage.fleet.ended(first) == 0
        assert (first.data_dir / MARKER).exists()
        # It has left the group: its partitions do not stand still until its session is over.
        assert await stage.mailbox.members() == 1

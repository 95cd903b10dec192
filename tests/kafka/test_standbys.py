"""Copies of partitions that lack something, as a standby or on a disk, are rebuilt before they are served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.domain.oracle import expected_batch
from support.engine.copies import copies_in, damage
from support.installation.counting_provider import judge_of
from support.installation.fleet import WorkerProcess
from support.installation.stage import Stage, batches_everywhere, new_request, staged

from cj_stream.domain.records import Comparison
from cj_stream.engine.rows import HEARTBEAT_KEY
from cj_stream.operations.settings import Settings
from cj_stream.tables.codec import KINDS

pytestmark = pytest.mark.kafka

ESSAYS = 6
REBUILT = re.compile(r"copy of a partition is rebuilt.* missing=(\d+) outdated=(\d+) partition=(\d+)")
NOT_AS_TOLD = "is not what the last writer of the changelog had"


async def test_standbys_lose_nothing_and_a_copy_that_lacks_a_row_or_an_update_is_rebuilt_before_it_is_served(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path) as stage:
        # While the first verdict of a batch is held back, it cannot finish: whatever happens, happens in the middle.
        stage.provider.holds = lambda callback: callback.index == 0
        (first,) = await stage.fleet.start()
        requests = [new_request(batch_id, ESSAYS) for batch_id in batches_everywhere(4, stage.settings)]
        for request in requests:
            await stage.ask(request)
        await stage.fleet.until(
            lambda: len(stage.provider.submissions) >= len(requests) * ESSAYS, "every batch has been submitted in part"
        )
        await stage.settled()

        # What a standby has read and not applied when its worker is ready is applied nevertheless.
        second = stage.fleet.worker()
        second.app = "support.apps.held_standby"
        second.start()
        await stage.fleet.ready()
        assert any(int(found) for found in re.findall(r"HELD_STANDBY +records=(\d+)", second.log)), "nothing was held"
        await stage.settled()
        await _stop(stage, second)
        _check_copies(stage, second)

        # Whatever else a copy may lack, and for whatever reason: a row here, and an update there.
        lacking = _damage(stage, second)
        second.app = first.app

        # It gets some partitions back, and the others as a standby; then it has to serve those too.
        second.start()
        await stage.fleet.ready()
        served = set(await stage.fleet.partitions(second))
        assert set(_rebuilt(second)) == lacking.keys() & served
        assert lacking.keys() - served, "no damaged copy is a standby's"
        first.kill()
        await stage.fleet.ready()
        assert _rebuilt(second) == lacking
        assert NOT_AS_TOLD not in second.log

        await stage.provider.release()
        await stage.ended(*(request.batch_id for request in requests))
        for request in requests:
            stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        await _stop(stage, second)
        _check_copies(stage, second)


async def _stop(stage: Stage, worker: WorkerProcess) -> None:
    worker.terminate()
    assert await stage.fleet.ended(worker) == 0


def _history(stage: Stage, partition: int, last: int | None = None) -> dict[bytes, list[bytes]]:
    """Return the values that the changelog has of each key, in their order, up to the offset ``last``."""
    found: dict[bytes, list[bytes]] = {}
    for record in stage.mailbox.records[stage.settings.changelog_topic]:
        if record.partition == partition and record.key != HEARTBEAT_KEY and (last is None or record.offset <= last):
            assert record.key is not None
            assert record.value is not None
            found.setdefault(record.key, []).append(record.value)
    return found


def _damage(stage: Stage, worker: WorkerProcess) -> dict[int, tuple[int, int]]:
    """Take a comparison from every second copy, and the last change of one from each of the others.

    Return how many rows each of them lacks, and how many are outdated.
    """
    lacking: dict[Any, Any] = {}
    for copy in copies_in(worker.data_dir):
        history = _history(stage, copy.partition)
        changed = [key for key in history if key[:1] == KINDS[Comparison] and len(history[key]) > 1]
        if changed:
            loses_row = len(lacking) % 2 == 0
            lacking[copy.partition] = (1, 0) if loses_row else (0, 1)
            damage(copy, {changed[-1]: None if loses_row else history[changed[-1]][-2]})
    assert len(lacking) > 1
    return lacking


def _rebuilt(worker: WorkerProcess) -> dict[int, tuple[int, int]]:
    return {int(partition): (int(missing), int(old)) for missing, old, partition in REBUILT.findall(worker.log)}


def _check_copies(stage: Stage, worker: WorkerProcess) -> None:
    """Assert that each copy is what the changelog makes of its rows, up to where it was read."""
    for copy in copies_in(worker.data_dir):
        history = _history(stage, copy.partition, copy.offset)
        assert dict(copy.rows()) == {key: values[-1] for key, values in history.items()}

"""Setting up a trial, and playing a schedule on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from kills.history import History
from kills.post import DisorderlyPost
from kills.trial import Fault, Trial, Wrong
from support.installation.own_topics import own_topics
from support.installation.stage import staged_with

from cj_stream.devkit.kafka import LocalKafka

WORKERS = 3
PARTITIONS = 8
BATCHES = 42
LATENCY_SECONDS = 0.1
DRIP_SECONDS = 0.2
"""Between verdicts, while faults happen."""

Waves = Sequence[Sequence[Fault]]
"""What happens: waves one after the other, the faults of a wave at the same time."""


async def run(trial: Trial, waves: Waves, workers: int = WORKERS) -> None:
    """Play a schedule. Raises `Wrong` for whatever must not be."""
    await trial.prepare()
    for number in range(1, workers + 1):
        trial.start(trial.worker(number))
    await trial.serving()
    trial.history.note("begin", batches=len(trial.requests), verdicts=trial.total)
    for number, wave in enumerate(waves):
        await trial.poison()
        # Half of a step comes before the wave; what comes while it happens, comes slowly, to last.
        step = trial.total // (len(waves) + 1)
        half = max(step * (number + 1) - step // 2, trial.applied + step // 4)
        if half >= trial.total:
            trial.history.note("left out", faults=[str(fault) for wave in waves[number:] for fault in wave])
            break
        await trial.ask(half + step)
        trial.post.allowed = max(trial.post.allowed, half)
        await trial.progress(half)
        # These begin while the faults happen.
        await trial.ask(half + 2 * step)
        trial.history.note("wave", faults=[str(fault) for fault in wave])
        drip = asyncio.create_task(_drip(trial, step * (number + 2) - step // 3))
        try:
            await asyncio.gather(*(fault.happen(trial) for fault in wave))
        finally:
            drip.cancel()
        if trial.applied >= trial.total:
            raise Wrong("the faults came when everything was over")
        await trial.check_commits()
    await trial.ask(trial.total)
    trial.post.allowed = trial.total
    await trial.progress(trial.total)
    await trial.post.empty()
    await trial.until(lambda: trial.ended() == set(trial.expected), "every batch has an outcome")
    await trial.serving()
    await trial.stage.settled()
    await trial.check_end()


async def _drip(trial: Trial, most: int) -> None:
    while trial.post.allowed < most:
        trial.post.allowed += 1
        await asyncio.sleep(DRIP_SECONDS)


@asynccontextmanager
async def tried(
    kafka: LocalKafka, folder: Path, *, seed: int, batches: int = BATCHES, **changes: Any
) -> AsyncIterator[Trial]:
    """Set up a trial on a broker of its own; ``changes`` are settings of the workers."""
    bootstrap = kafka.status().bootstrap
    assert bootstrap is not None, "the broker does not run"
    async with own_topics(bootstrap, folder, partitions=PARTITIONS) as settings:
        post = DisorderlyPost(settings, seed=seed, latency=LATENCY_SECONDS)
        own: dict[str, Any] = {"max_concurrent_comparisons": 4, **changes}
        async with staged_with(post, settings, folder, app="kills.rigged", **own) as stage:
            trial = Trial(stage, post, kafka, History(folder / "history.jsonl"), seed=seed, batches=batches)
            supervision = asyncio.create_task(trial.supervise())
            try:
                yield trial
            finally:
                supervision.cancel()
                with suppress(asyncio.CancelledError):
                    await supervision

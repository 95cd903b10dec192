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
from own_topics import own_topics
from stage import staged_with

from cj_stream.devkit.kafka import LocalKafka

WORKERS = 3
PARTITIONS = 8
BATCHES = 42
LATENCY_SECONDS = 0.1

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
        # Half of a step comes before the wave, the other half while it happens.
        step = trial.total // (len(waves) + 1)
        trial.post.allowed = min(max(step * (number + 1), trial.applied + step), trial.total - 1)
        await trial.ask(trial.post.allowed + 2 * step)
        await trial.progress(trial.post.allowed - step // 2)
        trial.history.note("wave", faults=[str(fault) for fault in wave])
        await asyncio.gather(*(fault.happen(trial) for fault in wave))
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

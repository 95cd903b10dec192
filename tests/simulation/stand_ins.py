"""Puts the models in the place of what the worker would build or ask for itself, while simulations run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from uuid import UUID

import structlog
from simulation.clock_loop import ProcessEnded
from simulation.decisions import CheckedBatches
from simulation.disk import MemoryBatch, SimTable
from simulation.faust_model import SimApp
from simulation.plan import BREAKER_SECONDS
from simulation.world import World, owner

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import Event
from cj_stream.domain.todo import Effect, Submit
from cj_stream.effects.carry_out import Effects
from cj_stream.operations.metrics import Metrics
from cj_stream.provider.breakers import Breakers
from cj_stream.provider.prompts import JudgingInstructions, judging
from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Fit

FITS_KEPT = 256

METRICS = Metrics(dict, dict, dict)
"""The real metrics, the same for all processes: making them takes longer than the rest of a worker."""


class CheckedEffects(Effects):
    """The real effects; that they may start is checked."""

    submitting = 0

    async def __call__(self, effect: Effect, batch: Batch, partition: int) -> Event:
        World.current.checks.effect(owner(), effect, batch, partition)
        submits = isinstance(effect, Submit)
        self.submitting += submits
        World.current.checks.pool(owner(), self.submitting)
        try:
            return await super().__call__(effect, batch, partition)
        finally:
            self.submitting -= submits


class _Outside:
    """Stands in for the clients of the content service and the provider."""

    trouble: str | None = None

    def __init__(self, *_: Any, **__: Any) -> None:
        self._process = owner()
        self.breakers = Breakers(_now, _now, failures_to_open=5, recovery_seconds=BREAKER_SECONDS)

    async def text(self, storage_id: str) -> str:
        return await World.current.provider.text(storage_id)

    def forget(self, unused_seconds: float) -> None:
        """Nothing is held."""

    async def submit(self, submission: Any) -> Any:
        return await World.current.provider.submit(self._process, self.breakers, submission)

    def judging(self, _overrides: Any, task: str | None) -> JudgingInstructions:
        return judging(task=task, rubric=None, provider="p", model="m", temperature=0.0)

    async def cancel_run(self, job_id: str) -> None:
        await World.current.provider.cancel_run(self._process, job_id)

    async def close(self) -> None:
        """Nothing is open."""


class _Watchdog:
    """Stands in for the watchdog: a thread, and in virtual time nothing hangs unseen."""

    def __init__(self, *_: Any) -> None:
        """Watch nothing."""

    def __getattr__(self, _name: str) -> Callable[[], None]:
        return lambda: None


_fits: dict[tuple[int, bytes, bytes, bytes], Fit] = {}


def _remembered_fit(data: Comparisons, *, position: bool) -> Fit:
    """Fit as `map_estimate` does: the same verdicts are fitted for planning, for scoring and for the known result."""
    key = (data.n, data.first.tobytes(), data.second.tobytes(), data.first_wins.tobytes())
    if key not in _fits:
        if len(_fits) > FITS_KEPT:
            _fits.clear()
        _fits[key] = map_estimate(data, position=position)
    return _fits[key]


def _now(*_: object) -> float:
    return World.current.scheduler.clock.now


def _exit(code: int) -> None:
    process = owner()
    World.current.history.note(process.name, f"ends itself with {code}")
    raise ProcessEnded(code)


async def _to_thread(function: Callable[..., Any], *args: Any) -> Any:
    await asyncio.sleep(World.current.chance.random() * 0.05)
    return function(*args)


async def _turn(_seconds: float) -> None:
    """Let others run between the records of a run; now and then they take their time."""
    await asyncio.sleep(World.current.chance.choice((0, 0, 0, 0.02)))


async def _nothing(*_: Any) -> None:
    """Do nothing."""


async def _no_limits(*_: Any) -> dict[str, int]:
    return {}


def _logged(_logger: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    loop = asyncio._get_running_loop()
    who = loop.owner.name if loop is not None else "-"  # type: ignore[attr-defined]
    what = event.pop("event")
    World.current.history.note(who, f"{what} " + " ".join(f"{name}={value}" for name, value in event.items()))
    # What guards a block against everything sees the end of the process pass too; a real one would see nothing.
    ending = isinstance(event.get("exc_info"), ProcessEnded)
    if (level == "exception" or "exc_info" in event) and not ending:
        World.current.history.violated("no unexpected exception", f"{who}: {what} {event}")
    raise structlog.DropEvent


REPLACED: dict[str, Any] = {
    "cj_stream.engine.app.HardenedApp": lambda *built_with: SimApp(owner(), *built_with),
    "cj_stream.engine.hardening.Table": SimTable,
    "cj_stream.worker.ContentClient": _Outside,
    "cj_stream.worker.ProviderClient": _Outside,
    "cj_stream.worker.Effects": CheckedEffects,
    "cj_stream.worker.PartitionBatches": CheckedBatches,
    "cj_stream.worker.Metrics": lambda *_: METRICS,
    "cj_stream.engine.hardening.Watchdog": _Watchdog,
    "cj_stream.worker.Reachability": lambda *_: SimpleNamespace(knock=_nothing),
    "cj_stream.engine.hardening.LocalStore": lambda *_: owner().node.disk,
    "cj_stream.worker.pages": lambda _: ({}, {}),
    "cj_stream.engine.app.serve_pages": lambda *_: None,
    "cj_stream.engine.app.check_codecs": lambda: None,
    "cj_stream.engine.app.check_topics": _nothing,
    "cj_stream.engine.app.check_changelog": _nothing,
    "cj_stream.engine.app.check_shared_input": _nothing,
    "cj_stream.worker.topic_limits": _no_limits,
    "cj_stream.worker.recall": _nothing,
    "cj_stream.engine.app.claim": _nothing,
    "cj_stream.engine.hardening.time": SimpleNamespace(time=_now),
    "cj_stream.effects.patience.time": SimpleNamespace(monotonic=_now),
    "cj_stream.agents.callbacks.time": SimpleNamespace(time=_now),
    "cj_stream.engine.fence.time": SimpleNamespace(clock_gettime=_now, CLOCK_MONOTONIC=1),
    "cj_stream.engine.runs.PORTION_BYTES": 1,
    "cj_stream.engine.runs.asyncio": SimpleNamespace(sleep=_turn),
    "cj_stream.engine.process.os": SimpleNamespace(_exit=_exit),
    "cj_stream.engine.opening.uuid4": lambda: UUID(int=World.current.chance.getrandbits(128)),
    "cj_stream.domain.admission.REFUSALS_KEPT": 2,
    "cj_stream.domain.admission.JOINED_LIMIT": 2,
    "cj_stream.engine.overrides.table.WriteBatch": MemoryBatch,
    "cj_stream.domain.computations.map_estimate": _remembered_fit,
    "asyncio.to_thread": _to_thread,
}


@contextmanager
def stand_ins() -> Iterator[None]:
    """Have `cj_stream` run in the simulation's world."""
    logging = structlog.get_config()
    with ExitStack() as stack:
        for name, model in REPLACED.items():
            stack.enter_context(patch(name, model))
        CheckedBatches.world = lambda: World.current
        structlog.configure(processors=[_logged], cache_logger_on_first_use=False)
        try:
            yield
        finally:
            structlog.configure(**logging)

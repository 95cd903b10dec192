"""Effects for a dispatcher under test, carried out when the test says so."""

from __future__ import annotations

import asyncio

from support.domain.story import BATCH, Story, requested
from support.engine.until import until

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import ContentLoaded, Event, SubmissionAccepted
from cj_stream.domain.policy import Policy
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Submit
from cj_stream.effects.batch_work import BatchWork
from cj_stream.engine.dispatcher import Dispatcher

PARTITION = 3
LONG = 3600.0


class World:
    """Carries out effects when the test says so, and keeps the log that reports go to."""

    def __init__(self) -> None:
        self.started: list[Effect] = []
        self.log: list[Event] = []
        self.running: dict[Effect, asyncio.Future[None]] = {}
        self.cancelled: list[Effect] = []
        self.most = 0

    async def execute(self, effect: Effect, _batch: Batch, _partition: int) -> Event:
        self.started.append(effect)
        gate = self.running[effect] = asyncio.get_running_loop().create_future()
        self.most = max(self.most, len(self.running))
        try:
            await gate
        except asyncio.CancelledError:
            self.cancelled.append(effect)
            raise
        finally:
            if self.running.get(effect) is gate:
                del self.running[effect]
        return report(effect)

    async def report(self, _partition: int, event: Event) -> int:
        self.log.append(event)
        return len(self.log) - 1

    async def finish(self, *effects: Effect) -> None:
        """Let these effects succeed, all that are running if none is named."""
        for effect in effects or tuple(self.running):
            self.running[effect].set_result(None)
        expected = len(self.log) + len(effects or self.running)
        await until(lambda: len(self.log) >= expected)
        await idle()

    async def fail(self, effect: Effect, error: Exception) -> None:
        self.running[effect].set_exception(error)
        await until(lambda: effect not in self.running)
        await idle()


def report(effect: Effect) -> Event:
    if isinstance(effect, Submit):
        return SubmissionAccepted(batch_id=effect.batch_id, run=effect.run, index=effect.index, attempt=effect.attempt)
    return ContentLoaded(batch_id=effect.batch_id, run=effect.run)


async def idle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def dispatcher(world: World, workers: int = 100) -> Dispatcher[Batch, Effect, Event]:
    return Dispatcher(BatchWork(workers), world.execute, world.report)


def waiting(essays: int = 4, batch_id: str = BATCH, policy: Policy | None = None) -> Batch:
    """A batch whose pairs are to be submitted."""
    story = Story(policy)
    story.tell(requested(essays, batch_id=batch_id))
    story.carry_out(LoadContent, PlanPairs)
    (batch,) = story.batches
    return batch


def new(batch_id: str = BATCH) -> Batch:
    """A batch whose texts are to be loaded."""
    story = Story()
    story.tell(requested(3, batch_id=batch_id))
    (batch,) = story.batches
    return batch


def indexes(effects: list[Effect]) -> list[int]:
    return [effect.index for effect in effects if isinstance(effect, Submit)]

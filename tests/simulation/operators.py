"""Operators: their commands go to the worker that serves the batch, as from its web view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulation.plan import batch_name

from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.engine.partitioning import home_partition

if TYPE_CHECKING:
    from simulation.world import World


class Operators:
    """Gives the commands of a plan. ``commanded`` are the batch ids that one was sent for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.commanded: set[str] = set()
        for at, action in world.plan.commands:
            world.scheduler.after(at, self._command, action)

    def _command(self, action: Action) -> None:
        batch_id = batch_name(self._world.chance.randrange(len(self._world.plan.sizes)))
        home = home_partition(batch_id, self._world.settings.partitions)
        for process in self._world.living():
            if home in process.worker.engine.opener.opened_at and not process.frozen:
                self._world.history.note("operator", f"{action} {batch_id}")
                self.commanded.add(batch_id)
                command = OperatorCommand(batch_id=batch_id, action=action, reason="because")
                process.loop.call_soon(process.worker.engine.forwarder.forward, home, command)

"""Whether anybody serves at all: the truth that no batch may be timed out for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulation.world import World


class Service:
    """Knows when all workers were gone or frozen, or the broker was away, for longer than a session."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._down_since: float | None = world.scheduler.clock.now
        self._back_at: list[float] = []

    def look(self) -> None:
        """A process has started, ended, been frozen or continued, or the broker has come or gone."""
        now = self._world.scheduler.clock.now
        up = not self._world.broker.away and any(not process.frozen for process in self._world.living())
        if not up:
            self._down_since = now if self._down_since is None else self._down_since
        elif self._down_since is not None:
            if now - self._down_since > self._world.settings.session_timeout_seconds:
                self._back_at.append(now)
            self._down_since = None

    def up_since(self, at: float) -> float:
        """Return since when somebody had served, at that time."""
        return max((back for back in self._back_at if back <= at), default=0.0)

"""The fence: a worker that was out of touch with its group stops before it writes anything stale.

Hazard in Faust 0.15.3: a worker that was stopped and continues (SIGSTOP, a frozen machine) handles its queued events
and produces, although its partitions belong to somebody else by then; at-least-once producers are not fenced.

Tests: ``test_fence.py``, ``test_sender.py`` (nothing is sent by a worker that the group may have dropped); the mutation
"a worker out of touch goes on" in ``tests/simulation``; a frozen worker in ``tests/kafka/test_lost_workers.py``.
"""

from __future__ import annotations

import time

from cj_stream.engine.process import end_process


def now() -> float:
    """Return a clock, in seconds, that goes on while the machine is suspended."""
    # CLOCK_BOOTTIME counts the time a machine was suspended; where it does not exist, monotonic is the best there is.
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Fence:
    """Remembers the last sign that the group coordinator knows this worker. Written by the consumer's thread."""

    def __init__(self, session_timeout: float) -> None:
        self.session = session_timeout
        self.limit = session_timeout / 2
        self._contact = now()

    def contact(self, at: float) -> None:
        """Record that the group answered a request that was sent ``at`` (by `now`)."""
        self._contact = at

    @property
    def silence(self) -> float:
        """Seconds since the last contact."""
        return now() - self._contact

    def check(self) -> None:
        """End the process when the group may already have given our partitions away."""
        if self.silence > self.limit:
            end_process("no heartbeat for half a session: the partitions may belong to another worker", **self._facts())

    def _facts(self) -> dict[str, float]:
        return {"silent_seconds": round(self.silence, 2), "limit_seconds": self.limit}

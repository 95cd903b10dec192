"""Who may call now: a line for each provider and model, with its budget, its breaker and its pause.

A call that may be made holds one of the places of its line until the broker has its answer. So after a kill at most
that many calls of a line are made again, and one provider that hangs takes no places of another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog

from cj_stream.gateway.fairness import FairQueue
from cj_stream.gateway.judges import Limits
from cj_stream.gateway.limiter import Limiter
from cj_stream.provider.breaker import BreakerState, CircuitBreaker

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
"""A line that waits looks at its limits this often: they may have changed, and so may our share."""


class GivenUpError(Exception):
    """The wait is over without a turn: the job is not ours any more, or needs no call."""


class Budget(NamedTuple):
    """What a line may use now: ``share`` of ``limits``, and nothing before ``paused_seconds`` have passed."""

    limits: Limits
    share: float
    paused_seconds: float = 0.0
    why: str = ""


class LineSettings(NamedTuple):
    """``at_once`` calls of a line are under way at once; a breaker opens after so many failures, for so long."""

    at_once: int
    failures_to_open: int
    recovery_seconds: float


@dataclass(eq=False)
class Turn:
    """A call that waits to be made, or is being made. ``tokens`` is the estimate that is reserved for it."""

    job_id: str
    partition: int
    batch: str
    priority: int
    tokens: float
    may_go: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Line:
    """The calls of one provider and model."""

    def __init__(
        self, scope: str, settings: LineSettings, budget: Callable[[], Budget], clock: Callable[[], float]
    ) -> None:
        self.scope = scope
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._limiter = Limiter(clock())
        self._known = Budget(Limits(), 0.0)
        self._breaker = CircuitBreaker(
            clock, failures_to_open=settings.failures_to_open, recovery_seconds=settings.recovery_seconds
        )
        self._waiting = FairQueue[Turn]()
        self._turns: dict[str, Turn] = {}
        """What waits, by job; in the queue may lie what waits no longer."""
        self._calling: dict[str, Turn] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def breaker(self) -> BreakerState:
        """The state of the breaker."""
        return self._breaker.state

    @property
    def calling(self) -> int:
        """How many calls hold a place."""
        return len(self._calling)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._turns)

    @property
    def known(self) -> Budget:
        """The budget as it was when the line looked last."""
        return self._known

    def minutes_for(self, calls: int) -> float | None:
        """Return how long so many calls take at the least, in minutes; None without a limit of requests."""
        requests = self._known.limits.requests_per_minute
        return calls / requests if requests else None

    async def wait(self, turn: Turn) -> None:
        """Return when a call may be made: until `release` it holds a place. Raises `GivenUpError`."""
        self._turns[turn.job_id] = turn
        self._waiting.put(turn.batch, turn, turn.priority)
        self.look()
        try:
            await turn.may_go
        except BaseException:
            self._turns.pop(turn.job_id, None)
            self.release(turn.job_id)
            raise

    def give_up_job(self, job_id: str) -> None:
        """End the wait of a job that needs no call any more."""
        if (turn := self._turns.get(job_id)) is not None:
            _give_up(turn)
            self.look()

    def give_up_partitions(self, partitions: Collection[int]) -> None:
        """End the wait of the jobs of partitions that are given up."""
        for turn in self._turns.values():
            if turn.partition in partitions:
                _give_up(turn)
        self.look()

    def release(self, job_id: str) -> None:
        """Give back the place of a call, whatever became of it."""
        if self._calling.pop(job_id, None) is not None:
            self.look()

    def answered(self, turn: Turn, tokens: float | None) -> None:
        """Note that the endpoint answered, and what the call used, if it told."""
        if tokens is not None:
            self._limiter.settle(turn.tokens, tokens, self._clock())
        if self._breaker.state is not BreakerState.CLOSED:
            log.info("breaker closed: the provider answers again", scope=self.scope)
        self._breaker.succeeded()

    def failed(self, why: str) -> None:
        """Note that the endpoint did not answer."""
        before = self._breaker.state
        self._breaker.failed()
        if self._breaker.state is BreakerState.OPEN and before is not BreakerState.OPEN:
            seconds = self._settings.recovery_seconds
            log.warning("breaker opened: the provider is left alone", scope=self.scope, seconds=seconds, why=why)

    def abandoned(self, turn: Turn) -> None:
        """Note that a call was not made, or told nothing of the endpoint."""
        self._limiter.settle(turn.tokens, 0, self._clock())
        self._breaker.abandoned()

    def look(self) -> None:
        """Let everybody go who may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while (turn := self._head()) is not None and len(self._calling) < self._settings.at_once:
            seconds = self._seconds(turn)
            if seconds > 0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(min(max(seconds, 0.001), LOOK_SECONDS), self.look)
                return
            self._waiting.pop(self._limiter.cost(turn.tokens))
            self._limiter.take(turn.tokens, self._clock())
            del self._turns[turn.job_id]
            self._calling[turn.job_id] = turn
            turn.may_go.set_result(None)

    def _head(self) -> Turn | None:
        while (turn := self._waiting.head()) is not None and turn.may_go.done():
            self._waiting.pop(0)
        return turn

    def _seconds(self, turn: Turn) -> float:
        """Return how long the first in the line has to wait; 0 when it may go, as the probe of an open breaker too."""
        known, now = self._budget(), self._clock()
        if known[:2] != self._known[:2]:
            self._limiter.set(known.limits, known.share, now)
        self._known = known
        seconds = max(known.paused_seconds, self._limiter.wait(turn.tokens, now))
        if seconds > 0:
            return seconds
        was_half_open = self._breaker.state is BreakerState.HALF_OPEN
        refused = self._breaker.admit()
        if was_half_open and refused == 0:
            log.info("breaker probes: one call is made", scope=self.scope)
        return refused


class Lines:
    """The lines of a gateway, made when they are needed; ``budget`` tells what a scope may use now."""

    def __init__(self, settings: LineSettings, budget: Callable[[str], Budget], clock: Callable[[], float]) -> None:
        self._settings = settings
        self._budget = budget
        self._clock = clock
        self._lines: dict[str, Line] = {}

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def of(self, scope: str) -> Line:
        """Return the line of a provider and model."""
        if scope not in self._lines:
            self._lines[scope] = Line(scope, self._settings, lambda: self._budget(scope), self._clock)
        return self._lines[scope]

    def release(self, job_id: str) -> None:
        """Give back the place of a job's call, if it holds one."""
        for line in self:
            line.release(job_id)

    def give_up_job(self, job_id: str) -> None:
        """End the wait of a job that needs no call any more."""
        for line in self:
            line.give_up_job(job_id)

    def give_up_partitions(self, partitions: Collection[int]) -> None:
        """End the wait of the jobs of partitions that are given up."""
        for line in self:
            line.give_up_partitions(partitions)


def _give_up(turn: Turn) -> None:
    if not turn.may_go.done():
        turn.may_go.set_exception(GivenUpError())

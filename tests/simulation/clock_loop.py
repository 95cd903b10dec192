"""Event loops in virtual time: one for each simulated process, stepped one callback at a time by a seeded scheduler.

A process that is killed is simply never stepped again, so no `finally` runs, as after kill -9; one that is frozen is
not stepped for a while. Whatever is not a worker (broker, provider, faults) happens as an event of the scheduler.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

BURSTS = (1, 1, 2, 4, 16)
"""Steps that a process makes before another one has its turn, unless it has nothing left to do."""


class ProcessEnded(SystemExit):
    """The simulated process has ended itself."""


class Clock:
    """The one clock of a simulation, in seconds since the epoch."""

    def __init__(self, start: float) -> None:
        self.now = start

    def time(self) -> float:
        return self.now


class NumberedTask(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks then have the same order in every run."""

    _numbers = itertools.count()

    def __init__(self, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = next(self._numbers)
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class ClockLoop(asyncio.AbstractEventLoop):
    """An event loop that runs one callback per `step`. ``on_exception`` hears what no callback has caught."""

    def __init__(self, clock: Clock, on_exception: Callable[[dict[str, Any]], None]) -> None:
        self._clock = clock
        self._on_exception = on_exception
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self.tasks: list[asyncio.Task[Any]] = []
        self.owner: Any = None
        self.after_step: Callable[[], None] = lambda: None
        self.stopped = False
        """Whether the process is frozen or dead."""
        self.slowness = 0.0
        """Seconds that a burst of steps takes at most."""
        self.busy_until = 0.0

    # --- What asyncio needs --------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._clock.now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(  # type: ignore[override]  # of any callback: a type variable tuple says no more
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # as above

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._clock.now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: a cancelled timer is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task = NumberedTask(coro, loop=self, name=name, context=context)
        self.tasks.append(task)
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self._on_exception(context)

    # --- What the scheduler needs --------------------------------------------------------------------------------

    @property
    def runnable(self) -> bool:
        """Whether a step can be made now."""
        if self.stopped or self.busy_until > self._clock.now:
            return False
        while self._timers and self._timers[0][0] <= self._clock.now:
            self._ready.append(heapq.heappop(self._timers)[2])
        return bool(self._ready)

    @property
    def next_timer(self) -> float | None:
        """When the next timer of a running process fires."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if self.stopped:
            return None
        if self._ready:
            return self.busy_until
        return max(self._timers[0][0], self.busy_until) if self._timers else None

    def step(self) -> None:
        """Run one callback. Raises `ProcessEnded` when it ends the process."""
        handle = self._ready.popleft()
        if not handle.cancelled():
            asyncio._set_running_loop(self)
            try:
                handle._run()
            finally:
                asyncio._set_running_loop(None)

    def discard(self) -> None:
        """Cancel what is left, so that nothing of it complains when it is collected."""
        self._on_exception = lambda _: None
        for task in self.tasks:
            task.cancel()
        self._timers.clear()
        while self._ready:
            try:
                self.step()
            except ProcessEnded:
                continue
        for task in self.tasks:
            if task.done() and not task.cancelled():
                task.exception()
            task._log_destroy_pending = False  # type: ignore[attr-defined]


class Scheduler:
    """Chooses, with the seed's randomness, which process makes the next step, and moves the clock on when none can."""

    def __init__(self, chance: random.Random, start: float) -> None:
        self.chance = chance
        self.clock = Clock(start)
        self.steps = 0
        self.stepping: Any = None
        self._loops: list[ClockLoop] = []
        self._events: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def add(self, loop: ClockLoop) -> None:
        """Step ``loop`` from now on."""
        self._loops.append(loop)

    def remove(self, loop: ClockLoop) -> None:
        """Never step ``loop`` again."""
        loop.stopped = True
        self._loops = [other for other in self._loops if other is not loop]

    def after(self, delay: float, action: Callable[..., object], *args: Any) -> None:
        """Have ``action`` happen outside all processes."""
        heapq.heappush(self._events, (self.clock.now + delay, next(self._order), action, args))

    def advance(self) -> bool:
        """Make some steps in one process, or move the clock to the next moment; return whether anything is left."""
        if self._events and self._events[0][0] <= self.clock.now and self.chance.random() < 0.5:
            self._happen()
            return True
        runnable = [loop for loop in self._loops if loop.runnable]
        if runnable:
            self._step(runnable[0] if len(runnable) == 1 else self.chance.choice(runnable))
            return True
        if self._events and self._events[0][0] <= self.clock.now:
            self._happen()
            return True
        moments = [moment for loop in self._loops if (moment := loop.next_timer) is not None]
        if self._events:
            moments.append(self._events[0][0])
        if not moments:
            return False
        self.clock.now = max(self.clock.now, min(moments))
        return True

    def _happen(self) -> None:
        _, _, action, args = heapq.heappop(self._events)
        action(*args)

    def _step(self, loop: ClockLoop) -> None:
        self.stepping = loop
        for _ in range(self.chance.choice(BURSTS)):
            self.steps += 1
            loop.step()
            loop.after_step()
            if not loop.runnable:
                break
        if loop.slowness:
            loop.busy_until = self.clock.now + self.chance.random() * loop.slowness

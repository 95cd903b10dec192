"""The watchdog: a thread of its own that ends a process in which something stands still.

Hazards in Faust 0.15.3: heartbeats run in the consumer's thread, so a worker whose main thread hangs stays a member of
its group for ever. A commit that is stuck behind a lost acknowledgement (upstream issue 596), and a recovery that waits
for a record which has been compacted away (176, 597, 651), are at best logged.

It ends the process when an event loop does not turn; when it did not turn and the group was silent meanwhile, so that
the partitions may have gone to others; when the committed offset of a partition with unread messages does not move;
when a rebalance, a recovery or an opening makes no step; and when a stop takes too long. A broker that is away is no
reason: only what is seen to stand still counts (`progress`). One that answers others, but not this worker, is a reason
(`cluster`).

Tests: ``test_watchdog.py``, of the units and on a real broker.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import faulthandler
import threading
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka.errors import KafkaError

from cj_stream.engine.cluster import Cluster
from cj_stream.engine.fence import Fence, now
from cj_stream.engine.overrides.frames import stack_of
from cj_stream.engine.overrides.sight import Eye, Sight
from cj_stream.engine.process import end_process
from cj_stream.engine.standstill import Standstill

POLL_SECONDS = 1.0
LOOK_SECONDS = 5.0
AWAY_LOG_SECONDS = 30.0
OPENING = "opening"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Limits:
    """For how many seconds something may stand still before the process ends."""

    loop: float
    partition: float
    opening: float
    stop: float


@dataclass
class WatchedLoop:
    """An event loop, the thread it runs in, and when it turned last."""

    name: str
    loop: asyncio.AbstractEventLoop
    thread: int
    turned_at: float

    def ping(self) -> None:
        """Ask the loop to say that it turns; one that was closed in order needs not."""
        if self.loop.is_closed():
            self._turned()
        else:
            self.loop.call_soon_threadsafe(self._turned)

    def stack(self) -> str:
        """Return where the loop's thread is now."""
        return stack_of(self.thread)

    def _turned(self) -> None:
        self.turned_at = now()


class Watchdog(threading.Thread):
    """Watches one worker, from `start` in its main thread to `end`."""

    def __init__(self, limits: Limits, fence: Fence, eye: Eye, cluster: Cluster) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._limits = limits
        self._fence = fence
        self._eye = eye
        self._cluster = cluster
        self._silence: BaseException | None = None
        self._poll = min(POLL_SECONDS, fence.limit / 4, limits.loop / 4, limits.partition / 4)
        self._ended = threading.Event()
        self._loops: list[WatchedLoop] = []
        self._turning = Standstill[str](3 * self._poll)
        self._partitions = Standstill[Any](3 * LOOK_SECONDS)
        self._opening = Standstill[str](3 * LOOK_SECONDS)
        self._looking: concurrent.futures.Future[Sight] | None = None
        self._looked_at = self._answered_at = self._complained_at = self._ready_at = self._told_at = now()
        self._sight: Sight | None = None
        self._stopping_since: float | None = None

    def watch_loop(self) -> None:
        """Watch the running loop too, in the thread that calls this."""
        loop, name = asyncio.get_running_loop(), threading.current_thread().name
        self._loops.append(WatchedLoop(name, loop, threading.get_ident(), now()))

    def stopping(self) -> None:
        """From now on only the time that the stop takes is watched."""
        self._stopping_since = now()

    def end(self) -> None:
        """Watch no longer."""
        self._ended.set()
        faulthandler.cancel_dump_traceback_later()

    def run(self) -> None:
        """Watch until `end`."""
        try:
            while not self._ended.wait(self._poll):
                # Should even this thread not get to run, or not get to log, the process ends all the same.
                faulthandler.dump_traceback_later(3 * self._limits.loop, exit=True, file=2)
                self.check(now())
        except Exception as error:
            log.exception("the watchdog failed")
            end_process("nobody watches this worker any more", error=repr(error))

    def check(self, at: float) -> None:
        """Look at everything once."""
        self._check_loops(at)
        if self._stopping_since is not None:
            self._check_stop(at - self._stopping_since)
            return
        self._see(at)
        if self._silence is not None:
            self._cluster.silent(at, self._silence)
        self._check_partitions()
        self._check_opening()

    def why_stuck(self) -> str | None:
        """Return what has stood still for half the time after which the process ends, None if nothing has."""
        if self.ident is not None and not self.is_alive():
            return "the watchdog has ended"
        for tp, seconds in self._partitions.seconds.items():
            if seconds > self._limits.partition / 2:
                return (
                    f"partition {tp.partition} of {tp.topic} has unread messages and has not moved for {seconds:.0f} s"
                )
        seconds = self._opening.seconds.get(OPENING, 0.0)
        if seconds > self._limits.opening / 2:
            return f"taking over the partitions has made no step for {seconds:.0f} s"
        return None

    def _check_loops(self, at: float) -> None:
        # Another thread may begin to be watched meanwhile.
        loops = tuple(self._loops)
        self._turning.observe(at, {loop.name: loop.turned_at for loop in loops})
        for loop in loops:
            still = at - loop.turned_at
            # Whoever sends asks the fence, which is stricter; this ends what would not even get there.
            if min(still, self._fence.silence) > self._fence.session:
                end_process(
                    "the process stood still, and the partitions may belong to another worker by now",
                    loop=loop.name,
                    seconds=round(still, 2),
                    silent_seconds=round(self._fence.silence, 2),
                )
            if self._turning.seconds[loop.name] > self._limits.loop:
                end_process(
                    "an event loop does not turn",
                    loop=loop.name,
                    seconds=round(still, 2),
                    stack=loop.stack(),
                )
            loop.ping()

    def _check_stop(self, seconds: float) -> None:
        if seconds > self._limits.stop:
            end_process("the worker could not stop in order in time", seconds=round(seconds, 1))

    def _see(self, at: float) -> None:
        if self._looking is None:
            if at - self._looked_at >= min(LOOK_SECONDS, self._limits.partition / 4):
                self._looked_at = at
                self._looking = self._eye.look()
        elif self._looking.done():
            looking, self._looking = self._looking, None
            try:
                self._seen(at, looking.result())
            except (KafkaError, OSError, TimeoutError, concurrent.futures.CancelledError) as error:
                self._blind(at, error)

    def _seen(self, at: float, sight: Sight) -> None:
        if self._complained_at > self._answered_at:
            log.info("Kafka answers again", after_seconds=round(at - self._answered_at))
        self._answered_at, self._sight = at, sight
        self._silence = None
        self._cluster.answered(at)
        self._partitions.observe(at, {tp: lag.committed for tp, lag in sight.lags.items()} if sight.ready else {})
        self._opening.observe(at, {} if sight.ready else {OPENING: sight.standing})
        self._tell_of_waiting(at, sight)

    def _tell_of_waiting(self, at: float, sight: Sight) -> None:
        if sight.ready:
            self._ready_at = self._told_at = at
        elif at - self._told_at >= AWAY_LOG_SECONDS:
            self._told_at = at
            log.warning(
                "not all partitions are served yet: they are distributed, recovered or opened",
                for_seconds=round(at - self._ready_at),
                recovering=dict(sight.recovering),
            )

    def _blind(self, at: float, error: BaseException) -> None:
        self._silence = error
        self._partitions.lose_sight()
        self._opening.lose_sight()
        if self._complained_at <= self._answered_at or at - self._complained_at >= AWAY_LOG_SECONDS:
            self._complained_at = at
            log.warning(
                "Kafka does not answer: nothing is read, committed or started until it does",
                for_seconds=round(at - self._answered_at),
                why=repr(error),
            )

    def _check_partitions(self) -> None:
        for tp, seconds in self._partitions.seconds.items():
            if seconds > self._limits.partition and self._sight is not None:
                lag = self._sight.lags[tp]
                end_process(
                    "a partition has unread messages and its committed offset does not move",
                    topic=tp.topic,
                    partition=tp.partition,
                    committed=lag.committed,
                    end=lag.end,
                    seconds=round(seconds, 1),
                )

    def _check_opening(self) -> None:
        seconds = self._opening.seconds.get(OPENING, 0.0)
        if seconds > self._limits.opening and self._sight is not None:
            end_process(
                "taking over the partitions makes no step: a rebalance, a recovery or the opening markers hang",
                seconds=round(seconds, 1),
                recovering=dict(self._sight.recovering),
                unread={
                    f"{tp.topic}-{tp.partition}": f"{lag.committed} of {lag.end}"
                    for tp, lag in self._sight.lags.items()
                },
            )

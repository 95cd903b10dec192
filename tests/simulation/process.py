"""A simulated worker process: the real worker, started, assigned, revoked, stopped, killed, frozen and continued."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from faust.types import TP
from simulation.broker import Broker, Record, SimProducer
from simulation.clock_loop import ClockLoop, ProcessEnded
from simulation.disk import Disk
from simulation.faust_model import SimApp, SimConsumer, Stream
from simulation.group import Share
from simulation.recovery_model import CATCHING_UP, LONGEST_RUN, SimRecovery

from cj_stream.engine.overrides.drain import RunMessage
from cj_stream.engine.runs import Run
from cj_stream.worker import Worker

if TYPE_CHECKING:
    from simulation.world import World

SLOWEST_STANDBY = 0.3
"""Seconds after which at most a standby gets what was written."""


class Node:
    """A machine that runs one process at a time and starts it again when it ends, until it is to stay down."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.disk = Disk()
        self.process: Process | None = None
        self.incarnations = 0
        self.wanted = True


class Process:
    """One process of a worker."""

    def __init__(self, world: World, node: Node) -> None:
        node.incarnations += 1
        self.name = f"{node.name}.{node.incarnations}"
        self.world = world
        self.node = node
        self.broker = world.broker
        self.heartbeat = world.settings.heartbeat_seconds
        # It has what the service calls, and of the rest of a loop nothing.
        self.loop = ClockLoop(world.scheduler.clock, self._unexpected)  # type: ignore[abstract]
        self.loop.owner = self
        self.producer = SimProducer(world.scheduler, world.broker, self.loop, world.plan.slowest_append)
        self.consumer = SimConsumer(self)
        self.dead = self.frozen = self.stopping = self.waits = False
        self.on_thaw: list[Callable[[], None]] = []
        self.idle = asyncio.Event()
        self.doom: tuple[int, Callable[[], None]] | None = None
        self._revoking: asyncio.Task[Any] | None = None
        self._recovering: asyncio.Task[Any] | None = None
        self._fetching = self._fetching_changelogs = False
        self._streams: dict[str, Stream] = {}
        self.worker: Worker = world.build(self)
        self.app: SimApp = self.worker.engine.faust
        self.consumer.app = self.app
        self.recovery = SimRecovery(self.app)
        self.producer.cause = lambda partition: self.app.table.causes[partition].popleft()
        self.producer.refusal = world.refusal
        self.spawn(self._main())

    def __repr__(self) -> str:
        return self.name

    # --- Life ----------------------------------------------------------------------------------------------------

    async def _main(self) -> None:
        await self.app.on_first_start()
        for topic, agent in self.app.agents_by_topic.items():
            stream = self._streams[topic] = Stream(self)
            self.spawn(agent(stream))
        for interval, run in self.app.timers:
            self.spawn(self._timer(interval, run))
        self.spawn(self._commits())
        self.waits = True
        self.world.group.join(self)

    def terminate(self) -> None:
        """SIGTERM."""
        if not self.dead and not self.stopping:
            self.stopping = True
            self.world.history.note(self.name, "is told to stop")
            self.loop.call_soon(lambda: self.spawn(self._stop()))

    async def _stop(self) -> None:
        if self._revoking is not None:
            await self._revoking
        await self.app.stop()
        self.world.history.note(self.name, f"stopped, clean: {self.node.disk.clean}")
        self.world.group.leave(self)
        raise ProcessEnded(0)

    async def stop_reading(self) -> None:
        """What Faust does first when it stops: nothing more is delivered, what is being handled ends, last commit."""
        self._stop_recovery()
        await self._drain()

    def kill(self) -> None:
        """SIGKILL: no step is made any more."""
        if not self.dead:
            self.world.history.note(self.name, "is killed")
            self.ended()

    def ended(self) -> None:
        """The process is no more."""
        self.dead = True
        lost = self.producer.die()
        if lost:
            self.world.history.note(self.name, f"{lost} records were not sent")
        self.world.torn |= not self.node.disk.clean
        self.world.scheduler.remove(self.loop)
        self.world.group.silent(self)
        self.world.process_ended(self)

    def freeze(self) -> None:
        """SIGSTOP."""
        if not self.dead and not self.frozen:
            self.world.history.note(self.name, "is stopped (frozen)")
            self.frozen = self.loop.stopped = True
            self.world.service.look()
            self.producer.freeze()
            self.world.group.silent(self)

    def thaw(self) -> None:
        """SIGCONT."""
        if not self.dead and self.frozen:
            self.world.history.note(self.name, "is continued")
            self.frozen = self.loop.stopped = False
            self.world.service.look()
            self.producer.thaw()
            thawed, self.on_thaw = self.on_thaw, []
            for action in thawed:
                self.world.scheduler.after(self.world.chance.random() * 0.05, action)

    def stepped(self) -> None:
        """Called after every step: a fault may be due after so many of them."""
        if self.doom is not None and not self.dead:
            steps, action = self.doom
            self.doom = (steps - 1, action) if steps > 0 else None
            if steps <= 0:
                action()

    # --- What the coordinator says ---------------------------------------------------------------------------------

    def contact(self, sent: float) -> None:
        self.worker.engine.fence.contact(sent)

    def dropped(self) -> None:
        """The heartbeat's answer: no member any more. The real consumer thread ends the process."""
        self.world.history.note(self.name, "ends itself: the group has dropped it")
        self.ended()

    def rebalance(self) -> None:
        """The heartbeat's answer: give up your partitions and join again."""
        if self._revoking is None and not self.waits and not self.stopping:
            self._revoking = self.spawn(self._revoke())

    def assign(self, share: Share, generation: int) -> None:
        self.loop.call_soon(self._assigned, share, generation)

    async def _revoke(self) -> None:
        self.app.rebalancing = True
        self._stop_recovery()
        await self.consumer.on_partitions_revoked(self.consumer.assignment())
        await self._drain()
        await self.app.on_partitions_revoked.send(self.app, self.consumer.assignment())
        self._revoking = None
        self.waits = True
        self.world.group.rejoin(self)

    def _stop_recovery(self) -> None:
        if self._recovering is not None:
            self._recovering.cancel()
            self._recovering = None
        self.recovery.on_partitions_revoked(self.consumer.assignment())

    async def _drain(self) -> None:
        self.consumer.suspended()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        for stream in self._streams.values():
            stream.clear()
        while any(stream.handling for stream in self._streams.values()):
            self.idle.clear()
            await self.idle.wait()
        await self.consumer.commit()

    def _assigned(self, share: Share, generation: int) -> None:
        if self.stopping:
            return
        self.app.rebalancing = True
        self.app.consumer_generation_id = generation
        events, changelog = self.world.settings.batch_events_topic, self.app.changelog_topic
        actives = {TP(changelog, tp.partition) for tp in share.sources if tp.topic == events}
        standbys = {TP(changelog, number) for number in share.standbys}
        self.consumer.assigned(share.sources | actives | standbys)
        self._recovering = self.spawn(self._recover(actives, standbys, generation))

    async def _recover(self, actives: set[TP], standbys: set[TP], generation: int) -> None:
        self.app.table.data.assigned({tp.partition for tp in actives | standbys})
        await self.recovery.on_rebalance(actives, standbys)
        await self.recovery.recover(generation)

    # --- Reading and committing ------------------------------------------------------------------------------------

    def fetch_soon(self) -> None:
        """Something may be there to be read."""
        if not self._fetching and self.consumer.flows:
            self._fetching = True
            self.loop.call_later(self.world.chance.random() * 0.02, self._fetch)

    def _fetch(self) -> None:
        self._fetching = False
        positions, chance = self.consumer.positions, self.world.chance
        full = self.consumer.reading.full()
        readable = {tp: self.world.readable(tp) for tp in positions if tp not in full}
        ready = [tp for tp, end in readable.items() if positions[tp] < end]
        chance.shuffle(ready)
        for tp in ready if self.consumer.flows else ():
            start = positions[tp]
            positions[tp] = chance.randint(start + 1, readable[tp])
            for run in self._runs(self.broker.logs[tp][start : positions[tp]]):
                message = RunMessage(tp, run, self.app.consumer_generation_id)
                self.consumer.reading.given(message)
                self._streams[tp.topic].put(message)
        # The next fetch begins at once, and then lasts until there is something.
        self.consumer.reading.fetching(positions)
        if any(positions[tp] < end for tp, end in readable.items()):
            self.fetch_soon()

    def _runs(self, records: list[Record]) -> Iterator[Run]:
        """Cut what one fetch brought into runs: of one record, of a few, or of all there is."""
        while records:
            length = min(self.world.chance.choice((1, 3, len(records))), len(records))
            yield Run.of(cast("list[Any]", records[:length]))
            records = records[length:]

    def fetch_changelogs_soon(self, slowest: float = SLOWEST_STANDBY) -> None:
        """Something may be there for the copies of standby partitions."""
        if not self._fetching_changelogs and self.consumer.flows and self.consumer.standbys:
            self._fetching_changelogs = True
            self.loop.call_later(self.world.chance.random() * slowest, self._fetch_changelogs)

    def _fetch_changelogs(self) -> None:
        """Take a run of each standby's changelog, and hand them over one after the other, which takes its time."""
        term, runs = self.recovery.term, {}
        standbys, chance = self.consumer.standbys, self.world.chance
        for tp, start in sorted(standbys.items()) if self.consumer.flows and not self.broker.away else ():
            if start < len(self.broker.logs[tp]):
                end = standbys[tp] = min(start + chance.randint(1, LONGEST_RUN), len(self.broker.logs[tp]))
                runs[tp] = self._losing(tp, self.broker.logs[tp][start:end])
        self.spawn(self._hand_over(runs, term))

    async def _hand_over(self, runs: dict[TP, list[Record]], term: object) -> None:
        for tp, records in runs.items():
            await self.recovery.take(tp, records, term)
        self._fetching_changelogs = False
        if any(start < len(self.broker.logs[tp]) for tp, start in self.consumer.standbys.items()):
            self.fetch_changelogs_soon(slowest=CATCHING_UP)

    def _losing(self, tp: TP, records: list[Record]) -> list[Record]:
        """Return what reaches the copy, without one record now and then: there are ways to lose it that nobody knows.

        Never the last one, or the standby would be behind for ever.
        """
        if len(records) < 2 or self.world.chance.random() >= self.world.plan.lost_rows:
            return records
        self.node.disk.databases[tp.partition].lacks = True
        lost = self.world.chance.randrange(len(records) - 1)
        self.world.history.note(self.name, f"does not get {tp.partition}@{records[lost].offset} of the changelog")
        return records[:lost] + records[lost + 1 :]

    async def _commits(self) -> None:
        while True:
            # With nothing acked there is nothing to commit: the timer need not even fire.
            await self.consumer.anything.wait()
            await asyncio.sleep(self.world.settings.commit_interval_seconds * self.world.chance.random())
            await self.consumer.commit()

    async def _timer(self, interval: float, run: Callable[[], Any]) -> None:
        while True:
            await asyncio.sleep(interval)
            await run()

    async def ask_broker(self, ask: Callable[..., Any], *args: Any) -> Any:
        """Have ``ask`` answered at the broker, some time later and not while that is away."""
        return await self._ask(self.broker, ask, *args)

    async def ask_provider(self, ask: Callable[..., Any], *args: Any) -> Any:
        """Have ``ask`` answered at the provider, some time later."""
        return await self._ask(None, ask, *args)

    async def _ask(self, broker: Broker | None, ask: Callable[..., Any], *args: Any) -> Any:
        future = self.loop.create_future()
        scheduler = self.world.scheduler

        def arrive() -> None:
            if broker is not None and broker.away:
                scheduler.after(broker.away, arrive)
            elif not self.dead or self.world.chance.random() < 0.5:
                answer = ask(*args)
                scheduler.after(self.world.chance.random() * 0.01, self.loop.call_soon, _resolve, future, answer)

        scheduler.after(self.world.chance.random() * 0.01, arrive)
        return await future

    def commit_arrives(self, offsets: dict[TP, int], generation: int) -> bool:
        """The broker takes a commit, or refuses it."""
        if not self.world.group.accepts(self, generation):
            return False
        self.world.checks.committing(self, offsets)
        self.broker.committed.update(offsets)
        return True

    # --- Small parts -----------------------------------------------------------------------------------------------

    def spawn(self, coroutine: Any) -> asyncio.Task[Any]:
        """Have a task done by this process."""
        task = self.loop.create_task(coroutine)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, ProcessEnded):
            self._unexpected({"message": "a task failed", "exception": error})

    def _unexpected(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, ProcessEnded):
            self.world.history.violated("no unexpected exception", f"{self.name}: {context.get('message')} {error!r}")

    def cause(self, partition: int) -> int:
        """Return the first offset of the run that is being handled of a partition of events."""
        events = self._streams.get(self.world.settings.batch_events_topic)
        handling = events.handling if events else None
        return handling.offset if handling is not None and handling.partition == partition else -1


def _resolve(future: asyncio.Future[Any], answer: Any) -> None:
    if not future.done():
        future.set_result(answer)

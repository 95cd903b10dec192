"""Everything of one simulation together: machines, broker, group, provider, requests, faults and checks."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial

from aiokafka.errors import MessageSizeTooLargeError
from faust.types import TP
from simulation.broker import Broker, Record
from simulation.checks import Checks
from simulation.clock_loop import ProcessEnded, Scheduler
from simulation.decisions import Decisions
from simulation.group import Group
from simulation.history import History, Violation
from simulation.operators import Operators
from simulation.plan import ANY_TOPIC, Plan
from simulation.process import Node, Process
from simulation.provider_model import ProviderModel
from simulation.service import Service
from simulation.upstream import Upstream

from cj_stream.domain.todo import is_done
from cj_stream.operations.settings import Settings
from cj_stream.worker import Worker, build_worker

START = 1_700_000_000.0
LIMIT = 3600.0
"""Virtual seconds after which a run counts as hanging."""
STEPS = 400_000
SLOWEST_STEPS = 0.05
"""Seconds that a slow worker takes at most for a few steps."""
FREEZES = (0.3, 1.2, 1.3, 2.5, 2.5, 25.0)
"""In sessions. The longest is longer than a batch may be idle."""


class World:
    """One simulation. ``run`` plays it to the end or raises `Violation`."""

    current: World
    """The one that is running: what stands in for modules of `cj_stream` asks for it."""

    def __init__(self, seed: int, plan: type[Plan] = Plan) -> None:
        World.current = self
        self.seed = seed
        self.chance = random.Random(seed)
        self.plan = plan(self.chance)
        self.settings: Settings = self.plan.settings
        self.scheduler = Scheduler(self.chance, START)
        self.history = History(self.scheduler.clock.time)
        self.history.note("plan", self.plan.describe())
        self.nodes = [Node(f"w{number}") for number in range(1, self.plan.workers + 1)]
        self.broker = Broker(self.scheduler, self.plan.topics)
        read = [
            self.settings.batch_events_topic,
            self.settings.assessment_request_topic,
            self.settings.llm_provider_callback_topic,
        ]
        self.read_topics = read
        session = self.settings.session_timeout_seconds
        self.group = Group(self.scheduler, self.broker, self.history, read, session, standbys=self.plan.standbys)
        self.checks = Checks(self)
        self.decisions = Decisions(self)
        self.service = Service(self)
        self.provider = ProviderModel(self, self.plan.manners)
        self.upstream = Upstream(self)
        self.operators = Operators(self)
        self.processes: list[Process] = []
        self.building: Process | None = None
        self._counts: Counter[str] = Counter()
        self.broker.on_append.append(self._appended)
        for node in self.nodes:
            self.scheduler.after(self.chance.random() * self.plan.start_within, self.start, node)
        for at, fault in self.plan.timed_faults:
            self.scheduler.after(at, self._fault, fault)
        for span in self.plan.broker_outages:
            self.scheduler.after(span.at, self._lose_broker, span.seconds)
        for span in self.plan.provider_outages:
            self.scheduler.after(span.at, self.provider.go_away, span.seconds)
        for span in self.plan.downtimes:
            self.scheduler.after(span.at, self._go_down, span.seconds)
        self._targeted = list(self.plan.targeted_faults)
        self.closed = False
        """Whether no process may be started."""
        self.torn = False
        """Whether a process ended in the middle of something: what it was writing may be there in part."""
        self.finished = False
        self.scheduler.after(1.0, self._look)

    def run(self) -> None:
        """Play to the end."""
        limit = START + LIMIT + self.plan.busy_until
        while not self.finished:
            alive = True
            try:
                alive = self.scheduler.advance()
            except ProcessEnded:
                self.scheduler.stepping.owner.ended()
            if self.history.violations:
                raise self.history.violations[0]
            if not alive or self.scheduler.clock.now > limit or self.scheduler.steps > STEPS:
                raise Violation("everything ends", self._what_is_left())

    def discard(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            process.loop.discard()

    def build(self, process: Process) -> Worker:
        """Return the real worker of a process."""
        self.building = process
        try:
            return build_worker(self.settings).service
        finally:
            self.building = None

    # --- Machines ----------------------------------------------------------------------------------------------------

    def start(self, node: Node) -> None:
        if node.process is None and node.wanted and not self.closed:
            process = node.process = Process(self, node)
            self.history.note(process.name, "starts")
            self.processes.append(process)
            process.producer.on_produce = lambda topic: self.counted(process, ANY_TOPIC, topic)
            process.loop.after_step = process.stepped
            if self.nodes.index(node) < self.plan.slow_workers:
                process.loop.slowness = SLOWEST_STEPS
            self.scheduler.add(process.loop)
            self.service.look()

    def process_ended(self, process: Process) -> None:
        """A supervisor starts it again after a while."""
        process.node.process = None
        self.service.look()
        self.scheduler.after(0.2 + self.chance.random() * 4, self.start, process.node)

    def living(self) -> list[Process]:
        return [node.process for node in self.nodes if node.process is not None]

    def readable(self, tp: TP) -> int:
        """Return how far consumers can read now."""
        if self.broker.away:
            return 0
        end = self.broker.end(tp)
        if self.plan.callback_lag and tp.topic == self.settings.llm_provider_callback_topic:
            log, newest = self.broker.logs[tp], self.scheduler.clock.now - self.plan.callback_lag
            while end and log[end - 1].timestamp > newest:
                end -= 1
        return end

    def refusal(self, topic: str, value: bytes | None) -> Exception | None:
        """Return why a topic does not take a record, None when it does."""
        since = self.scheduler.clock.now - START
        for outage in self.plan.topic_outages:
            if topic == outage.topic and outage.at <= since < outage.at + outage.seconds:
                error: Exception = outage.error()
                return error
        limit = self.plan.result_limit
        if topic == self.settings.assessment_result_topic and limit is not None and len(value or b"") > limit:
            too_large: Exception = MessageSizeTooLargeError()
            return too_large
        return None

    def _appended(self, record: Record) -> None:
        self._wake(record.tp)
        if self.plan.callback_lag and record.topic == self.settings.llm_provider_callback_topic:
            self.scheduler.after(self.plan.callback_lag + 0.001, self._wake, record.tp)

    def _wake(self, tp: TP) -> None:
        for process in self.living():
            if tp in process.consumer.positions:
                process.fetch_soon()
            elif tp in process.consumer.standbys:
                process.fetch_changelogs_soon()

    # --- Faults ------------------------------------------------------------------------------------------------------

    def counted(self, process: Process, *topics: str) -> None:
        """Count a record of these topics, and begin the faults that it sets off."""
        self._counts.update(topics)
        for fault in [fault for fault in self._targeted if fault.at <= self._counts[fault.topic]]:
            self._targeted.remove(fault)
            process.doom = (fault.steps, partial(self._strike, process, fault.kind))

    def _lose_broker(self, seconds: float) -> None:
        self.history.note("broker", f"is away for {seconds} s")
        self.broker.go_away(seconds)
        self.service.look()
        self.scheduler.after(seconds + 0.001, self._broker_is_back)

    def _broker_is_back(self) -> None:
        self.service.look()
        for process in self.living():
            process.fetch_soon()
            process.fetch_changelogs_soon()

    def _go_down(self, seconds: float) -> None:
        """Have no worker run for a while: stopped as for an upgrade, or all machines off at once."""
        self.closed = True
        kill = self.chance.random() < 0.5
        for process in self.living():
            process.kill() if kill or process.frozen else process.terminate()
        self.scheduler.after(seconds, self._come_back)

    def _come_back(self) -> None:
        self.closed = False
        self._fault("start")

    def _fault(self, fault: str) -> None:
        living = self.living()
        if fault == "rebalance":
            self.group.shake()
        elif fault == "start":
            for node in self.nodes:
                node.wanted = True
                self.start(node)
        elif living:
            self._strike(self.chance.choice(living), fault)

    def _strike(self, process: Process, fault: str) -> None:
        if process.dead:
            return
        if fault == "kill":
            process.kill()
        elif fault == "rebalance":
            self.group.shake()
        elif fault == "stop":
            if self.chance.random() < 0.5 and len(self.living()) > 1:
                process.node.wanted = False
                self.scheduler.after(5 + self.chance.random() * 20, self._fault, "start")
            process.terminate()
        else:
            seconds = self.chance.choice(FREEZES) * self.settings.session_timeout_seconds
            process.freeze()
            # What a process still sends when its batch was deleted long ago is a row of nobody's, and stays.
            self.scheduler.after(min(seconds, self.settings.retention_days * 86400 / 2), process.thaw)

    # --- The end -----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        if self._quiet():
            self.finished = True
        else:
            self.scheduler.after(1.0, self._look)

    def _quiet(self) -> bool:
        living = self.living()
        if self.scheduler.clock.now < START + self.plan.busy_until or self._unread():
            return False
        if any(process.frozen or process.stopping or not self.group.knows(process) for process in living):
            return False
        if any(process.recovery.behind() for process in living):
            return False
        served = {number for process in living for number in process.worker.engine.opener.opened_at}
        return len(served) == self.settings.partitions and all(map(_idle, living))

    def _unread(self) -> bool:
        logs, committed = self.broker.logs.items(), self.broker.committed
        return any(committed.get(tp, 0) < len(log) for tp, log in logs if tp.topic in self.read_topics)

    def _what_is_left(self) -> str:
        left = []
        for process in self.living():
            for number, batches in process.worker.batches.partitions.items():
                left += [
                    f"{process.name}/{number}: {batch.batch_id} {batch.state} {batch.progress}"
                    for batch in batches
                    if not is_done(batch)
                ]
            worker = process.worker
            left.append(f"{process.name} in hand {worker.dispatcher.in_hand} open {worker.engine.opener.opened_at}")
        return f"at {self.scheduler.clock.now - START:.0f} s, step {self.scheduler.steps}: " + "; ".join(left)


def _idle(process: Process) -> bool:
    worker = process.worker
    batches = [batch for batches in worker.batches.partitions.values() for batch in batches]
    return not worker.dispatcher.in_hand and not worker.engine.sender.outstanding and all(map(is_done, batches))


def owner() -> Process:
    """Return the process whose code is running."""
    if World.current.building is not None:
        return World.current.building
    return asyncio.get_running_loop().owner  # type: ignore[attr-defined, no-any-return]

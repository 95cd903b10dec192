"""A gateway in the process of the test, with a log in memory: the real decisions, lines, dispatcher and effects."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

from support.domain.story import MemoryTable
from support.engine.until import until
from support.wire.questions import question

from cj_stream.engine.home import Entry
from cj_stream.engine.runs import Record
from cj_stream.gateway.carrying_out import CarryOut, Patience
from cj_stream.gateway.gateway_metrics import Metrics
from cj_stream.gateway.job_home import JobHome
from cj_stream.gateway.job_rows import JobRows
from cj_stream.gateway.job_work import JobDispatcher, JobWork
from cj_stream.gateway.jobs import Accepted, AnyEvent, Job, ScopePaused
from cj_stream.gateway.judges import Answer, Judge, Limits, Question, Unlimited, Usage, Verdict
from cj_stream.gateway.lines import Budget, Lines, LineSettings

PARTITION = 0


class ScriptedJudge(Unlimited):
    """Answers as it is told, call by call; then with verdicts. ``calls`` are the essays that were asked about."""

    scope = "test/scripted"

    def __init__(self, *script: Exception | Answer) -> None:
        self.script = list(script)
        self.calls: list[str] = []
        self.holding = asyncio.Event()
        self.holding.set()
        self.limits: Limits | None = None
        self.used = 0

    def tokens(self, question: Question) -> int:
        return int(question.request.metadata.get("tokens", 0))

    async def judge(self, question: Question) -> Answer:
        self.calls.append(question.first)
        await self.holding.wait()
        if self.script:
            step = self.script.pop(0)
            if isinstance(step, Exception):
                raise step
            return step
        return Verdict("A", 3.0, "because", "test", "scripted", Usage(self.used, 0), 0.5, "raw")


async def _at_once() -> None:
    """Take no time."""


class Rig:
    """``published`` are the answers; ``now`` is the broker's clock."""

    def __init__(
        self,
        judge: Judge,
        *,
        at_once: int = 4,
        attempts: int = 3,
        call_seconds: float = 5.0,
        after: Rig | None = None,
    ) -> None:
        self.now = 1000.0
        self.dead = False
        self.published: list[bytes] = [] if after is None else after.published
        self.log: list[AnyEvent] = [] if after is None else after.log
        self.table: MemoryTable = MemoryTable() if after is None else after.table
        self.pause: Callable[[], Awaitable[None]] = _at_once if after is None else after.pause
        """What happens on the way to the broker and back."""
        self.rows = JobRows(cast("Any", self.table))
        self.home = JobHome(PARTITION, self.rows)
        self.budget = Budget(judge.limits or Limits(), 1.0)
        self.judge = judge
        self.at_once = at_once
        self.applying = asyncio.Lock()
        settings = LineSettings(at_once, failures_to_open=3, recovery_seconds=0.2)
        self.lines = Lines(settings, self._budget, lambda: asyncio.get_running_loop().time())
        engine = SimpleNamespace(
            fence=SimpleNamespace(check=lambda: None),
            clock=SimpleNamespace(now=lambda: self.now),
            forwarder=SimpleNamespace(deliver=self._deliver),
            publisher=SimpleNamespace(publish=self._publish),
        )
        self.metrics = Metrics(self._lines, lambda: (0, 0))
        patience = Patience(call_seconds, attempts)
        self.carry_out = CarryOut(
            cast("Any", engine), self.rows, self.lines, lambda _: judge, patience, self._pause, self.metrics
        )
        self.dispatcher = JobDispatcher(JobWork(), self.carry_out.execute, self._report, self.lines)

    def _lines(self) -> Iterator[Any]:
        return iter(self.lines)

    def _budget(self, scope: str) -> Budget:
        paused = self.home.scopes.get(scope)
        return self.budget if paused is None else self.budget._replace(paused_seconds=paused.paused_until - self.now)

    def killed(self) -> Rig:
        """Be killed; return the one that is started afterwards, on the same log and table."""
        self.dead = True
        tasks = [job.task for job in self.dispatcher._in_hand if job.task is not None]
        for task in (*tasks, *self.carry_out._running.values(), *self.carry_out._left):
            task.cancel()
        started = Rig(self.judge, at_once=self.at_once, after=self)
        subjects = list(started.home.subjects())
        asyncio.get_running_loop().call_soon(started.dispatcher.committed, PARTITION, len(self.log), subjects)
        return started

    async def tell(self, event: AnyEvent) -> int:
        """Put an event into the log; it is applied and committed at once. Return its offset."""
        await self._alive()
        async with self.applying:
            offset = len(self.log)
            self.log.append(event)
            applied = await self.home.apply([Entry(event, Record("log", PARTITION, offset, self.now, None, b""))])
            assert not applied.undecided
            await self.table.write(cast("Any", None), PARTITION, applied.puts)
        asyncio.get_running_loop().call_soon(self._committed, offset + 1, applied.changed)
        await self._alive()
        return offset

    async def _alive(self) -> None:
        """Take the time that it takes; whoever is dead by then gets no further."""
        await self.pause()
        if self.dead:
            raise asyncio.CancelledError

    def _committed(self, position: int, subjects: Any) -> None:
        if not self.dead:
            self.dispatcher.committed(PARTITION, position, subjects)

    async def ask(self, name: str, batch: str = "b", **metadata: Any) -> str:
        """Ask for a comparison about an essay; return its id."""
        named = {"essay_a_id": name, "essay_b_id": "other", "bos_batch_id": batch, "cj_batch_id": f"{batch}-1"}
        request = question(name, "other", metadata=named | metadata).request
        job_id = str(uuid4())
        await self.tell(Accepted(id=job_id, scope=self.judge.scope, seconds=600.0, request=request))
        return job_id

    def job(self, job_id: str) -> Job:
        """Return a job as it is now."""
        found = self.rows.job(PARTITION, job_id)
        assert found is not None
        return found

    async def answered(self, *job_ids: str) -> None:
        """Wait until these are answered and published."""
        await until(lambda: all(self.job(job_id).published for job_id in job_ids))

    async def _deliver(self, _partition: int, event: AnyEvent) -> Any:
        return SimpleNamespace(offset=await self.tell(event))

    async def _report(self, _partition: int, event: AnyEvent) -> int:
        try:
            return await self.tell(event)
        finally:
            self.lines.release(getattr(event, "id", ""))

    async def _publish(self, _topic: str, *, key: bytes | None, value: bytes) -> None:
        assert key is None
        await self._alive()
        self.published.append(value)
        await self._alive()

    async def _pause(self, scope: str, seconds: float, why: str) -> None:
        await self.tell(ScopePaused(scope=scope, until=self.now + seconds, why=why))

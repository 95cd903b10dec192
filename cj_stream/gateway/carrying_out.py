"""Carries out what jobs need: calls of the judge, which are paid for, and the publishing of their answers.

Before each call its number is in the log, so that it is known afterwards which calls were under way when a gateway was
killed. What an exception says may quote the texts, so only its kind is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.engine.dispatcher import PostponedError
from cj_stream.engine.hardening import Engine
from cj_stream.engine.publisher import RecordRefusedError, TopicRefusesError
from cj_stream.gateway.gateway_metrics import Metrics
from cj_stream.gateway.job_callbacks import answer_callback, error_callback
from cj_stream.gateway.job_home import Subject
from cj_stream.gateway.job_rows import JobRows
from cj_stream.gateway.jobs import (
    MOST_BEGUN,
    Answered,
    AnyEvent,
    Began,
    Call,
    Effect,
    Ended,
    Job,
    Publish,
    Published,
    batch_ids,
)
from cj_stream.gateway.judges import Answer, Failure, Judge, PausedError, Question, UnavailableError
from cj_stream.gateway.lines import GivenUpError, Line, Lines, Turn

log = structlog.get_logger(__name__)

GIVEN_UP_SECONDS = 1.0
BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 2.0, 60.0


class Patience(NamedTuple):
    """A call may take ``seconds``; a job for which ``attempts`` calls may have been paid gets an error."""

    seconds: float
    attempts: int


class _Ready(NamedTuple):
    """A call that is about to be made."""

    turn: Turn
    line: Line
    judge: Judge
    question: Question
    job: Job


class CarryOut:
    """An instance's `execute` is the dispatcher's. ``pause`` tells all gateways that an endpoint wants them to wait."""

    def __init__(
        self,
        engine: Engine[AnyEvent],
        rows: JobRows,
        lines: Lines,
        judge_for: Callable[[str | None], Judge],
        patience: Patience,
        pause: Callable[[str, float, str], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._rows = rows
        self._lines = lines
        self._judge_for = judge_for
        self._patience = patience
        self._pause = pause
        self._metrics = metrics
        self._running: dict[str, asyncio.Task[AnyEvent]] = {}
        """The calls under way, by job."""
        self._left: set[asyncio.Task[None]] = set()

    async def execute(self, effect: Effect, subject: Subject, partition: int) -> AnyEvent:
        """Carry out an effect of a job; return the event that reports it."""
        job_id, job = subject.key[1], subject.row
        if not isinstance(job, Job):
            raise TypeError("only jobs have anything to be done")
        if isinstance(effect, Publish):
            return await self._publish(job_id, job, effect)
        if job_id not in self._running:
            try:
                ready = await self._begin(job_id, partition, effect)
            except GivenUpError:
                self._lines.release(job_id)
                raise PostponedError("its turn was given up", seconds=GIVEN_UP_SECONDS) from None
            except BaseException:
                self._lines.release(job_id)
                raise
            if not isinstance(ready, _Ready):
                return ready
            self._run(job_id, ready)
        return await self._outcome(job_id, partition)

    async def finish(self, patience: float) -> None:
        """Wait for calls that nobody waits for any more: they are paid for, and their answers belong into the log."""
        if self._left:
            await asyncio.wait(self._left, timeout=patience)

    # --- Publishing --------------------------------------------------------------------------------------------------

    async def _publish(self, job_id: str, job: Job, effect: Publish) -> AnyEvent:
        self._engine.fence.check()
        try:
            await self._engine.publisher.publish(job.topic, key=None, value=job.answer)
        except TopicRefusesError as refuses:
            raise PostponedError(str(refuses), seconds=refuses.seconds) from refuses
        except RecordRefusedError as refused:
            # It would be refused again: there is nothing to be done but to say so.
            log.error("an answer could not be published", correlation_id=job_id, why=str(refused))  # noqa: TRY400
            self._metrics.refused.inc()
        else:
            self._metrics.published.inc()
        return Published(id=job_id, number=effect.copy)

    # --- Calls -------------------------------------------------------------------------------------------------------

    async def _outcome(self, job_id: str, partition: int) -> AnyEvent:
        """Return what came of a call. It is paid for: so it goes on also when its partition is given up meanwhile."""
        running = self._running[job_id]
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            left = asyncio.get_running_loop().create_task(self._tell(job_id, partition, running))
            self._left.add(left)
            left.add_done_callback(self._left.discard)
            raise

    async def _tell(self, job_id: str, partition: int, running: asyncio.Task[AnyEvent]) -> None:
        """Put the answer of a call that nobody waits for into the log, whoever serves its partition now."""
        event = await running
        if isinstance(event, Answered):
            await self._engine.forwarder.deliver(partition, event)
        self._lines.release(job_id)

    def _run(self, job_id: str, ready: _Ready) -> None:
        running = asyncio.get_running_loop().create_task(self._ask(*ready))
        self._running[job_id] = running
        running.add_done_callback(lambda _: self._running.pop(job_id))

    async def _begin(self, job_id: str, partition: int, effect: Call) -> AnyEvent | _Ready:
        """Wait for the turn of a call and tell the log of it; return what is to be reported when none is to be made."""
        job, request = self._open(partition, job_id, effect)
        judge, question = self._judge_for(request.model), question_of(request)
        if (instead := self._instead(job_id, job)) is not None:
            return instead
        if (seconds := job.not_before - self._engine.clock.now()) > 0:
            raise PostponedError("the provider failed, and is asked again later", seconds=seconds)
        line = self._lines.of(judge.scope)
        batch = next(iter(batch_ids(request.metadata)), "")
        turn = Turn(job_id, partition, batch, job.priority, float(judge.tokens(question)))
        await line.wait(turn)
        return await self._on_turn(turn, line, judge, question, effect)

    async def _on_turn(
        self, turn: Turn, line: Line, judge: Judge, question: Question, effect: Call
    ) -> AnyEvent | _Ready:
        job_id, partition = turn.job_id, turn.partition
        try:
            # It may have waited long.
            self._engine.fence.check()
            job, _ = self._open(partition, job_id, effect)
            if (instead := self._instead(job_id, job)) is not None:
                line.abandoned(turn)
                return instead
            number = job.begun + 1
            await self._engine.forwarder.deliver(partition, Began(id=job_id, number=number))
        except BaseException:
            line.abandoned(turn)
            raise
        return _Ready(turn, line, judge, question, replace(job, begun=number))

    async def _ask(self, turn: Turn, line: Line, judge: Judge, question: Question, job: Job) -> AnyEvent:
        answer: Answer
        self._metrics.calls.labels(line.scope).inc()
        try:
            async with asyncio.timeout(self._patience.seconds):
                answer = await judge.judge(question)
        except PausedError as paused:
            line.abandoned(turn)
            self._metrics.pauses.labels(line.scope).inc()
            await self._pause(line.scope, paused.seconds, paused.why)
            return Ended(id=turn.job_id, number=job.begun, paid=False, not_before=0.0, why=paused.why)
        except UnavailableError as failed:
            return self._failed(turn, line, job, failed.why, paid=failed.sent)
        except TimeoutError:
            return self._failed(turn, line, job, f"no answer within {self._patience.seconds:g} s", paid=True)
        except asyncio.CancelledError:
            line.abandoned(turn)
            raise
        except Exception as error:  # noqa: BLE001 -- one bad question must not harm the others
            line.abandoned(turn)
            log.error("the judge failed", correlation_id=turn.job_id, error=type(error).__name__)  # noqa: TRY400
            answer = Failure("PROCESSING_ERROR", f"the judge failed: {type(error).__name__}")
        else:
            usage = answer.usage
            line.answered(turn, None if usage is None else usage.input_tokens + usage.output_tokens)
        callback = answer_callback(turn.job_id, job, question.request, answer, self._engine.clock.now())
        return Answered(id=turn.job_id, callback=callback)

    def _failed(self, turn: Turn, line: Line, job: Job, why: str, *, paid: bool) -> AnyEvent:
        line.failed(why)
        self._metrics.failures.labels(line.scope).inc()
        if paid and job.paid >= self._patience.attempts:
            message = f"the provider failed in {job.paid} calls: {why}"
            callback = error_callback(turn.job_id, job, "EXTERNAL_SERVICE_ERROR", message, self._engine.clock.now())
            return Answered(id=turn.job_id, callback=callback)
        seconds = min(BACKOFF_SECONDS * 2.0 ** (job.begun - 1), LONGEST_BACKOFF_SECONDS)
        not_before = self._engine.clock.now() + seconds
        return Ended(id=turn.job_id, number=job.begun, paid=paid, not_before=not_before, why=why)

    def _open(self, partition: int, job_id: str, effect: Call) -> tuple[Job, ComparisonRequest]:
        """Return a job as it is now. Raises `GivenUpError` when it needs this call no more."""
        job, request = self._rows.job(partition, job_id), self._rows.request(partition, job_id)
        if job is None or request is None or job.answer is not None or job.ended >= effect.number:
            raise GivenUpError
        return job, request

    def _instead(self, job_id: str, job: Job) -> AnyEvent | None:
        """Return what is to be reported without another call, None when it is to be made."""
        if job.cancelled:
            # What was under way when its gateway ended is not done again for nobody.
            return Ended(id=job_id, number=job.begun, paid=True, not_before=0.0, why="cancelled")
        if job.paid >= MOST_BEGUN:
            message = f"{job.paid} calls were begun, and none has given an answer"
            return Answered(
                id=job_id,
                callback=error_callback(job_id, job, "PROCESSING_ERROR", message, self._engine.clock.now()),
            )
        return None


def question_of(request: ComparisonRequest) -> Question:
    """Return what the judge is asked."""
    first, second = (str(request.metadata.get(name, "")) for name in ("essay_a_id", "essay_b_id"))
    return Question(first, second, request)

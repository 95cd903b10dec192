"""The desk of a provider: takes accepted comparisons, has them judged, and publishes the callbacks in time.

Pending callbacks are in memory only: a provider that is stopped forgets them, as the platform's does when it crashes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog
from aiokafka.errors import KafkaError
from simulated_provider.benches import Bench
from simulated_provider.faults import Fault, Trouble

from cj_stream.contracts.callback_writer import write_callback
from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.delayed import Latency
from cj_stream.gateway.judges import Answer, Failure, Question, Verdict

_log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """Sends one callback to a topic."""

    async def publish(self, topic: str, value: bytes) -> None:
        """Return once the broker has the message; raises KafkaError when it has not."""


@dataclass(frozen=True)
class Job:
    """One accepted comparison."""

    request: ComparisonRequest
    question: Question
    bench: Bench
    trouble: Trouble
    queue_id: str = field(default_factory=lambda: str(uuid4()))
    requested_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def correlation_id(self) -> UUID:
        """Return the id to answer under; who sent none cannot match the answer anyway."""
        return self.request.correlation_id or UUID(self.queue_id)


class Desk:
    """Works on all accepted comparisons at once; ``close`` drops those that are not done."""

    def __init__(self, publisher: Publisher, latency: Latency) -> None:
        self._publisher = publisher
        self._latency = latency
        self._pending: set[asyncio.Task[None]] = set()
        self.accepted = 0
        self.published = 0

    @property
    def pending(self) -> int:
        """Return how many comparisons are accepted and not finished."""
        return len(self._pending)

    def accept(self, job: Job) -> None:
        """Start to work on a comparison and return at once."""
        self.accepted += 1
        if job.trouble.fault is Fault.SILENT:
            return
        self._start(self._work(job))

    async def close(self) -> None:
        """Drop everything that is pending."""
        for task in self._pending:
            task.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        # The loop keeps only weak references to tasks.
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _work(self, job: Job) -> None:
        due = asyncio.get_running_loop().time() + self._seconds(job)
        answer = await _answer(job)
        await asyncio.sleep(due - asyncio.get_running_loop().time())
        await self._publish(job, _callback(job, answer, job.queue_id))
        if job.trouble.fault is Fault.DUPLICATE:
            await self._publish(job, _callback(job, answer, str(uuid4())))

    def _seconds(self, job: Job) -> float:
        late = job.bench.faults.late_seconds if job.trouble.fault is Fault.LATE else 0.0
        return self._latency.seconds(job.question) + late

    async def _publish(self, job: Job, callback: bytes) -> None:
        try:
            await self._publisher.publish(job.request.callback_topic, callback)
        except KafkaError as error:
            # As with the real provider: a callback that cannot be published is lost.
            _log.warning("callback lost", correlation_id=str(job.correlation_id), error=repr(error))
        else:
            self.published += 1


async def _answer(job: Job) -> Answer:
    if job.trouble.fault is Fault.ERROR:
        return job.trouble.failure()
    try:
        return await job.bench.judge.judge(job.question)
    except Exception as error:  # noqa: BLE001 -- one bad question must not harm the others
        _log.exception("the judge failed", first=job.question.first, second=job.question.second)
        return Failure("PROCESSING_ERROR", f"the judge failed: {type(error).__name__}: {error}")


def _callback(job: Job, answer: Answer, request_id: str) -> bytes:
    verdict = answer if isinstance(answer, Verdict) else None
    failure = answer if isinstance(answer, Failure) else None
    completed_at = datetime.now(UTC)
    callback = write_callback(
        correlation_id=job.correlation_id,
        request_id=request_id,
        winner=verdict.winner if verdict else None,
        confidence=verdict.confidence if verdict else None,
        justification=verdict.justification if verdict else None,
        error_code=failure.code if failure else None,
        error_message=failure.message if failure else None,
        provider=answer.provider or job.request.provider,
        model=answer.model or job.request.model or "gateway",
        requested_at=job.requested_at,
        completed_at=completed_at,
        response_time_ms=round((completed_at - job.requested_at).total_seconds() * 1000),
        request_metadata=job.request.metadata,
    )
    return job.trouble.damage(callback) if job.trouble.fault is Fault.MALFORMED else callback

"""What events make of the jobs of a partition: no I/O, no clock. The time is that of the event in the log.

Every event may be read twice, and the rows may be ahead of the log: each decision looks at what is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.gateway.job_callbacks import error_callback
from cj_stream.gateway.jobs import (
    Accepted,
    Answered,
    AnyEvent,
    BatchCancelled,
    Began,
    CancelledBatch,
    Ended,
    Job,
    JobCancelled,
    Published,
    Scope,
    ScopeLimited,
    ScopePaused,
    TimeIsOver,
    batch_ids,
    priority_of,
)

JOB, BATCH = "job", "batch"
"""Kinds of what falls due."""
LATE_SHARE, LATE_SECONDS = 0.05, 6.0
"""Of the time to live, what is kept for publishing an error in time: a share, but so many seconds at the least."""
CANCELLED_MESSAGE = "Nobody wants this comparison any more: it, or its batch, was cancelled."
TIMEOUT_MESSAGE = "The gateway had no answer within the time to live of the comparison."


class Partition(Protocol):
    """The rows of one partition."""

    def job(self, job_id: str) -> Job | None:
        """Return a job."""

    def put_job(self, job_id: str, job: Job | None) -> None:
        """Store a job, or delete it."""

    def put_request(self, job_id: str, request: ComparisonRequest | None) -> None:
        """Store the texts of a job, or delete them."""

    def batch(self, batch_id: str) -> CancelledBatch | None:
        """Return that a batch is cancelled, None if it is not."""

    def put_batch(self, batch_id: str, batch: CancelledBatch | None) -> None:
        """Store that a batch is cancelled, or forget it."""

    def scope(self, name: str) -> Scope:
        """Return what is known of a provider and model."""

    def put_scope(self, name: str, scope: Scope) -> None:
        """Store what is known of a provider and model."""

    def unanswered(self, batch_id: str) -> Iterable[str]:
        """Return the ids of the jobs of a batch that have no answer."""


def decide(rows: Partition, event: AnyEvent, at: float) -> None:
    """Change the rows as an event, which came ``at``, asks for."""
    _HANDLERS[type(event)](rows, event, at)


def _accepted(rows: Partition, event: Accepted, at: float) -> None:
    known = rows.job(event.id)
    if known is not None:
        if known.answer is not None and known.published >= known.wanted:
            rows.put_job(event.id, _with(known, wanted=known.published + 1))
        return
    request = event.request
    job = Job(
        topic=request.callback_topic,
        provider=request.provider,
        scope=event.scope,
        metadata=request.metadata,
        priority=priority_of(request.metadata),
        size=len(request.user_prompt.encode()),
        accepted_at=at,
        answer_by=at + event.seconds - min(max(event.seconds * LATE_SHARE, LATE_SECONDS), event.seconds / 2),
        expires_at=at + event.seconds,
    )
    if any(rows.batch(batch_id) for batch_id in batch_ids(request.metadata)):
        _cancel(rows, event.id, job, at)
        return
    rows.put_request(event.id, request)
    rows.put_job(event.id, job)


def _began(rows: Partition, event: Began, _at: float) -> None:
    job = rows.job(event.id)
    if job is not None and job.answer is None and event.number > job.begun:
        rows.put_job(event.id, _with(job, begun=event.number))


def _ended(rows: Partition, event: Ended, at: float) -> None:
    job = rows.job(event.id)
    if job is None or job.answer is not None or event.number <= job.ended:
        return
    job = _with(
        job, ended=event.number, unpaid=job.unpaid + (not event.paid), not_before=max(event.not_before, job.not_before)
    )
    if job.cancelled:
        _cancel(rows, event.id, job, at)
    else:
        rows.put_job(event.id, job)


def _answered(rows: Partition, event: Answered, _at: float) -> None:
    job = rows.job(event.id)
    if job is not None and job.answer is None:
        _answer(rows, event.id, job, event.callback)


def _published(rows: Partition, event: Published, _at: float) -> None:
    job = rows.job(event.id)
    if job is not None and job.answer is not None and event.number > job.published:
        rows.put_job(event.id, _with(job, published=event.number))


def _job_cancelled(rows: Partition, event: JobCancelled, at: float) -> None:
    job = rows.job(event.id)
    if job is None or job.answer is not None:
        return
    if job.under_way:
        rows.put_job(event.id, _with(job, cancelled=True))
    else:
        _cancel(rows, event.id, job, at)


def _batch_cancelled(rows: Partition, event: BatchCancelled, at: float) -> None:
    known = rows.batch(event.batch)
    until = at + event.seconds
    if known is None or known.until < until:
        rows.put_batch(event.batch, CancelledBatch(until=until))
    for job_id in list(rows.unanswered(event.batch)):
        _job_cancelled(rows, JobCancelled(id=job_id), at)


def _scope_paused(rows: Partition, event: ScopePaused, _at: float) -> None:
    scope = rows.scope(event.scope)
    if event.until > scope.paused_until:
        rows.put_scope(event.scope, _with(scope, paused_until=event.until, why=event.why))


def _scope_limited(rows: Partition, event: ScopeLimited, at: float) -> None:
    scope = rows.scope(event.scope)
    if at >= scope.limited_at:
        limits = {"requests_per_minute": event.requests_per_minute, "tokens_per_minute": event.tokens_per_minute}
        rows.put_scope(event.scope, _with(scope, limited_at=at, **limits))


def _time_is_over(rows: Partition, event: TimeIsOver, at: float) -> None:
    if event.kind == BATCH:
        batch = rows.batch(event.name)
        if batch is not None and batch.until <= event.at:
            rows.put_batch(event.name, None)
        return
    job = rows.job(event.name)
    if job is None:
        return
    if job.answer is None and job.answer_by <= event.at:
        _answer(rows, event.name, job, error_callback(event.name, job, "TIMEOUT", TIMEOUT_MESSAGE, at))
    elif job.answer is not None and job.published >= job.wanted and job.expires_at <= event.at:
        rows.put_job(event.name, None)


def _cancel(rows: Partition, job_id: str, job: Job, at: float) -> None:
    _answer(rows, job_id, job, error_callback(job_id, job, "CANCELLED", CANCELLED_MESSAGE, at))


def _answer(rows: Partition, job_id: str, job: Job, callback: bytes) -> None:
    """Store the answer of a job; its texts go."""
    rows.put_job(job_id, _with(job, answer=callback, metadata={}))
    rows.put_request(job_id, None)


def _with(row: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(row, **changes)


_HANDLERS: dict[type[Any], Callable[[Partition, Any, float], None]] = {
    Accepted: _accepted,
    Began: _began,
    Ended: _ended,
    Answered: _answered,
    Published: _published,
    JobCancelled: _job_cancelled,
    BatchCancelled: _batch_cancelled,
    ScopePaused: _scope_paused,
    ScopeLimited: _scope_limited,
    TimeIsOver: _time_is_over,
}

"""What a job is, what can happen to it, and what is to be done for it: values only.

A job is one accepted comparison, under its correlation id. Its texts lie in a row of their own, so that what happens to
it later writes little, and so that they can go as soon as there is an answer. All times are in seconds since the epoch,
by the broker's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from cj_stream.contracts.comparison_api import ComparisonRequest

MOST_BEGUN = 10
"""So many calls of a job at most may have been paid for: a job that ends gateways by itself is not asked for ever."""


class Row(msgspec.Struct, frozen=True, array_like=True, kw_only=True):
    """A row of the table. Rows are arrays, so a new field comes last, with a default."""


class Job(Row, frozen=True):
    """An accepted comparison. It lives until ``expires_at``, so that a repeat of its request meets it."""

    topic: str
    """Where the answer is published."""
    provider: str
    scope: str
    """Whose budget it takes from: provider and model."""
    metadata: dict[str, Any]
    """Of the request, to be echoed; empty once there is an answer."""
    priority: int
    size: int
    """Bytes of its request."""
    accepted_at: float
    answer_by: float
    expires_at: float
    begun: int = 0
    """Calls that were begun."""
    ended: int = 0
    """Calls of which it is known how they ended without an answer: the number of the last one."""
    unpaid: int = 0
    """How many of those were certainly not paid for."""
    not_before: float = 0.0
    """When it may be called for again."""
    cancelled: bool = False
    """Nothing more is to be begun for it."""
    answer: bytes | None = None
    """The callback, exactly as it is published."""
    wanted: int = 1
    """How often the answer is to be published: once for each time that it was asked for after its end."""
    published: int = 0

    @property
    def under_way(self) -> bool:
        """Whether a call was begun of which it is not known how it ended."""
        return self.answer is None and self.begun > self.ended

    @property
    def paid(self) -> int:
        """How many calls may have been paid for."""
        return self.begun - self.unpaid

    @property
    def batches(self) -> tuple[str, ...]:
        """The ids under which a batch of this job may be cancelled: of its run, and of the batch itself."""
        return tuple(batch_ids(self.metadata))


class CancelledBatch(Row, frozen=True):
    """A batch of which nothing more is begun, for as long as jobs of it may come."""

    until: float


class Scope(Row, frozen=True):
    """What all gateways have to know of a provider and model. ``None`` is no limit set by an operator."""

    paused_until: float = 0.0
    why: str = ""
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    limited_at: float = 0.0


class Event(msgspec.Struct, frozen=True, tag=True, omit_defaults=True, kw_only=True):
    """What has happened."""


class Accepted(Event, frozen=True):
    """A comparison was asked for, to be answered within ``seconds``."""

    id: str
    scope: str
    seconds: float
    request: ComparisonRequest


class Began(Event, frozen=True):
    """The call with this number, counted from 1, is about to be made."""

    id: str
    number: int


class Ended(Event, frozen=True):
    """A call ended without an answer: another one may be made ``not_before``."""

    id: str
    number: int
    paid: bool
    not_before: float
    why: str


class Answered(Event, frozen=True):
    """There is an answer: a callback, as it is to be published."""

    id: str
    callback: bytes


class Published(Event, frozen=True):
    """The broker has the copy of the answer with this number, counted from 1, or will never take it."""

    id: str
    number: int


class JobCancelled(Event, frozen=True):
    """Nobody wants the answer any more."""

    id: str


class BatchCancelled(Event, frozen=True):
    """Nobody wants any answer of a batch, for ``seconds`` from now on. One for each partition."""

    batch: str
    seconds: float


class ScopePaused(Event, frozen=True):
    """An endpoint wants everybody to wait. One for each partition."""

    scope: str
    until: float
    why: str


class ScopeLimited(Event, frozen=True):
    """An operator has set limits; ``None`` takes one back. One for each partition."""

    scope: str
    requests_per_minute: float | None
    tokens_per_minute: float | None


class TimeIsOver(Event, frozen=True):
    """A deadline of the row has passed."""

    kind: str
    name: str
    at: float


AnyEvent = (
    Accepted
    | Began
    | Ended
    | Answered
    | Published
    | JobCancelled
    | BatchCancelled
    | ScopePaused
    | ScopeLimited
    | TimeIsOver
)


# No named tuples: a call would be equal to the publishing with the same number, and be taken for it.
@dataclass(frozen=True)
class Call:
    """Effect: ask the judge, for the call with this number."""

    number: int


@dataclass(frozen=True)
class Publish:
    """Effect: publish the copy of the answer with this number."""

    copy: int


Effect = Call | Publish


def todo(job: Job) -> Sequence[Effect]:
    """Return what is to be done for a job now, what is under way included."""
    if job.answer is None:
        return (Call(job.ended + 1),)
    return (Publish(job.published + 1),) if job.published < job.wanted else ()


def next_due(job: Job) -> float | None:
    """Return when something is due for a job: its answer, or its end; None while its answer is being published."""
    if job.answer is None:
        return job.answer_by
    return job.expires_at if job.published >= job.wanted else None


def batch_ids(metadata: dict[str, Any]) -> list[str]:
    """Return the ids of the run and of the batch that a request belongs to, as far as it names them."""
    named = (metadata.get(name) for name in ("cj_batch_id", "bos_batch_id"))
    return [name for name in named if isinstance(name, str) and name]


def priority_of(metadata: dict[str, Any]) -> int:
    """Return the priority that a request asks for: 0 is normal, -10 the lowest and 10 the highest."""
    asked = metadata.get("priority")
    return min(max(asked, -10), 10) if isinstance(asked, int) and not isinstance(asked, bool) else 0

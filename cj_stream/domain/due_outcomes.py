"""Which outcome events a batch owes, to whom, and which the broker has already acknowledged or refused for good."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from cj_stream.domain.batch import Batch
from cj_stream.domain.states import BatchState


class OutcomeKind(StrEnum):
    """What an outcome event tells its reader."""

    COMPLETED = "completed"
    FAILED = "failed"
    RESULT = "result"
    REFUSED = "refused"


class Outcome(NamedTuple):
    """An outcome event that a batch owes to a requester."""

    kind: OutcomeKind
    correlation_id: str

    @property
    def name(self) -> str:
        """What rows and reports call it: ``kind:correlation_id``."""
        return f"{self.kind}:{self.correlation_id}"

    @classmethod
    def named(cls, name: str) -> Outcome:
        """Return the outcome that rows and reports call so. Raises `ValueError` for what is no name of one."""
        kind, _, correlation_id = name.partition(":")
        return cls(OutcomeKind(kind), correlation_id)


def owed_to(batch: Batch, correlation_id: str) -> list[Outcome]:
    """Return the outcomes of a finished batch that go to one requester, published or not."""
    if batch.state is not BatchState.COMPLETED:
        return [Outcome(OutcomeKind.FAILED, correlation_id)]
    owed = [Outcome(OutcomeKind.COMPLETED, correlation_id)]
    if correlation_id == batch.roster.correlation_id:
        owed.append(Outcome(OutcomeKind.RESULT, correlation_id))
    return owed


def unpublished(batch: Batch) -> list[Outcome]:
    """Return the outcomes still to be published, refusals of other requests included."""
    owed = [Outcome(OutcomeKind.REFUSED, refusal.correlation_id) for refusal in batch.control.refusals]
    if batch.finished:
        for correlation_id in (batch.roster.correlation_id, *batch.control.joined):
            owed.extend(owed_to(batch, correlation_id))
    if not owed:
        return owed
    done = {*batch.control.published, *(refused.outcome for refused in batch.control.unpublishable)}
    return [outcome for outcome in owed if outcome.name not in done]


def still_owed(batch: Batch, name: str) -> Outcome | None:
    """Return the outcome of this name if it is still to be published, None otherwise."""
    return next((outcome for outcome in unpublished(batch) if outcome.name == name), None)

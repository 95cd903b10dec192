"""Which outcome events a batch owes, to whom, and which the broker has already acknowledged or refused for good."""

from __future__ import annotations

from cj_stream.domain.batch import Batch
from cj_stream.domain.states import BatchState


def outcome(kind: str, correlation_id: str) -> str:
    """Return the name of an outcome: ``kind`` is completed, failed, result or refused."""
    return f"{kind}:{correlation_id}"


def owed_to(batch: Batch, correlation_id: str) -> list[str]:
    """Return the outcomes of a finished batch that go to one requester, published or not."""
    if batch.state is not BatchState.COMPLETED:
        return [outcome("failed", correlation_id)]
    owed = [outcome("completed", correlation_id)]
    if correlation_id == batch.roster.correlation_id:
        owed.append(outcome("result", correlation_id))
    return owed


def unpublished(batch: Batch) -> list[str]:
    """Return the outcomes still to be published, refusals of other requests included."""
    owed = [outcome("refused", refusal.correlation_id) for refusal in batch.control.refusals]
    if batch.finished:
        for correlation_id in (batch.roster.correlation_id, *batch.control.joined):
            owed.extend(owed_to(batch, correlation_id))
    done = {*batch.control.published, *(refused.outcome for refused in batch.control.unpublishable)}
    return [name for name in owed if name not in done]

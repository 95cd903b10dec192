"""What must hold of every batch after every event, asserted by `story.Story`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

from cj_stream.domain.batch import NANO, Batch, Progress, Spending
from cj_stream.domain.deadlines import next_due
from cj_stream.domain.draft import Change
from cj_stream.domain.events import Event
from cj_stream.domain.index_set import IndexSet
from cj_stream.domain.records import Comparison, ComparisonStatus, Control
from cj_stream.domain.states import BatchState


def _set(indexes: Iterable[int]) -> IndexSet:
    return IndexSet(sum(1 << index for index in set(indexes)))


def recount(batch: Batch) -> Progress:
    """Count the comparisons of a batch anew, from nothing but their rows."""
    rows = batch.comparisons
    limit = batch.roster.policy.max_attempts
    failed = [row for row in rows if row.status is ComparisonStatus.FAILED]
    judged = [row.index for row in rows if row.status is ComparisonStatus.JUDGED]
    first = batch.plans[-1].first_index if batch.plans else 0
    return Progress(
        planned=_set(row.index for row in rows if row.status is ComparisonStatus.PLANNED),
        accepted=_set(row.index for row in rows if row.status is ComparisonStatus.ACCEPTED),
        retry_pool=_set(row.index for row in failed if row.attempt < limit),
        exhausted=sum(row.attempt >= limit for row in failed),
        judged=len(judged),
        judged_in_iteration=sum(index >= first for index in judged),
        spending=_recounted_spending(list(rows)),
    )


def _recounted_spending(rows: list[Comparison]) -> Spending:
    """Count anew what the answers have cost."""
    receipts = [(row, row.receipt) for row in rows if row.receipt is not None]
    return Spending(
        nanodollars=sum(round((paid.cost or 0) * NANO) + round(paid.earlier_cost * NANO) for _, paid in receipts),
        input_tokens=sum(paid.input_tokens + paid.earlier_tokens[0] for _, paid in receipts),
        output_tokens=sum(paid.output_tokens + paid.earlier_tokens[1] for _, paid in receipts),
        priced=sum(
            row.status is ComparisonStatus.JUDGED and paid.cost is not None and not paid.reused
            for row, paid in receipts
        ),
        reused=sum(paid.reused for _, paid in receipts),
    )


def check_batch(batch: Batch) -> None:
    """Assert what holds of every batch at every moment."""
    assert batch.progress == recount(batch)
    assert [row.index for row in batch.comparisons] == list(range(batch.total_comparisons))
    deadline = batch.roster.policy.comparison_deadline
    awaited = [row.due_at(deadline) for row in batch.comparisons if row.status is ComparisonStatus.ACCEPTED]
    assert batch.comparisons.first_due(deadline) == min(awaited, default=inf)
    assert (batch.control.iteration, batch.control.fits) == (len(batch.plans), len(batch.scores))
    if batch.state is BatchState.WAITING_CALLBACKS:
        assert batch.progress.planned or batch.progress.accepted, "waits for nothing"
        assert len(batch.progress.retry_pool) < batch.roster.policy.retry_pool_size, "enough failures, and no retry"
    if not batch.finished:
        assert next_due(batch) is not None
    assert (batch.control.finished_at is not None) == batch.finished


def check_rebuilt(batch: Batch, rebuilt: Batch | None) -> None:
    """Assert that the rows of a batch are enough to build it again, counters included."""
    assert rebuilt == batch


def check_timed_out(batch: Batch | None, opened_at: float, at: float) -> None:
    """Assert that a handled timeout leaves nothing that is due already, so that it cannot fire for ever."""
    if batch is not None and not batch.finished:
        due = next_due(batch, opened_at)
        assert due is not None
        assert due.at > at


class History:
    """Watches the changes of all batches and asserts what holds between them."""

    def __init__(self) -> None:
        self.verdicts: Counter[tuple[str, int, int]] = Counter()
        self._before: dict[tuple[str, int], Batch] = {}

    def check(self, event: Event, change: Change) -> None:
        """Assert what holds of a change, whatever the event."""
        if change.deleted is not None:
            self._forget(change.deleted.key)
        if change.batch is not None:
            self._check(event, change, change.batch)

    def _check(self, event: Event, change: Change, batch: Batch) -> None:
        check_batch(batch)
        if change.rows:
            assert isinstance(change.rows[-1], Control), "the control row is the commit record"
            assert sum(isinstance(row, Control) for row in change.rows) == 1
        for row in change.rows:
            if isinstance(row, Comparison):
                self._check_comparison(batch, row)
        self._check_end(event, batch)
        self._before[batch.key] = batch

    def _forget(self, key: tuple[str, int]) -> None:
        self._before.pop(key, None)
        for judged in [judged for judged in self.verdicts if judged[:2] == key]:
            del self.verdicts[judged]

    def _check_comparison(self, batch: Batch, row: Comparison) -> None:
        if row.status is ComparisonStatus.JUDGED:
            self.verdicts[*batch.key, row.index] += 1
        assert self.verdicts[*batch.key, row.index] <= 1, f"comparison {row.index} was judged twice"

    def _check_end(self, event: Event, batch: Batch) -> None:
        before = self._before.get(batch.key)
        if before is not None and before.finished:
            assert batch.state is before.state, f"{type(event).__name__} changed how a batch has ended"
            assert (batch.comparisons, batch.scores) == (before.comparisons, before.scores)

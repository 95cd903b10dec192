"""The batch: its rows together, with the counters that are derived from them.

A `Batch` is a value. `evolve` returns a new one with some rows replaced; nothing changes a batch in place. So whoever
holds one (the dispatcher, a view) sees one consistent moment of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec
from msgspec.structs import replace

from cj_stream.domain.comparison_list import ComparisonList
from cj_stream.domain.index_set import IndexSet, index_range
from cj_stream.domain.records import (
    Comparison,
    ComparisonStatus,
    Content,
    Control,
    Plan,
    Receipt,
    Roster,
    Row,
    Scores,
)
from cj_stream.domain.states import TERMINAL, BatchState

NANO = 1_000_000_000

_first_index = attrgetter("first_index")


class Spending(msgspec.Struct, frozen=True, gc=False):
    """What the answers of a batch have cost, all attempts together. Derived from the rows, never stored.

    Money is counted in whole billionths of a dollar, so that sums do not depend on their order.
    """

    nanodollars: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    priced: int = 0
    """Verdicts whose price is known and was paid here."""
    reused: int = 0
    """Verdicts that were paid for elsewhere."""

    @property
    def dollars(self) -> float:
        """US dollars, as far as prices are known."""
        return self.nanodollars / NANO

    def with_receipt(self, receipt: Receipt, *, judged: bool, step: int) -> Spending:
        """Return the sum with a receipt more (``step`` 1) or less (-1)."""
        cost = round((receipt.cost or 0.0) * NANO) + round(receipt.earlier_cost * NANO)
        earlier_in, earlier_out = receipt.earlier_tokens
        return Spending(
            self.nanodollars + step * cost,
            self.input_tokens + step * (receipt.input_tokens + earlier_in),
            self.output_tokens + step * (receipt.output_tokens + earlier_out),
            self.priced + step * (judged and receipt.cost is not None and not receipt.reused),
            self.reused + step * receipt.reused,
        )


class Progress(msgspec.Struct, frozen=True, gc=False):
    """The comparisons of a batch by status, as index sets and counts. Derived from the rows, never stored."""

    planned: IndexSet = IndexSet()
    accepted: IndexSet = IndexSet()
    retry_pool: IndexSet = IndexSet()
    """Failed, with attempts left."""
    exhausted: int = 0
    """Failed, with no attempt left."""
    judged: int = 0
    judged_in_iteration: int = 0
    spending: Spending = Spending()

    @property
    def failed(self) -> int:
        """Comparisons whose last attempt failed."""
        return len(self.retry_pool) + self.exhausted

    @property
    def settled(self) -> int:
        """Comparisons that will not change any more."""
        return self.judged + self.exhausted


class Batch(msgspec.Struct, frozen=True, gc=False):
    """One run of a batch. ``comparisons`` has an entry for every planned comparison, touched or not.

    Here and in the rows the garbage collector is told to look at nothing (``gc=False``): a row refers to nothing that
    could refer back to it, so there is no cycle to be found, and a hundred thousand batches need not be searched.
    """

    roster: Roster
    control: Control
    content: Content | None = None
    plans: tuple[Plan, ...] = ()
    scores: tuple[Scores, ...] = ()
    comparisons: ComparisonList = ComparisonList()
    progress: Progress = Progress()

    @property
    def batch_id(self) -> str:
        """The upstream batch id."""
        return self.roster.batch_id

    @property
    def run(self) -> int:
        """The number of this run of the batch id, from 1."""
        return self.roster.run

    @property
    def key(self) -> tuple[str, int]:
        """Batch id and run."""
        return self.roster.batch_id, self.roster.run

    @property
    def state(self) -> BatchState:
        """Where the batch stands."""
        return self.control.state

    @property
    def finished(self) -> bool:
        """Whether the batch is in a terminal state."""
        return self.control.state in TERMINAL

    @property
    def usable(self) -> tuple[int, ...]:
        """Roster positions of the essays that take part; empty until the texts are loaded."""
        return self.content.usable if self.content else ()

    @property
    def total_comparisons(self) -> int:
        """Comparisons planned so far."""
        return len(self.comparisons)

    @property
    def progress_pct(self) -> float:
        """Share of the planned comparisons with a verdict or a failure, percent."""
        processed = self.progress.judged + self.progress.failed
        return 100.0 * processed / len(self.comparisons) if self.comparisons else 0.0

    @property
    def iteration_size(self) -> int:
        """Comparisons of the newest plan."""
        return len(self.plans[-1].pairs) if self.plans else 0

    @property
    def awaited_in_iteration(self) -> bool:
        """Whether a comparison of the newest plan is to be submitted or awaits its callback."""
        start = self.plans[-1].first_index if self.plans else 0
        return self.progress.accepted.reaches(start) or self.progress.planned.reaches(start)

    @property
    def unused_pairs(self) -> int:
        """Comparisons of usable essays that may still be planned."""
        n = len(self.usable)
        return n * (n - 1) // 2 * self.roster.policy.judging.judgements_per_pair - len(self.comparisons)

    @property
    def round_size(self) -> int:
        """Pairs of a round, in which every essay takes part once (all but one of an odd number); at least 1."""
        return max(len(self.usable) // 2, 1)

    @property
    def pairs_per_iteration(self) -> int:
        """Pairs of an iteration, planned together or in several waves; at least 1."""
        return max(len(self.usable) * self.roster.policy.comparisons_per_essay // 2, 1)

    @property
    def iteration(self) -> int:
        """The number of the current iteration, 0 before the first plan."""
        return -(-len(self.comparisons) // self.pairs_per_iteration)

    def pair(self, index: int) -> tuple[int, int]:
        """Return the roster positions that comparison ``index`` compares, first-presented first."""
        number = bisect_right(self.plans, index, key=_first_index) - 1
        if number < 0:
            raise IndexError(f"batch {self.batch_id} has no comparison {index}")
        plan = self.plans[number]
        return plan.pairs[index - plan.first_index]

    def essay_ids(self, index: int) -> tuple[str, str]:
        """Return the essay ids that comparison ``index`` compares, in presented order."""
        first, second = self.pair(index)
        return self.roster.essays[first].id, self.roster.essays[second].id

    def find(self, essay_ids: tuple[str, str] | None) -> int | None:
        """Return the first comparison of two essays in this order, None when there is none."""
        if essay_ids is None:
            return None
        firsts, seconds = ({at for at, essay in enumerate(self.roster.essays) if essay.id == id_} for id_ in essay_ids)
        for plan in self.plans:
            for place, (first, second) in enumerate(plan.pairs):
                if first in firsts and second in seconds:
                    return plan.first_index + place
        return None


def evolve(batch: Batch, rows: Iterable[Row]) -> Batch:
    """Return ``batch`` with ``rows`` put in; a row replaces the one of its kind and number."""
    comparisons: list[Comparison] = []
    for row in rows:
        match row:
            case Comparison():
                comparisons.append(row)
            case Control():
                batch = replace(batch, control=row)
            case Plan():
                batch = _with_plan(batch, row)
            case Scores():
                batch = replace(batch, scores=(*batch.scores[: row.fit - 1], row))
            case Content():
                batch = replace(batch, content=row)
            case Roster():
                batch = replace(batch, roster=row)
    return _with_comparisons(batch, comparisons) if comparisons else batch


def _with_plan(batch: Batch, plan: Plan) -> Batch:
    count = len(plan.pairs)
    planned = batch.progress.planned.union_of(index_range(plan.first_index, count))
    return replace(
        batch,
        plans=(*batch.plans, plan),
        comparisons=batch.comparisons.extended(count),
        progress=replace(batch.progress, planned=planned, judged_in_iteration=0),
    )


def _with_comparisons(batch: Batch, rows: Sequence[Comparison]) -> Batch:
    newest: dict[int, Comparison] = {}
    tally = _Tally(batch)
    for row in rows:
        tally.move(newest.get(row.index) or batch.comparisons[row.index], row)
        newest[row.index] = row
    return replace(batch, comparisons=batch.comparisons.replaced(newest.values()), progress=tally.progress())


class _Tally:
    """Moves comparisons between the sets and counts of a `Progress`."""

    __slots__ = ("_exhausted", "_first", "_judged", "_judged_in_iteration", "_max_attempts", "_sets", "_spending")

    def __init__(self, batch: Batch) -> None:
        before = batch.progress
        self._max_attempts = batch.roster.policy.max_attempts
        self._first = batch.plans[-1].first_index if batch.plans else 0
        self._sets = [before.planned, before.accepted, before.retry_pool]
        """By `ComparisonStatus`."""
        self._exhausted = before.exhausted
        self._judged = before.judged
        self._judged_in_iteration = before.judged_in_iteration
        self._spending = before.spending

    def move(self, old: Comparison, new: Comparison) -> None:
        self._count(old, -1)
        self._count(new, +1)

    def _count(self, row: Comparison, step: int) -> None:
        status = row.status
        if status is ComparisonStatus.JUDGED:
            self._judged += step
            self._judged_in_iteration += step if row.index >= self._first else 0
        elif status is ComparisonStatus.FAILED and row.attempt >= self._max_attempts:
            self._exhausted += step
        else:
            # In the set, or out of it again.
            self._sets[status] = self._sets[status].toggled(row.index)
        if row.receipt is not None:
            judged = status is ComparisonStatus.JUDGED
            self._spending = self._spending.with_receipt(row.receipt, judged=judged, step=step)

    def progress(self) -> Progress:
        planned, accepted, retry_pool = self._sets
        return Progress(
            planned, accepted, retry_pool, self._exhausted, self._judged, self._judged_in_iteration, self._spending
        )

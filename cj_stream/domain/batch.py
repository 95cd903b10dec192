"""The batch: its rows together, with the counters that are derived from them.

A `Batch` is a value. `evolve` returns a new one with some rows replaced; nothing changes a batch in place. So whoever
holds one (the dispatcher, a view) sees one consistent moment of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from cj_stream.domain.records import (
    Comparison,
    ComparisonStatus,
    Content,
    Control,
    Plan,
    Roster,
    Row,
    Scores,
)
from cj_stream.domain.states import TERMINAL, BatchState

AnyRow = Roster | Content | Plan | Comparison | Scores | Control


@dataclass(frozen=True)
class Progress:
    """The comparisons of a batch by status, as index sets and counts. Derived from the rows, never stored."""

    planned: frozenset[int] = frozenset()
    accepted: frozenset[int] = frozenset()
    retry_pool: frozenset[int] = frozenset()
    """Failed, with attempts left."""
    exhausted: int = 0
    """Failed, with no attempt left."""
    judged: int = 0
    judged_in_iteration: int = 0

    @property
    def failed(self) -> int:
        """Comparisons whose last attempt failed."""
        return len(self.retry_pool) + self.exhausted

    @property
    def settled(self) -> int:
        """Comparisons that will not change any more."""
        return self.judged + self.exhausted

    @property
    def outstanding(self) -> int:
        """Comparisons that are submitted, to be submitted, or to be tried again."""
        return len(self.planned) + len(self.accepted) + len(self.retry_pool)


@dataclass(frozen=True)
class Batch:
    """One run of a batch. ``comparisons`` has an entry for every planned comparison, touched or not."""

    roster: Roster
    control: Control
    content: Content | None = None
    plans: tuple[Plan, ...] = ()
    scores: tuple[Scores, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    progress: Progress = field(default_factory=Progress)

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
        return any(i >= start for i in self.progress.planned) or any(i >= start for i in self.progress.accepted)

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
        for plan in reversed(self.plans):
            if index >= plan.first_index:
                return plan.pairs[index - plan.first_index]
        raise IndexError(f"batch {self.batch_id} has no comparison {index}")

    def essay_ids(self, index: int) -> tuple[str, str]:
        """Return the essay ids that comparison ``index`` compares, in presented order."""
        first, second = self.pair(index)
        return self.roster.essays[first].id, self.roster.essays[second].id


def evolve(batch: Batch, rows: Iterable[Row]) -> Batch:
    """Return ``batch`` with ``rows`` put in; a row replaces the one of its kind and number."""
    comparisons: list[Comparison] = []
    for row in rows:
        match row:
            case Comparison():
                comparisons.append(row)
            case Plan():
                batch = _with_plan(batch, row)
            case Scores():
                batch = replace(batch, scores=(*batch.scores[: row.fit - 1], row))
            case Control():
                batch = replace(batch, control=row)
            case Content():
                batch = replace(batch, content=row)
            case Roster():
                batch = replace(batch, roster=row)
    return _with_comparisons(batch, comparisons) if comparisons else batch


def _with_plan(batch: Batch, plan: Plan) -> Batch:
    indexes = range(plan.first_index, plan.first_index + len(plan.pairs))
    return replace(
        batch,
        plans=(*batch.plans, plan),
        comparisons=batch.comparisons + tuple(Comparison(index=index) for index in indexes),
        progress=replace(batch.progress, planned=batch.progress.planned.union(indexes), judged_in_iteration=0),
    )


def _with_comparisons(batch: Batch, rows: Sequence[Comparison]) -> Batch:
    comparisons = list(batch.comparisons)
    tally = _Tally(batch)
    for row in rows:
        tally.move(comparisons[row.index], row)
        comparisons[row.index] = row
    return replace(batch, comparisons=tuple(comparisons), progress=tally.progress())


class _Tally:
    """Moves comparisons between the sets and counts of a `Progress`."""

    def __init__(self, batch: Batch) -> None:
        before = batch.progress
        self._max_attempts = batch.roster.policy.max_attempts
        self._iteration_start = batch.plans[-1].first_index if batch.plans else 0
        self._sets = {
            ComparisonStatus.PLANNED: set(before.planned),
            ComparisonStatus.ACCEPTED: set(before.accepted),
            ComparisonStatus.FAILED: set(before.retry_pool),
        }
        self._exhausted = before.exhausted
        self._judged = before.judged
        self._judged_in_iteration = before.judged_in_iteration

    def move(self, old: Comparison, new: Comparison) -> None:
        self._count(old, -1)
        self._count(new, +1)

    def _count(self, row: Comparison, step: int) -> None:
        if row.status is ComparisonStatus.JUDGED:
            self._judged += step
            self._judged_in_iteration += step if row.index >= self._iteration_start else 0
        elif row.status is ComparisonStatus.FAILED and row.attempt >= self._max_attempts:
            self._exhausted += step
        elif step > 0:
            self._sets[row.status].add(row.index)
        else:
            self._sets[row.status].discard(row.index)

    def progress(self) -> Progress:
        return Progress(
            planned=frozenset(self._sets[ComparisonStatus.PLANNED]),
            accepted=frozenset(self._sets[ComparisonStatus.ACCEPTED]),
            retry_pool=frozenset(self._sets[ComparisonStatus.FAILED]),
            exhausted=self._exhausted,
            judged=self._judged,
            judged_in_iteration=self._judged_in_iteration,
        )

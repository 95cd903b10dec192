"""The ranking of a batch, from its newest fit."""

from __future__ import annotations

from typing import NamedTuple

from cj_stream.domain.batch import Batch


class RankedEssay(NamedTuple):
    """One line of a ranking. ``theta`` and ``standard_error`` are in logits, the scale centred at zero."""

    rank: int
    essay_id: str
    theta: float
    standard_error: float | None
    comparisons: int
    wins: float


def ranking(batch: Batch) -> list[RankedEssay]:
    """Return the usable essays, best first; empty before the first fit. A single essay simply has rank 1."""
    essays = batch.roster.essays
    if len(batch.usable) == 1:
        return [RankedEssay(1, essays[batch.usable[0]].id, 0.0, None, 0, 0.0)]
    if not batch.scores:
        return []
    scores = batch.scores[-1]
    order = sorted(range(len(scores.theta)), key=lambda i: -scores.theta[i])
    return [
        RankedEssay(
            rank,
            essays[batch.usable[i]].id,
            scores.theta[i],
            scores.standard_error[i],
            scores.comparisons[i],
            scores.wins[i],
        )
        for rank, i in enumerate(order, 1)
    ]

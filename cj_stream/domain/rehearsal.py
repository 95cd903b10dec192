"""Plays a batch through in memory, before anything is asked or paid: the same decisions, with verdicts that are drawn.

How many comparisons a batch needs depends on its verdicts, so the play is repeated with several draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

from cj_stream.domain import computations
from cj_stream.domain.batch import Batch
from cj_stream.domain.decider import decide
from cj_stream.domain.events import BatchRequested, ContentLoaded, Event, VerdictReceived
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Slot
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Score, Submit, todo

SPREAD = 2.0
"""Standard deviation of the essays' qualities, logits, as in ``cj-stream simulate``."""


def rehearsed(request: BatchRequested, policy: Policy, *, seed: int, spread: float = SPREAD) -> Batch:
    """Return the batch as it ends when its verdicts follow the Bradley-Terry model."""
    random = Random(seed)  # noqa: S311 -- a draw of verdicts, not a secret
    qualities = {essay.id: random.gauss(0.0, spread) for essay in request.essays}

    def first_wins(first: str, second: str) -> bool:
        return random.random() < 1 / (1 + math.exp(qualities[second] - qualities[first]))

    batch = decide(None, request, policy, at=0.0).batch
    while batch is not None and not batch.finished:
        batch = decide(batch, _carried_out(todo(batch)[0], batch, first_wins), policy, at=0.0).batch
    if batch is None:
        raise ValueError("the service would not take this request")
    return batch


def _carried_out(effect: Effect, batch: Batch, first_wins: Callable[[str, str], bool]) -> Event:
    match effect:
        case LoadContent():
            return ContentLoaded(batch_id=batch.batch_id, run=batch.run)
        case PlanPairs():
            return computations.plan(batch)
        case Score():
            return computations.score(batch)
        case Submit(index=index, attempt=attempt):
            winner: Slot = "A" if first_wins(*batch.essay_ids(index)) else "B"
            return VerdictReceived(batch_id=batch.batch_id, run=batch.run, index=index, attempt=attempt, winner=winner)
    raise AssertionError(f"no such effect: {effect}")

"""The two computations of a batch, choosing pairs and fitting: from a batch to the event that reports the result.

Each has three parts. The task is what of a batch the computation needs, small enough to be sent to another process.
The computation is a function of the task alone. The report makes an event of its result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import PairsPlanned, ScoresComputed
from cj_stream.domain.records import ComparisonStatus, Scores
from cj_stream.scoring.estimation.data import Comparisons
from cj_stream.scoring.estimation.estimator import map_estimate
from cj_stream.scoring.estimation.fit import Fit
from cj_stream.scoring.pairing.matching import Pair
from cj_stream.scoring.pairing.pairing import MIN_RANDOM_ROUNDS, PairingPolicy, plan_pairs
from cj_stream.scoring.quality.certainty import classification_accuracy
from cj_stream.scoring.quality.stopping import largest_change

PAIRS_AT_ONCE = 50_000
"""Pairs that are planned at a time at most: a plan is one row and one event, of up to 11 bytes for each pair."""


@dataclass(frozen=True)
class PairsTask:
    """What pairs are chosen from; essays are positions in the list of usable ones."""

    count: int
    history: Sequence[Pair]
    verdicts: Comparisons
    random: bool
    pending: Sequence[Pair]
    seed: int
    judgements_per_pair: int


@dataclass(frozen=True)
class FitTask:
    """What scores are computed from; ``verdicts`` in the order of the plan, whenever they came."""

    fit: int
    iteration: int
    verdicts: Comparisons
    round_size: int
    levels: Sequence[float]
    """Grade boundaries as points on the scale."""
    marks: Sequence[int]
    """Grade boundaries as essays."""


def plan(batch: Batch) -> PairsPlanned:
    """Choose the next pairs: random matchings first, then the most informative pairs."""
    return pairs_event(batch, choose_pairs(pairs_task(batch)))


def score(batch: Batch) -> ScoresComputed:
    """Fit the model to every verdict there is."""
    return scores_event(batch, compute_scores(fit_task(batch)))


def pairs_task(batch: Batch) -> PairsTask:
    """Return the task of choosing the next pairs."""
    position = _positions(batch)
    pairs = [(position[a], position[b]) for plan in batch.plans for a, b in plan.pairs]
    progress = batch.progress
    return PairsTask(
        count=_pairs_wanted(batch),
        history=pairs,
        verdicts=_verdicts(batch, pairs),
        random=_random_pairs_left(batch) > 0,
        pending=[pairs[i] for i in progress.planned.union_of(progress.accepted, progress.retry_pool)],
        seed=batch.roster.seed + batch.control.iteration + 1,
        judgements_per_pair=batch.roster.policy.judging.judgements_per_pair,
    )


def choose_pairs(task: PairsTask) -> list[Pair]:
    """Choose pairs of positions in the list of usable essays."""
    return plan_pairs(
        task.verdicts.n,
        task.count,
        task.history,
        None if task.random else fitted(task.verdicts),
        task.seed,
        pending=task.pending,
        judgements_per_pair=task.judgements_per_pair,
    )


def pairs_event(batch: Batch, pairs: Sequence[Pair]) -> PairsPlanned:
    """Report the chosen pairs."""
    return PairsPlanned(
        batch_id=batch.batch_id,
        run=batch.run,
        iteration=batch.control.iteration + 1,
        pairs=tuple((batch.usable[a], batch.usable[b]) for a, b in pairs),
    )


def fit_task(batch: Batch) -> FitTask:
    """Return the task of computing the scores."""
    position = _positions(batch)
    essays = {batch.roster.essays[at].id: i for at, i in position.items()}
    pairs = [(position[a], position[b]) for plan in batch.plans for a, b in plan.pairs]
    boundaries = batch.roster.policy.judging.grade_boundaries
    return FitTask(
        fit=batch.control.fits + 1,
        iteration=batch.iteration,
        verdicts=_verdicts(batch, pairs),
        round_size=batch.round_size,
        levels=[level for level in boundaries if not isinstance(level, str)],
        # An essay that could not be loaded marks no boundary.
        marks=[essays[mark] for mark in boundaries if isinstance(mark, str) and mark in essays],
    )


def compute_scores(task: FitTask) -> Scores:
    """Fit the model, and once more without the last round, to see what that round has changed."""
    verdicts = task.verdicts
    earlier = np.arange(len(verdicts)) < len(verdicts) - task.round_size
    fit = fitted(verdicts)
    before = fitted(verdicts.where(earlier)) if earlier.any() else None
    return Scores(
        fit=task.fit,
        iteration=task.iteration,
        verdicts=len(verdicts),
        theta=tuple(fit.theta.tolist()),
        standard_error=tuple(fit.standard_error.tolist()),
        reliability=_finite(fit.reliability),
        ssr=_finite(fit.separation_reliability),
        comparisons=tuple(int(count) for count in fit.comparisons_per_item),
        wins=tuple(float(wins) for wins in fit.wins_per_item),
        components=fit.components,
        position_bias=fit.position_bias and fit.position_bias.estimate,
        previous_reliability=_finite(before.reliability) if before else None,
        largest_change=largest_change(before.theta, fit.theta) if before else None,
        grade_certainty=classification_accuracy(fit, task.levels, task.marks),
    )


def scores_event(batch: Batch, scores: Scores) -> ScoresComputed:
    """Report the fit."""
    return ScoresComputed(
        batch_id=batch.batch_id, run=batch.run, scoring_round=batch.control.scoring_round, scores=scores
    )


def fitted(verdicts: Comparisons) -> Fit:
    """Fit the model as batches do: with the advantage of being presented first, which costs nothing if it is nil."""
    return map_estimate(verdicts, position=True)


def _pairs_wanted(batch: Batch) -> int:
    policy, total, size = batch.roster.policy, batch.total_comparisons, batch.pairs_per_iteration
    rest_of_iteration = size - total % size
    wave = min(policy.judging.wave_size or rest_of_iteration, PAIRS_AT_ONCE)
    wanted = min(wave, rest_of_iteration, policy.max_comparisons - total)
    random_left = _random_pairs_left(batch)
    return min(wanted, random_left) if random_left > 0 else wanted


def _random_pairs_left(batch: Batch) -> int:
    """Pairs still to be chosen at random, whatever the wave size; at most 0 when it is time for adaptive ones."""
    policy = batch.roster.policy
    if policy.judging.pairing is PairingPolicy.RANDOM:
        return policy.max_comparisons
    iterations = policy.random_iterations * batch.pairs_per_iteration
    return max(iterations, MIN_RANDOM_ROUNDS * batch.round_size) - batch.total_comparisons


def _positions(batch: Batch) -> dict[int, int]:
    return {essay: i for i, essay in enumerate(batch.usable)}


def _verdicts(batch: Batch, pairs: Sequence[Pair]) -> Comparisons:
    judged = [row for row in batch.comparisons if row.status is ComparisonStatus.JUDGED]
    compared = np.array([pairs[row.index] for row in judged], dtype=np.int64).reshape(-1, 2)
    first_wins = np.array([row.winner == "A" for row in judged], dtype=np.float64)
    return Comparisons(len(batch.usable), compared[:, 0], compared[:, 1], first_wins)


def _finite(value: float | None) -> float | None:
    # NaN has no place in a row: it is neither equal to itself nor legal JSON.
    return None if value is None or value != value else float(value)  # noqa: PLR0124 (the test for NaN)

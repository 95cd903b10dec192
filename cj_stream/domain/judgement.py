"""The two computations of the loop, from a batch to the event that reports them: planning pairs, and fitting."""

from __future__ import annotations

from cj_stream.domain.batch import Batch
from cj_stream.domain.events import PairsPlanned, ScoresComputed
from cj_stream.domain.records import ComparisonStatus, Scores
from cj_stream.scoring.data import Comparisons
from cj_stream.scoring.estimator import map_estimate
from cj_stream.scoring.pairing import plan_pairs


def plan(batch: Batch) -> PairsPlanned:
    """Choose the pairs of the next iteration: random matchings first, then the most informative pairs."""
    policy, usable = batch.roster.policy, batch.usable
    iteration = batch.control.iteration + 1
    wanted = len(usable) * policy.comparisons_per_essay // 2
    budget = policy.max_comparisons - batch.total_comparisons
    position = {essay: i for i, essay in enumerate(usable)}
    history = [(position[a], position[b]) for plan in batch.plans for a, b in plan.pairs]
    fit = map_estimate(_verdicts(batch)) if iteration > policy.random_iterations else None
    pairs = plan_pairs(len(usable), min(wanted, budget), history, fit, batch.roster.seed + iteration)
    return PairsPlanned(
        batch_id=batch.batch_id,
        run=batch.run,
        iteration=iteration,
        pairs=tuple((usable[a], usable[b]) for a, b in pairs),
    )


def score(batch: Batch) -> ScoresComputed:
    """Fit the model to every verdict there is."""
    verdicts = _verdicts(batch)
    fit = map_estimate(verdicts)
    scores = Scores(
        fit=batch.control.fits + 1,
        iteration=batch.control.iteration,
        verdicts=len(verdicts.first),
        theta=tuple(fit.theta.tolist()),
        standard_error=tuple(fit.standard_error.tolist()),
        reliability=_finite(fit.reliability),
        ssr=_finite(fit.separation_reliability),
        comparisons=tuple(int(count) for count in fit.comparisons_per_item),
        wins=tuple(float(wins) for wins in fit.wins_per_item),
        components=fit.components,
    )
    return ScoresComputed(
        batch_id=batch.batch_id, run=batch.run, scoring_round=batch.control.scoring_round, scores=scores
    )


def _verdicts(batch: Batch) -> Comparisons:
    position = {essay: i for i, essay in enumerate(batch.usable)}
    triples = []
    for row in batch.comparisons:
        if row.status is ComparisonStatus.JUDGED:
            first, second = batch.pair(row.index)
            triples.append((position[first], position[second], 1.0 if row.winner == "A" else 0.0))
    return Comparisons.from_triples(len(batch.usable), triples)


def _finite(value: float | None) -> float | None:
    # NaN has no place in a row: it is neither equal to itself nor legal JSON.
    return None if value is None or value != value else float(value)  # noqa: PLR0124 (the test for NaN)

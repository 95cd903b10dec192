"""A batch as the views show it: the summary for lists, and the detail with everything that is small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import msgspec

from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import Outcome, unpublished
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Comparison, ComparisonStatus
from cj_stream.domain.states import BatchState
from cj_stream.engine.times import (
    iso_time,
    iso_time_or_none,
)


@dataclass(frozen=True)
class Place:
    """Where a batch lives: its home partition, and the base URL of the worker that serves it."""

    partition: int
    worker: str


def summary(batch: Batch, place: Place) -> dict[str, Any]:
    """Return the summary of a batch. The comparisons are counted by status, so the five counts add up to the total.

    ``progress_pct`` is the share of what is planned so far that is settled, ``budget_pct`` the share of all that may
    ever be planned that has a verdict: it never goes back.
    """
    control, progress, scores = batch.control, batch.progress, batch.scores
    awaited = 0 if batch.finished else len(progress.accepted)
    planned = 0 if batch.finished else len(progress.planned)
    return {
        "batch_id": batch.batch_id,
        "run": batch.run,
        "state": batch.state.value,
        "created_at": iso_time(control.created_at),
        "last_activity_at": iso_time(control.activity_at),
        "state_since": iso_time(control.state_since),
        "finished_at": iso_time_or_none(control.finished_at),
        "essays": len(batch.roster.essays),
        "usable_essays": len(batch.usable),
        "current_iteration": batch.iteration,
        "max_iterations": batch.roster.policy.max_iterations,
        "total_comparisons": batch.total_comparisons,
        "submitted_comparisons": sum(_was_submitted(row) for row in batch.comparisons),
        "completed_comparisons": progress.judged,
        "failed_comparisons": progress.failed,
        "in_flight_comparisons": awaited,
        "planned_comparisons": planned,
        "unanswered_comparisons": len(progress.accepted) + len(progress.planned) - awaited - planned,
        "progress_pct": round(batch.progress_pct, 1),
        "expected_comparisons": expected_comparisons(batch),
        "budget_pct": _budget_pct(batch),
        **spending(batch),
        "reliability": scores[-1].reliability if scores else None,
        "failure": control.failure,
        "stop_reason": control.stop_reason,
        "partition": place.partition,
        "worker": place.worker,
    }


def detail(batch: Batch, place: Place, newest_run: int) -> dict[str, Any]:
    """Return the summary and, besides, identity, policy, outcomes and what became of the essays."""
    control, roster = batch.control, batch.roster
    return {
        **summary(batch, place),
        "correlation_id": roster.correlation_id,
        "joined_correlation_ids": list(control.joined),
        "partial_scoring_triggered": control.partial_scoring_triggered,
        "completion_threshold_pct": roster.policy.completion_threshold_pct,
        "processing_metadata": {
            "digest": roster.digest,
            "question_sha256": batch.content.question_sha256 if batch.content else "",
            "question": batch.content.question if batch.content else "",
            "seed": roster.seed,
            "scoring_rounds": control.scoring_round,
            "fits": control.fits,
            "previous_scores": _newest_scores(batch),
        },
        "failure_details": dict(control.failure_details),
        "failed_essays": failed_essays(batch),
        "outcomes": _outcomes(batch),
        "policy": _policy(roster.policy),
        "runs": newest_run,
    }


def expected_comparisons(batch: Batch) -> int:
    """Return the largest number of comparisons that all iterations together may plan.

    Before the texts are loaded every essay counts; once no more pairs are planned, it is what was planned.
    """
    if batch.finished or batch.control.stop_reason:
        return batch.total_comparisons
    policy, n = batch.roster.policy, len(batch.usable if batch.content else batch.roster.essays)
    wanted = policy.max_iterations * (n * policy.comparisons_per_essay // 2)
    return min(wanted, n * (n - 1) // 2 * policy.judging.judgements_per_pair, policy.max_comparisons)


def spending(batch: Batch) -> dict[str, Any]:
    """Return what a batch has cost so far, in US dollars and tokens, and what it may cost.

    ``cost_known`` says whether the price of every verdict is known; where it is not, ``cost`` is a part of the cost.
    """
    progress = batch.progress
    spent = progress.spending
    return {
        "cost": spent.dollars,
        "cost_known": progress.judged <= spent.priced + spent.reused,
        "max_cost": batch.roster.policy.judging.max_cost,
        "reused_comparisons": spent.reused,
        "input_tokens": spent.input_tokens,
        "output_tokens": spent.output_tokens,
    }


def _budget_pct(batch: Batch) -> float:
    if batch.state is BatchState.COMPLETED:
        return 100.0
    return round(100.0 * batch.progress.judged / max(expected_comparisons(batch), 1), 1)


def failed_essays(batch: Batch) -> list[dict[str, Any]]:
    """Return the essays that could not take part, in the order of the request, and why."""
    unusable = batch.content.unusable if batch.content else {}
    return [{"essay_id": batch.roster.essays[i].id, "reason": unusable[i]} for i in sorted(unusable)]


def _policy(policy: Policy) -> dict[str, Any]:
    fields = msgspec.structs.asdict(policy) | {"judging": msgspec.structs.asdict(policy.judging)}
    return cast("dict[str, Any]", msgspec.to_builtins(fields))


def _was_submitted(row: Comparison) -> bool:
    # A comparison that was planned anew had an earlier attempt, of which the row keeps no more than the count.
    return row.attempt > 1 or row.answered or row.status is ComparisonStatus.ACCEPTED or row.submitted_at is not None


def _newest_scores(batch: Batch) -> dict[str, float]:
    if not batch.scores:
        return {}
    return {batch.roster.essays[i].id: theta for i, theta in zip(batch.usable, batch.scores[-1].theta, strict=True)}


def _outcomes(batch: Batch) -> list[dict[str, Any]]:
    control = batch.control
    told = [_outcome(Outcome.named(name), published=True) for name in control.published]
    refused = [
        _outcome(Outcome.named(each.outcome), published=False) | {"refused": each.why} for each in control.unpublishable
    ]
    return [*told, *refused, *(_outcome(outcome, published=False) for outcome in unpublished(batch))]


def _outcome(outcome: Outcome, *, published: bool) -> dict[str, Any]:
    return {"kind": outcome.kind, "correlation_id": outcome.correlation_id, "published": published}

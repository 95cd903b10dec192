"""Why a batch stands where it stands: what it waits for, what happens next by itself, and what an operator can do."""

from __future__ import annotations

from math import ceil
from typing import Any

from cj_stream.domain.batch import Batch
from cj_stream.domain.deadlines import Deadline, DeadlineKind, next_due
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.records import ComparisonStatus
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Publish, Score, Submit, TakeOver, TellProvider, todo
from cj_stream.engine.times import (
    iso_time,
    iso_time_or_none,
)
from cj_stream.provider.breakers import HeldUp
from cj_stream.views.hints import hints

EFFECTS_SHOWN = 20
ERRORS_SHOWN = 5


def explanation(batch: Batch, postponed: str | None, opened_at: float, held_up: HeldUp | None = None) -> dict[str, Any]:
    """Return the explanation.

    ``postponed`` says whom the batch's work waits for, None when it does not; ``opened_at``, in seconds since the
    epoch, since when its partition is served: no batch counts as idle from before. ``held_up`` is the breaker of the
    batch's provider and model, None when that is closed.
    """
    return {
        "batch_id": batch.batch_id,
        "run": batch.run,
        "state": batch.state.value,
        "waiting_for": _waiting_for(batch),
        "since": iso_time(batch.control.state_since),
        "next_event": _next_event(batch, opened_at),
        "effects_to_do": [
            {"kind": type(effect).__name__, "what": _what(effect, batch)} for effect in todo(batch)[:EFFECTS_SHOWN]
        ],
        "postponed": postponed,
        "breaker": None if held_up is None or batch.finished else _breaker(held_up, batch.batch_id),
        "last_errors": _last_errors(batch),
        "unpublishable": [
            {"outcome": refused.outcome, "why": refused.why, "at": iso_time(refused.at)}
            for refused in batch.control.unpublishable[:ERRORS_SHOWN]
        ],
        "hints": hints(batch, postponed),
    }


def _breaker(held_up: HeldUp, batch_id: str) -> dict[str, Any]:
    return {
        "scope": held_up.scope,
        "state": held_up.state.value,
        "failures_of": held_up.batch_id,
        "own_failures": held_up.batch_id == batch_id,
        "why": held_up.why,
        "next_probe_at": iso_time(held_up.next_probe_at),
    }


def _waiting_for(batch: Batch) -> str:
    match batch.state:
        case BatchState.INITIALIZING:
            return f"The texts of {len(batch.roster.essays)} essays are being loaded from the content service."
        case BatchState.GENERATING_PAIRS:
            return f"The pairs of iteration {_next_iteration(batch)} are being chosen."
        case BatchState.WAITING_CALLBACKS:
            return _waiting_for_callbacks(batch)
        case BatchState.SCORING:
            last = " for the last time" if batch.control.stop_reason else ""
            return f"The scores are being fitted to {batch.progress.judged} verdicts{last}."
    waiting = len(unpublished(batch))
    if waiting:
        return f"The batch has ended as {batch.state}; {waiting} outcome event(s) are still to be published."
    refused = len(batch.control.unpublishable)
    told = f"{refused} outcome event(s) could not be published" if refused else "everybody has been told"
    return f"Nothing: the batch has ended as {batch.state}, and {told}."


def _waiting_for_callbacks(batch: Batch) -> str:
    progress, policy = batch.progress, batch.roster.policy
    enough = ceil(policy.completion_threshold_pct * batch.iteration_size / 100)
    wave = "" if policy.judging.wave_size is None else f"Wave {batch.control.iteration}, in i"
    return (
        f"{wave or 'I'}teration {batch.iteration} of at most {policy.max_iterations} has "
        f"{progress.judged_in_iteration} of {batch.iteration_size} verdicts and closes at {enough}: "
        f"{len(progress.accepted)} comparison(s) await their callback, {len(progress.planned)} are to be submitted, "
        f"{len(progress.retry_pool)} failed and may be tried again."
    )


def _next_iteration(batch: Batch) -> int:
    return batch.total_comparisons // batch.pairs_per_iteration + 1


def _next_event(batch: Batch, opened_at: float) -> dict[str, str] | None:
    due = next_due(batch, opened_at)
    return None if due is None else {"what": _what_falls_due(batch, due), "at": iso_time(due.at)}


def _what_falls_due(batch: Batch, due: Deadline) -> str:
    ending = f"is scored if {batch.roster.policy.timeout_completion_pct:g} % of it is done, and fails otherwise"
    match due.kind:
        case DeadlineKind.COMPARISON:
            what = "The oldest comparison without a callback fails with TIMEOUT"
            return f"{what}; it is tried again while attempts are left."
        case DeadlineKind.IDLE:
            return f"If nothing moves until then, the batch is stuck: it {ending}."
        case DeadlineKind.FIT:
            return "If the fit has not ended by then, the batch is stuck: it fails."
        case DeadlineKind.AGE:
            return f"The batch reaches its largest age: it {ending}."
        case DeadlineKind.AGE_AFTER_DOWNTIME:
            what = "The batch reached its largest age while no worker served it"
            return f"{what}. Whatever moves until then, it {ending}."
        case DeadlineKind.RETENTION:
            return "The batch is deleted: its retention period is over."


def _what(effect: Effect, batch: Batch) -> str:  # noqa: PLR0911 -- a sentence for each kind of effect
    match effect:
        case LoadContent():
            return f"load the texts of {len(batch.roster.essays)} essays"
        case PlanPairs():
            return f"choose the pairs of iteration {_next_iteration(batch)}"
        case Submit():
            first, second = batch.essay_ids(effect.index)
            return f"submit comparison {effect.index}, attempt {effect.attempt}: {first} and {second}"
        case Score():
            return f"fit the scores to {batch.progress.judged} verdicts"
        case TakeOver():
            return f"look for verdicts of batch {batch.roster.policy.judging.reuse_judgements} on the same texts"
        case TellProvider():
            return "tell the provider that nothing of this run is wanted any more"
        case Publish():
            return f"publish the {effect.outcome.kind} event of request {effect.outcome.correlation_id}"
    raise TypeError(f"no words for the effect {effect!r}")


def _last_errors(batch: Batch) -> list[dict[str, Any]]:
    failed = [row for row in batch.comparisons if row.status is ComparisonStatus.FAILED]
    failed.sort(key=lambda row: (row.completed_at or 0.0, row.index), reverse=True)
    return [
        {
            "index": row.index,
            "attempt": row.attempt,
            "error_code": row.error_code,
            "error_message": row.error_message,
            "at": iso_time_or_none(row.completed_at),
        }
        for row in failed[:ERRORS_SHOWN]
    ]

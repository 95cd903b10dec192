"""How a batch goes on: to more pairs, to a fit, to its end. Decided from its state alone, nothing is computed here.

What was planned together closes when enough of its comparisons have verdicts, or when nothing of it is awaited any
more. Then the model is fitted, if a round of verdicts or more has come since the last fit; after the fit, either a
stopping rule ends the batch or the next pairs are planned.
"""

from __future__ import annotations

from cj_stream.domain.batch import Batch
from cj_stream.domain.comparisons import renew
from cj_stream.domain.draft import Draft, NoteKind
from cj_stream.domain.events import ContentLoaded, PairsPlanned, ScoresComputed
from cj_stream.domain.money import is_spent, price_is_unknown
from cj_stream.domain.records import Content, Plan
from cj_stream.domain.states import BatchState, Decision, FailureReason
from cj_stream.scoring.quality.stopping import Figures, StopReason, settled, spent


def advance(draft: Draft) -> None:
    """Carry out what follows from the state, until there is nothing left to decide. Called after every event."""
    if draft.batch.state is BatchState.WAITING_CALLBACKS:
        _retry_failed(draft)
        decision = decide_waiting(draft.batch)
        if decision is Decision.PUBLISH_FAILURE:
            _fail(draft)
        elif decision is Decision.TRIGGER_FINAL_SCORING and (reason := _spent(draft.batch)):
            trigger_final_scoring(draft, reason)
        elif decision is Decision.TRIGGER_PARTIAL_SCORING:
            _note_decision(draft, decision)
            draft.control(partial_scoring_triggered=True)
            _score(draft)
        elif decision is Decision.GENERATE_ADAPTIVE_PAIRS:
            _note_decision(draft, decision)
            draft.become(BatchState.GENERATING_PAIRS)


def decide_waiting(batch: Batch) -> Decision:
    """Return the decision for a batch that waits for callbacks."""
    policy, progress = batch.roster.policy, batch.progress
    if progress.settled >= policy.success_rate_from and _success_rate(batch) < policy.min_success_rate:
        return Decision.PUBLISH_FAILURE
    if price_is_unknown(batch):
        return Decision.PUBLISH_FAILURE
    if not iteration_closed(batch) and not is_spent(batch):
        return Decision.WAIT
    if _spent(batch) is None:
        return Decision.TRIGGER_PARTIAL_SCORING if _round_came(batch) else Decision.GENERATE_ADAPTIVE_PAIRS
    return Decision.TRIGGER_FINAL_SCORING if success_suffices(batch) else Decision.PUBLISH_FAILURE


def iteration_closed(batch: Batch) -> bool:
    """Whether enough of the newest plan has verdicts, or nothing of it is awaited any more."""
    threshold = batch.roster.policy.completion_threshold_pct * batch.iteration_size
    return batch.progress.judged_in_iteration * 100 >= threshold or not (
        batch.awaited_in_iteration or batch.progress.retry_pool
    )


def _round_came(batch: Batch) -> bool:
    fitted = batch.scores[-1].verdicts if batch.scores else 0
    return batch.progress.judged - fitted >= batch.round_size


def success_suffices(batch: Batch) -> bool:
    """Whether a batch may end with a ranking: verdicts at all, and for enough of its settled comparisons."""
    return batch.progress.judged > 0 and _success_rate(batch) >= batch.roster.policy.min_success_rate


def _success_rate(batch: Batch) -> float:
    settled = batch.progress.settled
    return batch.progress.judged / settled if settled else 0.0


def _retry_failed(draft: Draft) -> None:
    pool = draft.batch.progress.retry_pool
    large_enough = len(pool) >= draft.batch.roster.policy.retry_pool_size
    if pool and not iteration_closed(draft.batch) and (large_enough or not draft.batch.awaited_in_iteration):
        renew(draft, pool)


def _spent(batch: Batch) -> StopReason | None:
    policy = batch.roster.policy
    if is_spent(batch):
        return StopReason.MONEY_SPENT
    return spent(
        planned=batch.total_comparisons,
        unused_pairs=batch.unused_pairs,
        max_comparisons=policy.max_comparisons,
        max_iterations=policy.max_iterations,
        pairs_per_iteration=batch.pairs_per_iteration,
    )


def content_loaded(draft: Draft, event: ContentLoaded) -> None:
    """Start comparing the essays that have a text; with fewer than two of them, end at once."""
    if draft.batch.state is not BatchState.INITIALIZING:
        draft.note(NoteKind.EVENT_STALE)
        return
    usable = tuple(i for i in range(len(draft.batch.roster.essays)) if i not in event.unusable)
    draft.put(
        Content(
            usable=usable,
            unusable=event.unusable,
            texts=event.texts,
            question_sha256=event.question_sha256,
            question=event.question,
        )
    )
    draft.touch()
    if not usable:
        fail_batch(draft, FailureReason.NO_USABLE_ESSAYS, {"essays": len(draft.batch.roster.essays)})
    elif len(usable) == 1:
        draft.control(stop_reason=StopReason.SINGLE_ESSAY)
        _finish(draft, BatchState.COMPLETED)
    else:
        draft.become(BatchState.GENERATING_PAIRS)


def pairs_planned(draft: Draft, event: PairsPlanned) -> None:
    """Submit the planned pairs; when there are none left, score what there is."""
    batch = draft.batch
    if batch.state is not BatchState.GENERATING_PAIRS or event.iteration != batch.control.iteration + 1:
        draft.note(NoteKind.EVENT_STALE)
    elif event.pairs:
        draft.put(Plan(iteration=event.iteration, first_index=batch.total_comparisons, pairs=event.pairs))
        draft.control(iteration=event.iteration)
        draft.touch()
        draft.become(BatchState.WAITING_CALLBACKS)
    elif success_suffices(batch):
        trigger_final_scoring(draft, StopReason.PAIRS_EXHAUSTED)
    else:
        fail_batch(draft, FailureReason.NO_PAIRS, _counts(batch))


def scores_computed(draft: Draft, event: ScoresComputed) -> None:
    """Keep the fit, then end the batch or have the next pairs planned."""
    if draft.batch.state is not BatchState.SCORING or event.scoring_round != draft.batch.control.scoring_round:
        draft.note(NoteKind.EVENT_STALE)
        return
    draft.put(event.scores)
    draft.control(fits=event.scores.fit)
    draft.touch()
    if event.scores.largest_change is not None:
        draft.note(NoteKind.SCORES_CHANGED, value=event.scores.largest_change)
    reason = draft.batch.control.stop_reason or _settled(draft.batch)
    if reason is None:
        _note_decision(draft, Decision.GENERATE_ADAPTIVE_PAIRS)
        draft.become(BatchState.GENERATING_PAIRS)
    elif not success_suffices(draft.batch):
        fail_low_success_rate(draft)
    elif draft.batch.progress.judged > event.scores.verdicts:
        # Verdicts came during the fit. A final ranking holds every verdict there is.
        draft.control(stop_reason=reason, scoring_round=draft.batch.control.scoring_round + 1)
    else:
        draft.control(stop_reason=reason)
        _finish(draft, BatchState.COMPLETED)


def trigger_final_scoring(draft: Draft, reason: StopReason) -> None:
    """Score what there is; the batch ends with that fit. ``reason`` says why no more pairs are planned."""
    _note_decision(draft, Decision.TRIGGER_FINAL_SCORING)
    draft.control(stop_reason=reason)
    if draft.batch.state is not BatchState.SCORING:
        _score(draft)


def _fail(draft: Draft) -> None:
    if price_is_unknown(draft.batch):
        judging, spending = draft.batch.roster.policy.judging, draft.batch.progress.spending
        details = {"max_cost": judging.max_cost or 0.0, "known_cost": spending.dollars, **_counts(draft.batch)}
        fail_batch(draft, FailureReason.PRICE_UNKNOWN, details)
    else:
        fail_low_success_rate(draft)


def fail_low_success_rate(draft: Draft) -> None:
    """End the batch as failed: too few of its settled comparisons have a verdict."""
    fail_batch(draft, FailureReason.LOW_SUCCESS_RATE, _counts(draft.batch))


def fail_batch(draft: Draft, reason: FailureReason, details: dict[str, float | int | str]) -> None:
    """End the batch as failed, with the reason and what an operator needs to know of it."""
    _note_decision(draft, Decision.PUBLISH_FAILURE)
    draft.control(failure=reason, failure_details=details)
    _finish(draft, BatchState.FAILED)


def cancel_batch(draft: Draft, reason: str) -> None:
    """End the batch on an operator's word."""
    draft.control(failure=FailureReason.CANCELLED, failure_details={"reason": reason, **_counts(draft.batch)})
    _finish(draft, BatchState.CANCELLED)


def _score(draft: Draft) -> None:
    draft.control(scoring_round=draft.batch.control.scoring_round + 1)
    draft.become(BatchState.SCORING)


def _finish(draft: Draft, state: BatchState) -> None:
    draft.become(state)
    progress = draft.batch.progress
    draft.control(finished_at=draft.at, provider_untold=bool(progress.accepted or progress.planned))


def _settled(batch: Batch) -> StopReason | None:
    policy, current = batch.roster.policy, batch.scores[-1]
    return settled(
        Figures(
            rules=policy.judging.stop_rules,
            reliability=current.reliability,
            previous_reliability=current.previous_reliability,
            reliability_target=policy.reliability_target,
            largest_change=current.largest_change,
            stability_threshold=policy.stability_threshold,
            grade_certainty=current.grade_certainty,
            certainty_target=policy.judging.certainty_target,
            min_comparisons_per_essay=min(current.comparisons),
            connected=current.components == 1,
        )
    )


def _note_decision(draft: Draft, decision: Decision) -> None:
    draft.note(NoteKind.DECIDED, decision)


def _counts(batch: Batch) -> dict[str, float | int | str]:
    progress = batch.progress
    return {
        "total_budget": batch.total_comparisons,
        "completed_comparisons": progress.judged,
        "failed_comparisons": progress.failed,
        "success_rate": round(_success_rate(batch), 4),
        "threshold": batch.roster.policy.min_success_rate,
    }

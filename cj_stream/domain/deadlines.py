"""Time: when something falls due for a batch, and what is done about it then.

Every state that is not terminal has a deadline, so nothing waits for ever: a comparison for its callback, a batch for
its next activity, and a whole life has its limit. A finished batch is deleted after its retention period.
"""

from __future__ import annotations

from math import inf

from cj_stream.domain.batch import Batch
from cj_stream.domain.comparisons import fail_overdue
from cj_stream.domain.decisions import fail_batch, success_suffices, trigger_final_scoring
from cj_stream.domain.draft import Change, Draft, NoteKind
from cj_stream.domain.events import TimeoutDue
from cj_stream.domain.outcomes import unpublished
from cj_stream.domain.states import BatchState
from cj_stream.scoring.quality.stopping import StopReason

STUCK = "stuck_timeout_insufficient_progress"


def next_due(batch: Batch, opened_at: float = 0.0) -> float | None:
    """Return when something falls due next, or None while a finished batch still has outcomes to publish.

    ``opened_at``: since when the batch's partition is served; what was idle before does not count.
    """
    policy, control = batch.roster.policy, batch.control
    if batch.finished:
        return None if unpublished(batch) else (control.finished_at or control.state_since) + policy.retention
    overdue = batch.comparisons.oldest_submission() + policy.comparison_deadline
    return min(_idle_until(batch, opened_at), _old_at(batch, opened_at), overdue)


def delete_if_retired(batch: Batch, at: float) -> Change | None:
    """Return the deletion of a batch past its retention; None when the batch is not that old."""
    due = next_due(batch) if batch.finished else None
    if due is None or due > at:
        return None
    draft = Draft(batch, at)
    draft.note(NoteKind.BATCH_DELETED)
    return Change(None, (), draft.change().notes, deleted=batch)


def expire(draft: Draft, event: TimeoutDue) -> None:
    """Fail what is overdue now, and end the batch if it is stuck or too old. A batch that moved is left alone."""
    fail_overdue(draft)
    idle = _idle_until(draft.batch, event.opened_at) <= draft.at
    if idle or _old_at(draft.batch, event.opened_at) <= draft.at:
        _end_stuck(draft, scoring_hangs=idle and draft.batch.state is BatchState.SCORING)


def _idle_until(batch: Batch, opened_at: float) -> float:
    # A state has the whole time to itself: a fit begun by a timeout is not over time already.
    since = max(batch.control.activity_at, batch.control.state_since, opened_at)
    return since + batch.roster.policy.batch_timeout


def _old_at(batch: Batch, opened_at: float) -> float:
    # The final fit is bounded by its idle time; failing it for its age would throw the ranking away.
    if batch.state is BatchState.SCORING and batch.control.stop_reason is not None:
        return inf
    policy = batch.roster.policy
    # Who grew old while nobody served has at least as long, from the opening, as one that is idle.
    return max(batch.control.created_at + policy.max_age, opened_at + policy.batch_timeout)


def _end_stuck(draft: Draft, *, scoring_hangs: bool) -> None:
    batch = draft.batch
    if (
        batch.progress_pct >= batch.roster.policy.timeout_completion_pct
        and success_suffices(batch)
        and not scoring_hangs
    ):
        draft.note(NoteKind.TIMEOUT_RECOVERED, value=batch.progress_pct)
        trigger_final_scoring(draft, StopReason.TIMED_OUT)
        return
    draft.note(NoteKind.TIMEOUT_FAILED, value=batch.progress_pct)
    details: dict[str, float | int | str] = {
        "progress_pct": round(batch.progress_pct, 1),
        "batch_state": batch.state.value,
        "completed_comparisons": batch.progress.judged,
        "failed_comparisons": batch.progress.failed,
        "total_comparisons": batch.total_comparisons,
        "last_activity_at": batch.control.activity_at,
    }
    fail_batch(draft, STUCK, details)

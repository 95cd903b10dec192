"""Time: when something falls due for a batch, and what is done about it then.

Every state that is not terminal has a deadline, so nothing waits for ever: a comparison for its callback, a batch for
its next activity, and a whole life has its limit. A finished batch is deleted after its retention period.
"""

from __future__ import annotations

from enum import Enum, auto
from math import inf
from typing import NamedTuple

from cj_stream.domain.batch import Batch
from cj_stream.domain.comparisons import fail_overdue
from cj_stream.domain.decisions import fail_batch, success_suffices, trigger_final_scoring
from cj_stream.domain.draft import Change, Draft, NoteKind, deletion
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.events import TimeoutDue
from cj_stream.domain.states import BatchState, FailureReason
from cj_stream.scoring.quality.stopping import StopReason


class DeadlineKind(Enum):
    """What falls due for a batch."""

    COMPARISON = auto()
    """The oldest attempt that awaits its callback has waited long enough."""
    IDLE = auto()
    """Nothing has moved for too long. Whatever moves puts it off."""
    FIT = auto()
    """A fit has not ended for too long."""
    AGE = auto()
    """The batch is as old as it may become. Nothing puts it off."""
    AGE_AFTER_DOWNTIME = auto()
    """The same; it was reached while nobody served the batch, which is given the time of an idle one."""
    RETENTION = auto()
    """A finished batch has been kept long enough."""


class Deadline(NamedTuple):
    """What falls due, and when, in seconds since the epoch."""

    kind: DeadlineKind
    at: float


def next_due(batch: Batch, opened_at: float = 0.0) -> Deadline | None:
    """Return what falls due next, or None while a finished batch still has something to tell.

    ``opened_at``: since when the batch's partition is served; what was idle before does not count.
    """
    policy, control = batch.roster.policy, batch.control
    if batch.finished:
        kept_until = (control.finished_at or control.state_since) + policy.retention
        return None if control.provider_untold or unpublished(batch) else Deadline(DeadlineKind.RETENTION, kept_until)
    overdue = batch.comparisons.first_due(policy.comparison_deadline)
    idle, age = _idle_until(batch, opened_at), _old_at(batch, opened_at)
    if overdue < min(idle, age.at):
        return Deadline(DeadlineKind.COMPARISON, overdue)
    if batch.state is BatchState.SCORING and idle <= age.at:
        return Deadline(DeadlineKind.FIT, idle)
    return age if age.at <= idle else Deadline(DeadlineKind.IDLE, idle)


def delete_if_retired(batch: Batch, at: float) -> Change | None:
    """Return the deletion of a batch past its retention; None when the batch is not that old."""
    due = next_due(batch) if batch.finished else None
    if due is None or due.at > at:
        return None
    return deletion(batch)


def expire(draft: Draft, event: TimeoutDue) -> None:
    """Fail what is overdue now, and end the batch if it is stuck or too old. A batch that moved is left alone."""
    fail_overdue(draft)
    idle = _idle_until(draft.batch, event.opened_at) <= draft.at
    if idle or _old_at(draft.batch, event.opened_at).at <= draft.at:
        _end_stuck(draft, scoring_hangs=idle and draft.batch.state is BatchState.SCORING)


def _idle_until(batch: Batch, opened_at: float) -> float:
    # A state has the whole time to itself: a fit begun by a timeout is not over time already.
    control = batch.control
    awaited = control.awaited_until if batch.state is BatchState.WAITING_CALLBACKS else 0.0
    since = max(control.activity_at, control.state_since, opened_at, awaited)
    return since + batch.roster.policy.batch_timeout


def _old_at(batch: Batch, opened_at: float) -> Deadline:
    # The final fit is bounded by its idle time; failing it for its age would throw the ranking away.
    if batch.state is BatchState.SCORING and batch.control.stop_reason is not None:
        return Deadline(DeadlineKind.AGE, inf)
    policy = batch.roster.policy
    # Who grew old while nobody served has at least as long, from the opening, as one that is idle.
    old_at, served = batch.control.created_at + policy.max_age, opened_at + policy.batch_timeout
    if served > old_at:
        return Deadline(DeadlineKind.AGE_AFTER_DOWNTIME, served)
    return Deadline(DeadlineKind.AGE, old_at)


def _end_stuck(draft: Draft, *, scoring_hangs: bool) -> None:
    batch = draft.batch
    if (
        batch.progress_pct >= batch.roster.policy.timeout_completion_pct
        and success_suffices(batch)
        and not scoring_hangs
    ):
        draft.note(NoteKind.TIMEOUT_RECOVERED)
        trigger_final_scoring(draft, StopReason.TIMED_OUT)
        return
    draft.note(NoteKind.TIMEOUT_FAILED)
    details: dict[str, float | int | str] = {
        "progress_pct": round(batch.progress_pct, 1),
        "batch_state": batch.state.value,
        "completed_comparisons": batch.progress.judged,
        "failed_comparisons": batch.progress.failed,
        "total_comparisons": batch.total_comparisons,
        "last_activity_at": batch.control.activity_at,
    }
    fail_batch(draft, FailureReason.STUCK, details)

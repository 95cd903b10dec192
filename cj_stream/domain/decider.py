"""The decider: a pure function from a batch and an event to the batch after it.

    decide(batch, event, policy, at) -> Change(batch', changed rows, notes)

No clock, no I/O, no randomness: the time comes with the event, the seed is in the batch. Every kind of event has one
handler in `HANDLERS`; after the handler, `advance` decides what follows, also when the event was a repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cj_stream.domain.admission import request
from cj_stream.domain.batch import Batch
from cj_stream.domain.commands import command, forget
from cj_stream.domain.comparisons import accept, fail, judge
from cj_stream.domain.deadlines import delete_if_retired, expire
from cj_stream.domain.decisions import advance, content_loaded, fail_batch, pairs_planned, scores_computed
from cj_stream.domain.draft import Change, Draft, Note, NoteKind, unchanged
from cj_stream.domain.due_outcomes import still_owed
from cj_stream.domain.events import (
    Action,
    BatchPoisoned,
    BatchRequested,
    ComparisonFailed,
    ContentLoaded,
    Event,
    JudgementsReused,
    OperatorCommand,
    OutcomePublished,
    OutcomeRefused,
    PairsPlanned,
    ProviderTold,
    ScoresComputed,
    SubmissionAccepted,
    TimeoutDue,
    VerdictReceived,
)
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Unpublishable
from cj_stream.domain.reuse import judgements_reused
from cj_stream.domain.states import FailureReason

WHY_KEPT = 200
"""Characters kept of why an outcome was refused: a batch may have two thousand of them, in one row."""


def decide(batch: Batch | None, event: Event, policy: Policy, at: float) -> Change:
    """Return what ``event``, happening ``at`` (seconds since the epoch), makes of ``batch``.

    ``batch`` is the run that the event names, the newest run for requests and commands, or None if there is none.
    ``policy`` is the one for batches that start now; a running batch has its own.
    """
    if isinstance(event, BatchRequested):
        return request(batch, event, policy, at)
    if batch is None:
        return unchanged(None, [Note(NoteKind.EVENT_STALE)])
    if isinstance(event, TimeoutDue) and (deletion := delete_if_retired(batch, max(at, event.due_at))):
        return deletion
    if isinstance(event, OperatorCommand) and event.action is Action.FORGET:
        return forget(batch)
    draft = Draft(batch, at)
    if batch.finished and isinstance(event, VerdictReceived | ComparisonFailed):
        draft.note(NoteKind.CALLBACK_LATE)
    elif not batch.finished or isinstance(event, OutcomePublished | OutcomeRefused | ProviderTold | OperatorCommand):
        HANDLERS[type(event)](draft, event)
        advance(draft)
    else:
        draft.note(NoteKind.EVENT_STALE)
    return draft.change()


def _published(draft: Draft, event: OutcomePublished) -> None:
    if still_owed(draft.batch, event.outcome):
        draft.control(published=(*draft.batch.control.published, event.outcome))


def _outcome_refused(draft: Draft, event: OutcomeRefused) -> None:
    outcome = still_owed(draft.batch, event.outcome)
    if outcome is not None:
        refused = Unpublishable(outcome=event.outcome, why=event.why[:WHY_KEPT], at=draft.at)
        draft.control(unpublishable=(*draft.batch.control.unpublishable, refused))
        draft.note(NoteKind.OUTCOME_REFUSED, outcome.kind)


def _provider_told(draft: Draft, _event: ProviderTold) -> None:
    if draft.batch.control.provider_untold:
        draft.control(provider_untold=False)


def _poisoned(draft: Draft, event: BatchPoisoned) -> None:
    fail_batch(draft, FailureReason.INTERNAL_ERROR, {"error": event.error})


HANDLERS: dict[type[Event], Callable[[Draft, Any], None]] = {
    ContentLoaded: content_loaded,
    JudgementsReused: judgements_reused,
    PairsPlanned: pairs_planned,
    SubmissionAccepted: accept,
    ComparisonFailed: fail,
    VerdictReceived: judge,
    ScoresComputed: scores_computed,
    OutcomePublished: _published,
    OutcomeRefused: _outcome_refused,
    ProviderTold: _provider_told,
    TimeoutDue: expire,
    OperatorCommand: command,
    BatchPoisoned: _poisoned,
}

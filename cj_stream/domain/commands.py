"""What operators can do to a live batch: cancel it, retry what failed, or end it with what is there.

And to one that has ended: have published again what its topics refused, or have it deleted.
"""

from __future__ import annotations

from cj_stream.domain.batch import Batch
from cj_stream.domain.comparisons import renew
from cj_stream.domain.decisions import cancel_batch, success_suffices, trigger_final_scoring
from cj_stream.domain.draft import Change, Draft, Note, NoteKind, deletion, unchanged
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.events import Action, OperatorCommand
from cj_stream.domain.identifiers import MAX_ATTEMPTS
from cj_stream.domain.records import ComparisonStatus
from cj_stream.domain.states import BatchState
from cj_stream.scoring.quality.stopping import StopReason


def objection(batch: Batch, action: Action) -> str | None:
    """Return why ``action`` can do nothing for the batch now, or None when it can."""
    if action is Action.FORGET:
        return _why_kept(batch)
    if batch.finished and action is Action.RETRY and batch.control.unpublishable:
        return None
    if batch.finished:
        return f"batch {batch.batch_id} has already ended as {batch.state}"
    if action is Action.RETRY and not _failed(batch):
        return f"batch {batch.batch_id} is {batch.state} and has no failed comparison to retry"
    if action is Action.FINALIZE and not success_suffices(batch):
        return f"batch {batch.batch_id} has {batch.progress.judged} verdicts: not enough to rank its essays"
    return None


def command(draft: Draft, event: OperatorCommand) -> None:
    """Carry out an operator's command, or note why it does nothing."""
    if objection(draft.batch, event.action):
        draft.note(NoteKind.COMMAND_IGNORED)
        return
    if draft.batch.finished:
        draft.control(unpublishable=())
        return
    draft.touch()
    if event.action is Action.CANCEL:
        cancel_batch(draft, event.reason)
    elif event.action is Action.FINALIZE:
        trigger_final_scoring(draft, StopReason.FINALIZED_BY_OPERATOR)
    else:
        renew(draft, _failed(draft.batch))


def forget(batch: Batch) -> Change:
    """Return the deletion of a run that has ended and told everybody; of any other the note why it is kept."""
    why_kept = _why_kept(batch)
    if why_kept:
        return unchanged(batch, [Note(NoteKind.COMMAND_IGNORED, why_kept)])
    return deletion(batch)


def _why_kept(batch: Batch) -> str | None:
    if not batch.finished:
        return f"batch {batch.batch_id} is {batch.state}: cancel it, or wait for its end"
    if unpublished(batch):
        return f"batch {batch.batch_id} has ended as {batch.state}, and its outcome is still to be published"
    if batch.control.provider_untold:
        return f"batch {batch.batch_id} has ended as {batch.state}, and the LLM provider is still to be told"
    return None


def _failed(batch: Batch) -> list[int]:
    if batch.state is not BatchState.WAITING_CALLBACKS:
        return []
    rows = batch.comparisons
    return [row.index for row in rows if row.status is ComparisonStatus.FAILED and row.attempt < MAX_ATTEMPTS]

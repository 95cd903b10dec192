"""What a request does: start a batch, repeat an earlier request, join a live batch, be refused, or start another run.

A worker that is killed before it could commit leaves a request to be forwarded once more. That second copy is not a
repeat by upstream: it must do nothing, however much has happened to the batch id since. Its origin
shows that it is one.
Whoever forwards the requests of a partition begins where the group has committed, so everything before is in the log,
and goes on in order. So in the log of a batch id the first copies from one partition come in the order of their
offsets: what is not beyond the last of them is a copy. That is one number for each partition, and holds for as long
as the newest run is kept. The time tells a topic that was made anew, whose offsets begin again.
"""

from __future__ import annotations

import msgspec

from cj_stream.domain.batch import Batch
from cj_stream.domain.decisions import advance
from cj_stream.domain.draft import Change, Draft, NoteKind
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind, owed_to
from cj_stream.domain.events import BatchRequested
from cj_stream.domain.identifiers import batch_seed
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Control, Origin, RefusedRequest, Roster
from cj_stream.domain.states import BatchState
from cj_stream.scoring.quality.stopping import StopReason

REFUSALS_KEPT = 100
UNTOLD_KEPT = 1_000
"""Refusals kept while nobody has been told of them. Beyond it the oldest go: they lie in a row, which has to fit."""
JOINED_LIMIT = 1_000
"""Requesters that share one batch; those that come after them are refused, for the same reason."""

_OTHER_CONTENT = "a batch of this id is being judged with other content; send it again when that one has ended"
_CROWDED = f"more than {JOINED_LIMIT} requests ask for this batch; send it again when it has ended"


def request(batch: Batch | None, event: BatchRequested, policy: Policy, at: float) -> Change:
    """Return what becomes of ``batch``, the newest run of its id, when ``event`` asks for a ranking."""
    if batch is None:
        return _start(event, policy, at, run=1, origins=_noted((), event.origin))
    copy, origins = _is_copy(batch, event.origin), _noted(batch.control.origins, event.origin)
    if batch.finished and not copy and not (_same_content(batch, event) and _known(batch, event)):
        return _start(_continuing(batch, event), policy, at, run=batch.run + 1, origins=origins)
    draft = Draft(batch, at)
    if copy:
        draft.note(NoteKind.REQUEST_REPEATED)
    else:
        _answer(draft, event, origins)
    advance(draft)
    return draft.change()


def _continuing(before: Batch, event: BatchRequested) -> BatchRequested:
    """Return the request with which a batch goes on that ended because its money was spent: nothing is paid twice."""
    if before.control.stop_reason != StopReason.MONEY_SPENT or event.reuse_judgements is not None:
        return event
    return msgspec.structs.replace(event, reuse_judgements=event.batch_id)


def _answer(draft: Draft, event: BatchRequested, origins: tuple[Origin, ...]) -> None:
    if origins != draft.batch.control.origins:
        draft.control(origins=origins)
    if draft.batch.finished:
        _publish_again(draft, event.correlation_id)
    else:
        _share(draft, event)


def _same_content(batch: Batch, event: BatchRequested) -> bool:
    return batch.roster.digest == event.digest


def _known(batch: Batch, event: BatchRequested) -> bool:
    return event.correlation_id in (batch.roster.correlation_id, *batch.control.joined)


def _share(draft: Draft, event: BatchRequested) -> None:
    """Have the requester of a live batch's id wait for it too, or refuse it."""
    batch = draft.batch
    if not _same_content(batch, event):
        _refuse(draft, event.correlation_id, _OTHER_CONTENT)
    elif _known(batch, event):
        draft.note(NoteKind.REQUEST_REPEATED)
    elif len(batch.control.joined) >= JOINED_LIMIT:
        _refuse(draft, event.correlation_id, _CROWDED)
    else:
        draft.control(joined=(*batch.control.joined, event.correlation_id))
        draft.note(NoteKind.REQUEST_JOINED)


def _is_copy(batch: Batch, origin: Origin | None) -> bool:
    return origin is not None and any(
        origin.partition == last.partition and origin.offset <= last.offset and origin.at <= last.at
        for last in batch.control.origins
    )


def _noted(origins: tuple[Origin, ...], origin: Origin | None) -> tuple[Origin, ...]:
    if origin is None:
        return origins
    last = next((last for last in origins if last.partition == origin.partition), origin)
    # Producers may set the times: a copy must not be younger than what is kept.
    newest = Origin(partition=origin.partition, offset=origin.offset, at=max(origin.at, last.at))
    return (*(other for other in origins if other.partition != origin.partition), newest)


def _start(event: BatchRequested, policy: Policy, at: float, run: int, origins: tuple[Origin, ...]) -> Change:
    roster = Roster(
        batch_id=event.batch_id,
        run=run,
        correlation_id=event.correlation_id,
        digest=event.digest,
        essays=event.essays,
        context=event.context,
        policy=_with_knobs(policy, event),
        seed=batch_seed(event.batch_id, run),
    )
    control = Control(state=BatchState.INITIALIZING, created_at=at, activity_at=at, state_since=at, origins=origins)
    draft = Draft(Batch(roster=roster, control=control), at)
    draft.put(roster, control)
    draft.note(NoteKind.BATCH_STARTED)
    return draft.change()


def _with_knobs(policy: Policy, event: BatchRequested) -> Policy:
    limit, judging = event.max_comparisons or policy.max_comparisons, policy.judging
    return msgspec.structs.replace(
        policy,
        reliability_target=policy.reliability_target if event.reliability_target is None else event.reliability_target,
        judging=msgspec.structs.replace(
            judging,
            pairing=event.pairing or judging.pairing,
            stop_rules=judging.stop_rules if event.stop_rules is None else event.stop_rules,
            grade_boundaries=event.grade_boundaries,
            max_cost=event.max_cost,
            priority=event.priority,
            batching_mode=event.batching_mode,
            reuse_judgements=event.reuse_judgements,
        ),
        max_comparisons=min(policy.max_comparisons, limit),
        completion_threshold_pct=event.completion_threshold_pct or policy.completion_threshold_pct,
    )


def _publish_again(draft: Draft, correlation_id: str) -> None:
    again = {outcome.name for outcome in owed_to(draft.batch, correlation_id)}
    control = draft.batch.control
    draft.control(
        published=tuple(name for name in control.published if name not in again),
        unpublishable=tuple(refused for refused in control.unpublishable if refused.outcome not in again),
    )
    draft.note(NoteKind.REQUEST_REPEATED)


def _refuse(draft: Draft, correlation_id: str, reason: str) -> None:
    kept = _kept(draft.batch.control, correlation_id)
    told, control = {_name(refusal) for refusal in kept}, draft.batch.control
    draft.control(
        refusals=(*kept, RefusedRequest(correlation_id=correlation_id, reason=reason, at=draft.at)),
        published=tuple(name for name in control.published if name in told),
        unpublishable=tuple(refused for refused in control.unpublishable if refused.outcome in told),
    )
    draft.note(NoteKind.REQUEST_REFUSED)


def _kept(control: Control, besides: str) -> list[RefusedRequest]:
    """Return the refusals to keep when one more comes: those already told go first, the oldest of them."""
    others = [refusal for refusal in control.refusals if refusal.correlation_id != besides]
    published = {*control.published, *(refused.outcome for refused in control.unpublishable)}
    told = [refusal for refusal in others if _name(refusal) in published]
    forgotten = {refusal.correlation_id for refusal in told[: max(len(others) + 1 - REFUSALS_KEPT, 0)]}
    return [refusal for refusal in others if refusal.correlation_id not in forgotten][1 - UNTOLD_KEPT :]


def _name(refusal: RefusedRequest) -> str:
    return Outcome(OutcomeKind.REFUSED, refusal.correlation_id).name

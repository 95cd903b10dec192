"""Taking over verdicts of another run: only for the same two texts, in the same order, asked with the same question.

So a run goes on where one without money has ended, and nobody pays twice for the same answer. What is taken over stands
at the beginning of the run, as if it had been planned and judged at once.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from cj_stream.domain.batch import Batch
from cj_stream.domain.draft import Draft, NoteKind
from cj_stream.domain.events import JudgementsReused
from cj_stream.domain.records import Comparison, ComparisonStatus, Plan, Receipt, Slot
from cj_stream.domain.states import BatchState

MOST_REUSED = 50_000
"""Verdicts that one event can bring; the rest is judged anew."""
_SLOTS: dict[str, Slot] = {"A": "A", "B": "B"}


class Judgements(msgspec.Struct, frozen=True):
    """The verdicts of a run as others can use them: the texts by their hashes, first-presented first."""

    question_sha256: str
    verdicts: tuple[tuple[bytes, bytes, Slot], ...] = ()
    provider: str = ""
    model: str = ""


def may_reuse(batch: Batch) -> bool:
    """Return whether it is still to be found out which verdicts can be taken over."""
    judging = batch.roster.policy.judging
    return judging.reuse_judgements is not None and batch.control.reused is None and not batch.plans


def judgements_of(batch: Batch) -> Judgements:
    """Return the verdicts of a run; none where it was asked before texts were told by their hashes."""
    content = batch.content
    if content is None or not content.texts or not content.question_sha256:
        return Judgements("")
    judged = [row for row in batch.comparisons if row.status is ComparisonStatus.JUDGED]
    verdicts: list[tuple[bytes, bytes, Slot]] = []
    for row in judged:
        first, second = batch.pair(row.index)
        if row.winner is not None:
            verdicts.append((content.texts[first], content.texts[second], row.winner))
    names = Counter((row.provider or "", row.model or "") for row in judged)
    provider, model = names.most_common(1)[0][0] if names else ("", "")
    return Judgements(content.question_sha256, tuple(verdicts), provider, model)


def taken_over(batch: Batch, found: Judgements | None) -> JudgementsReused:
    """Return what of the verdicts found a batch takes over."""
    none = JudgementsReused(batch_id=batch.batch_id, run=batch.run)
    if found is None:
        return msgspec.structs.replace(none, why_none="there is no such batch, or no such run")
    content = batch.content
    if content is None or found.question_sha256 != content.question_sha256 or not found.question_sha256:
        return msgspec.structs.replace(none, why_none="it was asked with another template, rubric, task or model")
    policy = batch.roster.policy
    position = {content.texts[at]: at for at in reversed(batch.usable)}
    times: Counter[frozenset[int]] = Counter()
    pairs, winners = [], []
    for first, second, winner in found.verdicts:
        if first not in position or second not in position or first == second:
            continue
        pair = position[first], position[second]
        times[frozenset(pair)] += 1
        if times[frozenset(pair)] <= policy.judging.judgements_per_pair:
            pairs.append(pair)
            winners.append(winner)
    most = min(policy.max_comparisons, MOST_REUSED)
    return JudgementsReused(
        batch_id=batch.batch_id,
        run=batch.run,
        pairs=tuple(pairs[:most]),
        winners="".join(winners[:most]),
        provider=found.provider,
        model=found.model,
        why_none="" if pairs else "no two of the texts are the same",
    )


def judgements_reused(draft: Draft, event: JudgementsReused) -> None:
    """Begin the run with the verdicts that were taken over; without any it begins as others do."""
    if draft.batch.state is not BatchState.GENERATING_PAIRS or not may_reuse(draft.batch):
        draft.note(NoteKind.EVENT_STALE, "judgements reused")
        return
    draft.touch()
    draft.control(reused=len(event.pairs))
    if not event.pairs:
        return
    draft.put(Plan(iteration=1, first_index=0, pairs=event.pairs))
    draft.put(
        *(
            Comparison(
                index=index,
                status=ComparisonStatus.JUDGED,
                completed_at=draft.at,
                winner=_SLOTS[winner],
                provider=event.provider,
                model=event.model,
                answered=True,
                receipt=Receipt(cost=0.0, reused=True),
            )
            for index, winner in enumerate(event.winners[: len(event.pairs)])
        )
    )
    draft.control(iteration=1)
    draft.become(BatchState.WAITING_CALLBACKS)

"""What happens to a single comparison: accepted, failed, judged, overdue, tried again.

Of one attempt a verdict outranks an error callback, that an acceptance, and that a refusal at submission: reports may
overtake each other.
A verdict counts whatever the status, and a late one of an earlier attempt counts if the comparison has none yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from cj_stream.domain.draft import Draft, NoteKind
from cj_stream.domain.events import ComparisonFailed, SubmissionAccepted, VerdictReceived
from cj_stream.domain.records import Comparison, ComparisonStatus, Receipt

TIMEOUT = "TIMEOUT"
"""Error code of an attempt that was accepted and never answered."""


def accept(draft: Draft, event: SubmissionAccepted) -> None:
    """Mark the attempt as accepted: its callback is awaited from now on."""
    row = draft.batch.comparisons[event.index]
    if row.attempt != event.attempt or not (row.status is ComparisonStatus.PLANNED or _refused(row)):
        draft.note(NoteKind.EVENT_STALE)
        return
    slow = event.expected_wait > draft.batch.roster.policy.comparison_deadline
    draft.put(
        replace(
            row,
            status=ComparisonStatus.ACCEPTED,
            submitted_at=draft.at,
            error_code=None,
            error_message=None,
            expected_wait=event.expected_wait if slow else None,
        )
    )
    draft.touch()
    if slow:
        draft.control(awaited_until=max(draft.batch.control.awaited_until, draft.at + event.expected_wait))


def fail(draft: Draft, event: ComparisonFailed) -> None:
    """Mark the attempt as failed: refused at submission, or answered with an error."""
    row = draft.batch.comparisons[event.index]
    outranked = row.status is ComparisonStatus.PLANNED or (
        event.answered and (row.status is ComparisonStatus.ACCEPTED or _refused(row))
    )
    if row.attempt != event.attempt or not outranked:
        draft.note(NoteKind.CALLBACK_DUPLICATE if event.answered else NoteKind.EVENT_STALE)
        return
    failed = replace(
        row,
        status=ComparisonStatus.FAILED,
        completed_at=draft.at,
        provider=event.provider or None,
        model=event.model or None,
        error_code=event.error_code,
        error_message=event.error_message,
        answered=event.answered,
        receipt=_after(row.receipt, event.receipt),
    )
    _put_failed(draft, [failed])
    draft.touch()


def judge(draft: Draft, event: VerdictReceived) -> None:
    """Apply a verdict, unless the comparison has one."""
    row = draft.batch.comparisons[event.index]
    if row.status is ComparisonStatus.JUDGED:
        draft.note(NoteKind.CALLBACK_DUPLICATE)
        return
    judged = replace(
        row,
        status=ComparisonStatus.JUDGED,
        attempt=event.attempt,
        completed_at=draft.at,
        winner=event.winner,
        confidence=event.confidence,
        justification=event.justification,
        provider=event.provider,
        model=event.model,
        error_code=None,
        error_message=None,
        answered=True,
        # An error that came before it was paid for as well.
        receipt=_after(_carried(row.receipt) if row.status is ComparisonStatus.FAILED else row.receipt, event.receipt),
    )
    draft.put(judged)
    draft.touch()
    draft.note(NoteKind.VERDICT_APPLIED)


def fail_overdue(draft: Draft) -> None:
    """Fail every accepted attempt whose deadline has passed: some providers accept and never call back."""
    deadline = draft.batch.roster.policy.comparison_deadline
    accepted = (draft.batch.comparisons[index] for index in draft.batch.progress.accepted)
    overdue = [row for row in accepted if row.due_at(deadline) <= draft.at]
    _put_failed(
        draft,
        (
            replace(
                row,
                status=ComparisonStatus.FAILED,
                completed_at=draft.at,
                error_code=TIMEOUT,
                error_message=f"accepted, but not answered within {max(deadline, row.expected_wait or 0.0):g} s",
                answered=True,
            )
            for row in overdue
        ),
    )


def renew(draft: Draft, indexes: Iterable[int]) -> None:
    """Plan another attempt of these failed comparisons."""
    rows = [draft.batch.comparisons[index] for index in sorted(indexes)]
    draft.put(*(Comparison(index=row.index, attempt=row.attempt + 1, receipt=_carried(row.receipt)) for row in rows))


def _carried(receipt: Receipt | None) -> Receipt | None:
    """Return what is kept of an attempt's receipt when another is planned: what has been paid."""
    if receipt is None:
        return None
    tokens_in, tokens_out = receipt.earlier_tokens
    return Receipt(
        earlier_cost=receipt.earlier_cost + (receipt.cost or 0.0),
        earlier_tokens=(tokens_in + receipt.input_tokens, tokens_out + receipt.output_tokens),
    )


def _after(before: Receipt | None, receipt: Receipt | None) -> Receipt | None:
    """Return the receipt of an answer, with what the attempts before it cost."""
    if before is None or not (before.earlier_cost or any(before.earlier_tokens)):
        return receipt
    return replace(receipt or Receipt(), earlier_cost=before.earlier_cost, earlier_tokens=before.earlier_tokens)


def _refused(row: Comparison) -> bool:
    return row.status is ComparisonStatus.FAILED and not row.answered


def _put_failed(draft: Draft, rows: Iterable[Comparison]) -> None:
    failed = list(rows)
    draft.put(*failed)
    for row in failed:
        draft.note(NoteKind.ATTEMPT_FAILED, row.error_code or "")
        if row.attempt >= draft.batch.roster.policy.max_attempts:
            draft.note(NoteKind.COMPARISON_EXHAUSTED)

"""The work sheet of one decision: the batch as it becomes, the rows that changed, and what is worth noting."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from cj_stream.domain.batch import Batch, evolve
from cj_stream.domain.records import Control, Row
from cj_stream.domain.states import BatchState, check_transition

RowKey = tuple[type[Row], int]
"""Tells the rows of a batch apart: their kind and number."""
_CONTROL: RowKey = (Control, 0)


class NoteKind(StrEnum):
    """What happened, for logs and metrics; the state never depends on a note."""

    BATCH_STARTED = "batch_started"
    REQUEST_REPEATED = "request_repeated"
    REQUEST_JOINED = "request_joined"
    REQUEST_REFUSED = "request_refused"
    STATE_CHANGED = "state_changed"
    DECIDED = "decided"
    VERDICT_APPLIED = "verdict_applied"
    ATTEMPT_FAILED = "attempt_failed"
    COMPARISON_EXHAUSTED = "comparison_exhausted"
    CALLBACK_DUPLICATE = "callback_duplicate"
    CALLBACK_LATE = "callback_late"
    CALLBACK_ORPHAN = "callback_orphan"
    EVENT_STALE = "event_stale"
    EVENT_REPLAYED = "event_replayed"
    SCORES_CHANGED = "scores_changed"
    OUTCOME_REFUSED = "outcome_refused"
    TIMEOUT_RECOVERED = "timeout_recovered"
    TIMEOUT_FAILED = "timeout_failed"
    COMMAND_IGNORED = "command_ignored"
    BATCH_DELETED = "batch_deleted"


class Note(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened: its kind, what is counted apart, and a number where there is one.

    Counted apart are the new state of a change of state, whose old one is ``left``, the kind of a decision or of a
    refused outcome, and the error code of a failed attempt.
    """

    kind: NoteKind
    detail: str = ""
    value: float = 0.0
    left: BatchState | None = None


class Change(msgspec.Struct, frozen=True, gc=False):
    """The outcome of a decision. ``rows`` are to be written in this order: details first, the control row last."""

    batch: Batch | None
    rows: tuple[Row, ...] = ()
    notes: tuple[Note, ...] = ()
    deleted: Batch | None = None
    """A batch whose rows are all to be deleted: its retention is over, or an operator says so."""


class Draft:
    """A batch under decision at time ``at``. `put` changes it; `change` tells what became of it."""

    def __init__(self, batch: Batch, at: float) -> None:
        self.batch = batch
        self.at = at
        self._changed: dict[RowKey, Row] = {}
        self._notes: list[Note] = []

    def put(self, *rows: Row) -> None:
        """Replace rows of the batch."""
        for row in rows:
            self._changed[type(row), row.number] = row
        self.batch = evolve(self.batch, rows)

    def control(self, **fields: Any) -> None:
        """Change fields of the control row."""
        self.put(msgspec.structs.replace(self.batch.control, **fields))

    def touch(self) -> None:
        """Record that the batch moved now: idle time starts again."""
        if self.at > self.batch.control.activity_at:
            self.control(activity_at=self.at)

    def become(self, state: BatchState) -> None:
        """Move to ``state``, which the table of transitions must allow."""
        old = self.batch.state
        check_transition(old, state)
        self.control(state=state, state_since=self.at)
        self._notes.append(Note(NoteKind.STATE_CHANGED, state, left=old))

    def note(self, kind: NoteKind, detail: str = "", value: float = 0.0) -> None:
        """Record something for logs and metrics."""
        self._notes.append(Note(kind, detail, value))

    def change(self) -> Change:
        """Return what changed. Any change writes the control row, last, as the commit record."""
        if not self._changed:
            return Change(self.batch, (), tuple(self._notes))
        self._changed.pop(_CONTROL, None)
        self._changed[_CONTROL] = self.batch.control
        return Change(self.batch, tuple(self._changed.values()), tuple(self._notes))


class RunChange(NamedTuple):
    """What a run of events changed of one batch, and the offsets that its rows, or its deletion, were caused at."""

    change: Change
    offsets: tuple[int, ...]


class Changes:
    """What a run of events changed: one change for each batch, so that each of its rows is written once."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, int], list[tuple[Change, int]]] = {}

    def add(self, change: Change, offset: int) -> None:
        """Add what the next event changed, which came at ``offset``; one that changed nothing is left out."""
        subject = change.deleted or change.batch
        if subject is None or not (change.rows or change.deleted):
            return
        if change.deleted is not None:
            self._of.pop(subject.key, None)
        self._of.setdefault(subject.key, []).append((change, offset))

    def drop(self, key: tuple[str, int]) -> None:
        """Forget what was changed of a batch."""
        self._of.pop(key, None)

    def __iter__(self) -> Iterator[RunChange]:
        return (_as_one(changes) for changes in self._of.values())


def _as_one(changes: Sequence[tuple[Change, int]]) -> RunChange:
    """Return changes of one batch, each made after the one before, as one change."""
    newest, offset = changes[-1]
    if len(changes) == 1:
        return RunChange(newest, (offset,) * max(len(newest.rows), 1))
    rows: dict[RowKey, tuple[Row, int]] = {}
    for change, at in changes:
        # The control row is the commit record: whatever is put after it, it goes to the end again.
        rows.pop(_CONTROL, None)
        rows.update({(type(row), row.number): (row, at) for row in change.rows})
    notes = tuple(note for change, _ in changes for note in change.notes)
    merged = Change(newest.batch, tuple(row for row, _ in rows.values()), notes, newest.deleted)
    return RunChange(merged, tuple(at for _, at in rows.values()))


def deletion(batch: Batch) -> Change:
    """Return the change that deletes a batch."""
    return Change(None, (), (Note(NoteKind.BATCH_DELETED),), deleted=batch)


def unchanged(batch: Batch | None, notes: Iterable[Note]) -> Change:
    """Return a change that changes nothing but is worth noting."""
    return Change(batch, (), tuple(notes))

"""The invariants of every decision, told from what is known without the domain: what was sent, when, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from support.domain.batch_checks import History as BatchHistory

from cj_stream.domain.batch import Batch
from cj_stream.domain.comparisons import TIMEOUT
from cj_stream.domain.draft import Change, NoteKind
from cj_stream.domain.events import (
    Action,
    CallbackReceived,
    ComparisonFailed,
    Event,
    OperatorCommand,
    SubmissionAccepted,
    TimeoutDue,
    VerdictReceived,
)
from cj_stream.domain.partition import KnowsEvent, PartitionBatches
from cj_stream.domain.records import Comparison, ComparisonStatus
from cj_stream.domain.states import BatchState

if TYPE_CHECKING:
    from simulation.world import World

BATCH_RULES = "every decision leaves a sound batch"
VERDICTS_COUNT = "a verdict for a live batch counts"
OWN_ATTEMPT = "an answer is that of its own attempt"
OWN_DEADLINE = "an attempt has its whole time, and not much more"
NEVER_UNJUST = "no batch is timed out because the service was down, or while it moves"
OLD_AGE = "no batch outlives its age limit by much"
RETENTION = "a finished batch is kept for its retention, and not much longer"
OBEYED = "an operator is obeyed"

ENDED_BY_TIME = (NoteKind.TIMEOUT_FAILED, NoteKind.TIMEOUT_RECOVERED)

OPENS_WITHIN = 30.0
"""Seconds from the first request until all workers have come and every partition has its last owner, without faults."""

Key = tuple[str, int]

ANY_ATTEMPT = 0
"""The attempt of an answer that does not say which it belongs to."""


class Answer(NamedTuple):
    """Names an attempt: what an event tells something of."""

    key: Key
    comparison: int
    attempt: int


class Decisions:
    """Watches the decisions of all processes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._accepted_at: dict[Answer, float] = {}
        self._moved_at: dict[Key, float] = {}
        self.ended_at: dict[Key, float] = {}

    def answer(self, event: Event) -> Answer | None:
        """Return which attempt an event is about, None if about none of ours."""
        if isinstance(event, CallbackReceived):
            return self._world.provider.genuine.get(event.justification or event.error_message or "")
        if isinstance(event, SubmissionAccepted | ComparisonFailed | VerdictReceived):
            return Answer((event.batch_id, event.run), event.index, event.attempt)
        return None

    def decided(self, event: Event, at: float, change: Change, before: Batch | None, after: Batch | None) -> None:
        """Check a decision about a batch that was held ``before`` and is ``after``."""
        broken = [
            *self._answers(event, before, after),
            *self._deadlines(change, at),
            *self._timeouts(event, at, change, before),
            *self._ages(change, at),
            *self._deletions(change, at),
            *_commands(event, change, before),
        ]
        for invariant, what in broken:
            self._world.history.violated(invariant, f"{what}, after {event}")

    def _answers(self, event: Event, before: Batch | None, after: Batch | None) -> Iterator[tuple[str, str]]:
        answer = self.answer(event)
        if answer is None or before is None or before.finished or after is None:
            return
        old, new = before.comparisons[answer.comparison], after.comparisons[answer.comparison]
        if isinstance(event, VerdictReceived) or (isinstance(event, CallbackReceived) and event.winner):
            if new.status is not ComparisonStatus.JUDGED:
                yield VERDICTS_COUNT, f"{new}"
            elif old.status is not new.status and answer.attempt not in (ANY_ATTEMPT, new.attempt):
                yield OWN_ATTEMPT, f"{old} became {new}"
        elif old.status is not new.status and old.attempt != answer.attempt:
            yield OWN_ATTEMPT, f"{old} became {new}"

    def _deadlines(self, change: Change, at: float) -> Iterator[tuple[str, str]]:
        settings, plan = self._world.settings, self._world.plan
        deadline = settings.comparison_deadline_minutes * 60
        longest = deadline + 3 * settings.batch_monitor_interval_minutes * 60
        # Timeouts wait for callbacks that lie unread, as long as new ones come.
        prompt = not (plan.faults or plan.callback_lag)
        for attempt, row in _changed(change):
            if row.status is ComparisonStatus.ACCEPTED:
                self._accepted_at.setdefault(attempt, at)
            elif row.error_code == TIMEOUT and attempt in self._accepted_at:
                took = at - self._accepted_at[attempt]
                if took < deadline or (took > longest and prompt):
                    yield OWN_DEADLINE, f"{attempt.key} {row}: given up after {took:.1f} s"

    def _timeouts(self, event: Event, at: float, change: Change, before: Batch | None) -> Iterator[tuple[str, str]]:
        batch, timeout = change.batch, self._world.settings.batch_timeout_hours * 3600
        if batch is None:
            return
        if any(note.kind in ENDED_BY_TIME for note in change.notes):
            served, idle = at - self._world.service.up_since(at), at - self._moved_at.get(batch.key, 0.0)
            old = at - batch.control.created_at >= self._world.settings.batch_max_age_hours * 3600
            # What was written in part moves a second time, without knowing when it did first.
            moves = idle < timeout and not (old or self._world.torn)
            if served < timeout or moves:
                yield NEVER_UNJUST, f"{batch.key} at {at}: served for {served:.1f} s, idle for {idle:.1f} s"
        # Giving up what is overdue is no sign of life.
        alive = not isinstance(event, TimeoutDue) and before is not None and _moved(before, batch)
        if before is None or before.state is not batch.state or alive:
            self._moved_at[batch.key] = at

    def _ages(self, change: Change, at: float) -> Iterator[tuple[str, str]]:
        settings, plan = self._world.settings, self._world.plan
        if change.batch is None or plan.faults or plan.callback_lag:
            return
        # The limit counts from the opening of the partition too, a final fit is waited for, and so are windows.
        control, allowed = change.batch.control, settings.batch_max_age_hours * 3600 + OPENS_WITHIN
        late = 3 * settings.batch_monitor_interval_minutes * 60
        if not change.batch.finished and control.stop_reason is None and at - control.created_at > allowed + late:
            yield OLD_AGE, f"{change.batch.key} is {at - control.created_at:.1f} s old"

    def _deletions(self, change: Change, at: float) -> Iterator[tuple[str, str]]:
        if change.batch is not None and change.batch.finished:
            self.ended_at.setdefault(change.batch.key, at)
        if change.deleted is not None and change.deleted.key in self.ended_at:
            kept = at - self.ended_at.pop(change.deleted.key)
            if kept < self._world.settings.retention_days * 86400:
                yield RETENTION, f"{change.deleted.key} is deleted {kept:.1f} s after its end"


def _changed(change: Change) -> Iterator[tuple[Answer, Comparison]]:
    for row in change.rows:
        if isinstance(row, Comparison) and change.batch is not None:
            yield Answer(change.batch.key, row.index, row.attempt), row


def _moved(before: Batch, after: Batch) -> bool:
    return (before.content, before.plans, before.scores, before.comparisons) != (
        after.content,
        after.plans,
        after.scores,
        after.comparisons,
    )


def _commands(event: Event, change: Change, before: Batch | None) -> Iterator[tuple[str, str]]:
    if not isinstance(event, OperatorCommand) or before is None or before.finished or change.batch is None:
        return
    progress, control = before.progress, change.batch.control
    if event.action is Action.CANCEL and control.state is not BatchState.CANCELLED:
        yield OBEYED, f"{before.key} is {control.state}"
    enough = progress.judged and progress.judged >= 0.8 * progress.settled
    if event.action is Action.FINALIZE and enough and not control.stop_reason and not change.batch.finished:
        yield OBEYED, f"{before.key} goes on: {control}"


class CheckedBatches(PartitionBatches):
    """The real batches of a partition, with every decision checked. ``world`` is the one that is running."""

    world: Any = None

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._history = BatchHistory()
        self._event: Event | None = None
        self._at = 0.0
        self._before: dict[Key, Batch] = {}

    def decide(self, event: Event, at: float, *applied: KnowsEvent) -> Change:
        self._event, self._at = event, at
        self._before = dict(self._live)
        return super().decide(event, at, *applied)

    def apply(self, change: Change) -> None:
        super().apply(change)
        assert self._event is not None
        if any(note.kind is NoteKind.EVENT_REPLAYED for note in change.notes):
            return  # what of the batch was written last may still lack its control row
        decisions = type(self).world().decisions
        answer = decisions.answer(self._event)
        key = answer.key if answer else change.batch.key if change.batch else ("", 0)
        decisions.decided(self._event, self._at, change, self._before.get(key), self._live.get(key))
        try:
            self._history.check(self._event, change)
        except AssertionError as broken:
            type(self).world().history.violated(BATCH_RULES, f"after {self._event}: {broken}")

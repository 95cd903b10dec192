"""A driver for tests: the batches of one partition in virtual time, with the real decider, scoring and row encoding.

`Story.tell` delivers single events, `Story.play` runs everything to the end with a scripted judge. Whatever is
delivered is stored as the worker would store it, and the invariants of `batch_checks` are asserted every time.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, cast
from uuid import UUID

from support.domain.batch_checks import History, check_rebuilt, check_timed_out

from cj_stream.domain import computations
from cj_stream.domain.batch import Batch
from cj_stream.domain.deadlines import next_due
from cj_stream.domain.draft import Change, NoteKind
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.events import (
    BatchRequested,
    CallbackReceived,
    ComparisonFailed,
    ContentLoaded,
    Event,
    OutcomePublished,
    OutcomeRefused,
    ProviderTold,
    SubmissionAccepted,
    TimeoutDue,
)
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Context, Essay, Slot
from cj_stream.domain.reuse import Judgements, judgements_of, taken_over
from cj_stream.domain.todo import (
    Effect,
    LoadContent,
    PlanPairs,
    Publish,
    Score,
    Submit,
    TakeOver,
    TellProvider,
    is_done,
    still_wanted,
    todo,
)
from cj_stream.engine.overrides.table import Put, Table
from cj_stream.tables.batch_rows import BatchRows, Unstored

START = 1_700_000_000.0
BATCH = "batch-1"
PARTITION = 3
IDS = CorrelationIds(b"a key for tests")
FIRST = "11111111-1111-4111-8111-111111111111"
SECOND = "22222222-2222-4222-8222-222222222222"

Replies = list[tuple[float, Event]]
"""What a judge sends about a submission: events, and after how many seconds each."""
Judge = Callable[["Story", Submit], Replies]


class MemoryTable:
    """Stands in for `Table`: the same bytes, in a dictionary."""

    def __init__(self) -> None:
        self.data: dict[bytes, bytes] = {}

    async def write(self, _sender: object, _partition: int, puts: Sequence[Put]) -> None:
        for key, value in puts:
            if value is None:
                self.data.pop(key, None)
            else:
                self.data[key] = value

    def read(self, _partition: int, key: bytes) -> bytes | None:
        return self.data.get(key)

    def scan(self, _partition: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(item for item in self.data.items() if item[0].startswith(prefix)))


def requested(essays: int = 3, correlation_id: str = FIRST, content: str = "essay", **fields: Any) -> BatchRequested:
    """A request; the same ``essays`` and ``content`` are the same content."""
    return BatchRequested(
        batch_id=fields.pop("batch_id", BATCH),
        correlation_id=correlation_id,
        digest=f"{essays} x {content}",
        essays=tuple(Essay(id=f"{content}-{i}", storage_id=f"storage-{i}") for i in range(essays)),
        context=Context(),
        **fields,
    )


class Story:
    """Batches of one partition. ``unusable``: roster positions whose texts cannot be loaded."""

    def __init__(
        self,
        policy: Policy | None = None,
        unusable: dict[int, str] | None = None,
        table: MemoryTable | None = None,
    ) -> None:
        self.now = START
        self.opened_at = START
        self.policy = policy or Policy()
        self.unusable = unusable or {}
        self.published: list[str] = []
        self.question = "question"
        """Stands for all that comparisons are asked with."""
        self.told_provider: list[int] = []
        """The runs of which the provider knows that nothing is wanted any more."""
        self.refusing: set[str] = set()
        """Outcomes that their topic will never take, by name."""
        self.log: list[tuple[float, tuple[Event, ...]]] = []
        self.seen: list[NoteKind] = []
        self.history = History()
        self.table = table or MemoryTable()
        self.rows = BatchRows(cast("Table", self.table))
        self.batches = self._reopened()
        self._order = itertools.count()
        self._queue: list[tuple[float, int, Event, Effect | None]] = []
        self._in_hand: set[Effect] = set()

    # --- Telling it event by event -------------------------------------------------------------------------------

    def tell(self, event: Event, *, after: float = 0.0) -> Change:
        """Deliver one event, ``after`` more seconds, and return what it changed."""
        self.now += after
        return self.deliver(event)[0]

    def deliver(self, *events: Event, at: float | None = None) -> list[Change]:
        """Deliver events in one message, as the batch agent does, and check everything that must always hold."""
        moment = self.now if at is None else at
        changes: list[Change] = []
        gathered = Unstored(PARTITION, self.rows)
        self.batches.let_go()
        for event in events:
            change = self.batches.decide(event, moment)
            self.batches.apply(change)
            changes.append(change)
            self.history.check(event, change)
            gathered.add(change, len(self.log))
        assert +self.batches.states == Counter(batch.state for batch in self.batches)
        _at_once(self.table.write(None, PARTITION, gathered.puts()))
        self.log.append((moment, events))
        self.seen += [note.kind for change in changes for note in change.notes]
        for event, change in zip(events, changes, strict=True):
            if isinstance(event, TimeoutDue) and moment == self.now:
                check_timed_out(change.batch, event.opened_at, moment)
        return changes

    def start(self, essays: int = 3, **fields: Any) -> Batch:
        """Request a ranking and carry on until the comparisons are to be submitted."""
        self.tell(requested(essays, **fields))
        self.carry_out(LoadContent, TakeOver, PlanPairs)
        return self.batch

    def carry_out(self, *kinds: type[Effect]) -> None:
        """Carry out effects of these kinds, of all batches, until none of them is left."""
        while work := [(batch, effect) for batch in self.batches for effect in todo(batch) if type(effect) in kinds]:
            for batch, effect in work:
                self.deliver(self.report(batch, effect))

    def finish(self) -> Batch:
        """Carry out everything but submissions, and return the batch as the table has it."""
        self.carry_out(LoadContent, TakeOver, PlanPairs, Score, Publish, TellProvider)
        return self.batch

    def report(self, batch: Batch, effect: Effect) -> Event:  # noqa: PLR0911 -- one for each kind of effect
        """Carry out an effect that is not a submission and return its report."""
        match effect:
            case PlanPairs():
                return computations.plan(batch)
            case Score():
                return computations.score(batch)
            case Publish() if effect.outcome.name in self.refusing:
                why = "the record is larger than the topic takes"
                return OutcomeRefused(batch_id=batch.batch_id, run=batch.run, outcome=effect.outcome.name, why=why)
            case Publish():
                self.published.append(effect.outcome.name)
                return OutcomePublished(batch_id=batch.batch_id, run=batch.run, outcome=effect.outcome.name)
            case TakeOver():
                return taken_over(batch, self._judgements(batch))
            case TellProvider():
                self.told_provider.append(batch.run)
                return ProviderTold(batch_id=batch.batch_id, run=batch.run)
            case _:
                texts = tuple(essay.id.encode() for essay in batch.roster.essays)
                return ContentLoaded(
                    batch_id=batch.batch_id,
                    run=batch.run,
                    unusable=self.unusable,
                    texts=texts,
                    question_sha256=self.question,
                )

    def _judgements(self, batch: Batch) -> Judgements | None:
        """Return what a batch wants to take over."""
        source = batch.roster.policy.judging.reuse_judgements or ""
        found = self._load(source, batch.run - 1 if source == batch.batch_id else None)
        return None if found is None else judgements_of(found)

    @property
    def batch(self) -> Batch:
        """The newest run of the batch that tests talk about."""
        batch = self.batches.newest(BATCH)
        assert batch is not None
        return batch

    def acceptance(self, index: int, attempt: int = 1, run: int = 1) -> Event:
        return SubmissionAccepted(batch_id=BATCH, run=run, index=index, attempt=attempt)

    def refusal(self, index: int, attempt: int = 1, run: int = 1) -> Event:
        return ComparisonFailed(batch_id=BATCH, run=run, index=index, attempt=attempt, error_code="REFUSED")

    def verdict(self, index: int, winner: Slot = "A", attempt: int = 1, run: int = 1) -> CallbackReceived:
        """The provider's verdict, found by its correlation id as on the wire."""
        return CallbackReceived(
            batch_id=BATCH,
            correlation_id=self.correlation_id(index, attempt, run),
            winner=winner,
            confidence=4.0,
            provider="openai",
            model="judge-1",
        )

    def error(self, index: int, attempt: int = 1, run: int = 1) -> CallbackReceived:
        """The provider's answer that it could not judge."""
        return CallbackReceived(
            batch_id=BATCH,
            correlation_id=self.correlation_id(index, attempt, run),
            error_code="EXTERNAL_SERVICE_ERROR",
            error_message="try later",
            provider="openai",
        )

    def due(self, run: int = 1) -> TimeoutDue:
        return TimeoutDue(batch_id=BATCH, run=run, due_at=self.now, opened_at=self.opened_at)

    def submissions(self) -> list[Submit]:
        return [effect for effect in todo(self.batch) if isinstance(effect, Submit)]

    def told(self, outcome: str, run: int = 1) -> OutcomePublished:
        """The report that an outcome, which goes by this name, is published."""
        return OutcomePublished(batch_id=BATCH, run=run, outcome=outcome)

    def owed(self) -> list[str]:
        """The names of the outcomes that the batch still owes."""
        return [outcome.name for outcome in unpublished(self.batch)]

    def rows_of_run(self, run: int) -> Batch:
        """A run of the batch as the table has it."""
        batch = self._load(BATCH, run)
        assert batch is not None
        return batch

    def correlation_id(self, index: int, attempt: int, run: int = 1) -> UUID:
        batch = next(batch for batch in self.batches if batch.key == (BATCH, run))
        return IDS.make(
            partition=PARTITION,
            batch_id=BATCH,
            run=run,
            index=index,
            attempt=attempt,
            pair=batch.essay_ids(index),
        )

    # --- Playing it to the end -----------------------------------------------------------------------------------

    def play(self, judge: Judge, *, pause: float = 0.1, after_each: Callable[[], None] | None = None) -> Batch:
        """Run until everything has ended and was told, ``pause`` seconds per effect, and return the batch."""
        self._start_effects(judge, pause)
        for _ in range(20_000):
            if not self._queue and all(is_done(batch) for batch in self.batches):
                return self.batch
            self._next()
            if after_each is not None:
                after_each()
            self._start_effects(judge, pause)
        raise AssertionError(f"does not end: {self.batch.control}, {self.batch.progress}")

    def crash(self) -> None:
        """Kill the worker: only the table survives, and what was on its way."""
        self._in_hand.clear()
        self.batches = self._reopened()
        self.opened_at = self.now

    def _next(self) -> None:
        dues = [(due.at, batch) for batch in self.batches if (due := next_due(batch, self.opened_at)) is not None]
        first = min(dues, key=lambda item: item[0], default=None)
        if self._queue and (first is None or self._queue[0][0] <= first[0]):
            self.now, _, event, effect = heapq.heappop(self._queue)
            self.deliver(event)
            self._in_hand -= {effect} if effect else set()
        else:
            assert first is not None, "nothing is under way and nothing falls due"
            at, batch = first
            self.now = max(self.now, at)
            self.deliver(TimeoutDue(batch_id=batch.batch_id, run=batch.run, due_at=at, opened_at=self.opened_at))

    def _start_effects(self, judge: Judge, pause: float) -> None:
        for batch in self.batches:
            for effect in todo(batch):
                if effect in self._in_hand or not still_wanted(batch, effect):
                    continue
                replies = judge(self, effect) if isinstance(effect, Submit) else [(pause, self.report(batch, effect))]
                self._in_hand.add(effect)
                for number, (delay, event) in enumerate(replies):
                    frees = effect if number == 0 else None
                    heapq.heappush(self._queue, (self.now + delay, next(self._order), event, frees))

    def _reopened(self) -> PartitionBatches:
        batches = PartitionBatches(IDS, self.policy, self._load)
        heads = [head for head in self.rows.heads(PARTITION) if not is_done(head)]
        batches.restore(batch for head in heads if (batch := self._load(*head.key)))
        return batches

    def _load(self, batch_id: str, run: int | None) -> Batch | None:
        return self.rows.load(PARTITION, batch_id, run)

    def check_rebuilt(self) -> None:
        """Assert that the table holds exactly what is in memory."""
        for batch in self.batches:
            check_rebuilt(batch, self._load(*batch.key))


def _at_once(coroutine: Coroutine[Any, Any, None]) -> None:
    # The in-memory table never waits, so the coroutine ends at its first step.
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the table waited")

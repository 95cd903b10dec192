"""The batches of one partition: finds the one that an event is about, and has the decider handle it.

One partition has one writer, so this is the only place where its batches change. Live batches are held here; one that
has ended and told everybody is let go once its rows are stored, and read back through ``load`` when somebody asks for
it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from cj_stream.domain.batch import Batch
from cj_stream.domain.decider import decide
from cj_stream.domain.draft import Change, Note, NoteKind, unchanged
from cj_stream.domain.events import (
    BatchPoisoned,
    BatchRequested,
    CallbackReceived,
    ComparisonFailed,
    Event,
    RunEvent,
    VerdictReceived,
)
from cj_stream.domain.identifiers import Attempt, CorrelationIds, Seal, batch_tag, read_correlation_id
from cj_stream.domain.policy import Policy
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import is_done

Key = tuple[str, int]
"""Batch id and run."""
Load = Callable[[str, int | None], Batch | None]
"""Reads a run of a batch from the table, the newest for None."""
KnowsEvent = Callable[[Batch], bool]
"""Tells whether a batch, as it was found, knows the event that is to be decided already."""


ListKey = TypeVar("ListKey")
Item = TypeVar("Item")


def _not_applied(_batch: Batch) -> bool:
    return False


class PartitionBatches:
    """Holds the live batches of one partition and applies events to them."""

    def __init__(self, correlation_ids: CorrelationIds, policy: Policy, load: Load) -> None:
        self._correlation_ids = correlation_ids
        self._policy = policy
        self._load = load
        self._live: dict[Key, Batch] = {}
        self._runs: dict[str, list[int]] = {}
        """The live runs of each batch id."""
        self._by_tag: dict[int, list[Key]] = {}
        self._seals: dict[Key, Seal] = {}
        self._done: set[Key] = set()
        self.states: Counter[BatchState] = Counter()
        """How many of the live batches are in each state."""

    def __iter__(self) -> Iterator[Batch]:
        return iter(list(self._live.values()))

    def restore(self, batches: Iterable[Batch]) -> None:
        """Take over the live batches found in the table."""
        for batch in batches:
            self._keep(batch)

    def let_go(self) -> None:
        """Let go of what has ended and told everybody. To be called while the table knows of all that was decided."""
        for key in list(self._done):
            self._let_go(key)

    def decide(self, event: Event, at: float, applied: KnowsEvent = _not_applied) -> Change:
        """Return what ``event`` changes, without changing any batch yet: `apply` does.

        Nothing, if ``applied`` says of the batch it is about that it knows the event already. A request is known by its
        origin instead: the run that it started may be missing although the run before has been stored.
        """
        if isinstance(event, CallbackReceived):
            resolved = self.resolve(event)
            if resolved is None:
                return unchanged(None, [Note(NoteKind.CALLBACK_ORPHAN)])
            event = resolved
        batch = self._find(event)
        if batch is not None and not isinstance(event, BatchRequested) and applied(batch):
            return unchanged(batch, [Note(NoteKind.EVENT_REPLAYED)])
        return decide(batch, event, self._policy, at)

    def apply(self, change: Change) -> None:
        """Replace the batch by what it has become."""
        if change.deleted is not None:
            self._let_go(change.deleted.key)
        elif change.batch is not None:
            self._keep(change.batch)

    def poison(self, event: Event, error: str, at: float) -> Change:
        """Return the end of the batch whose ``event`` could not be decided."""
        if isinstance(event, CallbackReceived):
            event = self.resolve(event) or event
        return decide(self._find(event), BatchPoisoned(batch_id=event.batch_id, error=error), self._policy, at)

    def resolve(self, callback: CallbackReceived) -> VerdictReceived | ComparisonFailed | None:
        """Return the callback as an event of the live batch it belongs to, or None for an orphan."""
        located = self._locate(callback)
        if located is None:
            return None
        batch, index, attempt = located
        if callback.winner is not None:
            return VerdictReceived(
                batch_id=batch.batch_id,
                run=batch.run,
                index=index,
                attempt=attempt,
                winner=callback.winner,
                confidence=callback.confidence,
                justification=callback.justification,
                provider=callback.provider,
                model=callback.model,
                receipt=callback.receipt,
            )
        return ComparisonFailed(
            batch_id=batch.batch_id,
            run=batch.run,
            index=index,
            attempt=attempt,
            error_code=callback.error_code or "UNKNOWN",
            error_message=callback.error_message or "",
            provider=callback.provider,
            model=callback.model,
            answered=True,
            receipt=callback.receipt,
        )

    def _locate(self, callback: CallbackReceived) -> tuple[Batch, int, int] | None:
        """Return the batch, comparison and attempt a callback answers: by its id, or by the echo if it is not ours."""
        found = read_correlation_id(callback.correlation_id) if callback.correlation_id else None
        if found is not None:
            batch = self._verified(found)
            return (batch, found.index, found.attempt) if batch else None
        for run in self._runs.get(callback.batch_id, ()):
            batch = self._live[callback.batch_id, run]
            index = None if batch.finished else batch.find(callback.essay_ids)
            if index is not None:
                return batch, index, batch.comparisons[index].attempt
        return None

    def _verified(self, found: Attempt) -> Batch | None:
        for key in self._by_tag.get(found.tag, ()):
            batch = self._live[key]
            if found.index < batch.total_comparisons and self._seal(key, found.partition).verifies(
                found, batch.essay_ids(found.index)
            ):
                return batch
        return None

    def _seal(self, key: Key, partition: int) -> Seal:
        seal = self._seals.get(key)
        if seal is None or seal.partition != partition:
            batch_id, run = key
            seal = self._seals[key] = self._correlation_ids.seal(partition=partition, batch_id=batch_id, run=run)
        return seal

    def newest(self, batch_id: str) -> Batch | None:
        """Return the newest run of a batch, or None when there is no such batch."""
        runs = self._runs.get(batch_id)
        newest = self._live[batch_id, max(runs)] if runs else None
        if newest is not None and not newest.finished:
            return newest
        # A later run may have been let go while this one still has outcomes to publish.
        stored = self._load(batch_id, None)
        return stored if newest is None or (stored is not None and stored.run > newest.run) else newest

    def _find(self, event: Event) -> Batch | None:
        if isinstance(event, RunEvent):
            return self._live.get((event.batch_id, event.run)) or self._load(event.batch_id, event.run)
        return self.newest(event.batch_id)

    def _keep(self, batch: Batch) -> None:
        key = batch.key
        before = self._live.get(key)
        if before is None:
            self._runs.setdefault(batch.batch_id, []).append(batch.run)
            self._by_tag.setdefault(batch_tag(*key), []).append(key)
            self.states[batch.state] += 1
        elif before.state is not batch.state:
            self.states[before.state] -= 1
            self.states[batch.state] += 1
        self._live[key] = batch
        if is_done(batch):
            self._done.add(key)
        else:
            self._done.discard(key)

    def _let_go(self, key: Key) -> None:
        self._done.discard(key)
        self._seals.pop(key, None)
        batch = self._live.pop(key, None)
        if batch is not None:
            batch_id, run = key
            self.states[batch.state] -= 1
            _remove(self._runs, batch_id, run)
            _remove(self._by_tag, batch_tag(batch_id, run), key)


def _remove(lists: dict[ListKey, list[Item]], key: ListKey, item: Item) -> None:
    """Take an item out of the list under ``key``; no empty list stays behind."""
    lists[key].remove(item)
    if not lists[key]:
        del lists[key]

"""The home of a partition: who holds its subjects, and decides what events make of them.

One partition has one writer, and its home is it. A home is made when the partition is first read from and forgotten
when it is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from cj_stream.engine.dead_letters import Refusal
from cj_stream.engine.overrides.table import Put
from cj_stream.engine.runs import Record
from cj_stream.engine.work import Keyed

EventT = TypeVar("EventT")
SubjectT = TypeVar("SubjectT", bound=Keyed)


class Entry(NamedTuple, Generic[EventT]):
    """An event, and the record of the log that brought it. Several may come in one record."""

    event: EventT
    record: Record


class Undecided(NamedTuple, Generic[EventT]):
    """An event that could not be decided: it goes to the dead letters, and nothing else stops for it."""

    entry: Entry[EventT]
    refusal: Refusal


class Applied(NamedTuple, Generic[SubjectT, EventT]):
    """What events have changed."""

    puts: Sequence[Put] = ()
    """The rows, in the order in which they vouch for each other."""
    changed: Sequence[SubjectT] = ()
    """The subjects as they are now."""
    undecided: Sequence[Undecided[EventT]] = ()


class Home(Protocol[SubjectT, EventT]):
    """Holds the subjects of one partition. What it decides follows from the state and the event alone."""

    def subjects(self) -> Iterable[SubjectT]:
        """Return all subjects that may have something to do or to wait for: asked when the partition opens."""

    async def apply(self, entries: Sequence[Entry[EventT]]) -> Applied[SubjectT, EventT]:
        """Apply events, in order. Some may have been applied before: their rows have their position, or a higher."""

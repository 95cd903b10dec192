"""The home of a partition: who holds its subjects, and decides what an event makes of them.

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
SubjectT_co = TypeVar("SubjectT_co", bound=Keyed, covariant=True)
EventT_contra = TypeVar("EventT_contra", contravariant=True)


class Entry(NamedTuple, Generic[EventT]):
    """An event, and the record of the log that brought it. Several may come in one record."""

    event: EventT
    record: Record


class Refused(NamedTuple, Generic[EventT]):
    """An event that could not be decided: it goes to the dead letters, and nothing else stops for it."""

    entry: Entry[EventT]
    refusal: Refusal
    data: bytes
    """The event as the dead letter keeps it."""


class Applied(NamedTuple, Generic[SubjectT, EventT]):
    """What a run of events has changed."""

    puts: Sequence[Put] = ()
    """The rows, in the order in which they vouch for each other."""
    changed: Sequence[SubjectT] = ()
    """The subjects as they are now."""
    refused: Sequence[Refused[EventT]] = ()


class Home(Protocol[SubjectT, EventT]):
    """Holds the subjects of one partition. What it decides is decided by the state and the event alone."""

    def subjects(self) -> Iterable[SubjectT]:
        """Return all subjects that may have something to do or to wait for, when the partition opens."""

    def apply(self, entries: Sequence[Entry[EventT]], *, opened: bool) -> Applied[SubjectT, EventT]:
        """Apply events, in order. Before the partition is ``opened`` some may have been applied already."""

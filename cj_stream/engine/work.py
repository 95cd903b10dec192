"""What there is to do for a subject, as its app tells it from the state: so nothing has to be remembered.

A *subject* is what has a state and a key: an order, an account, a job. An *effect* is one piece of work outside the
worker; equal effects are the same piece. What came of it is an event, and that makes the effect disappear from `todo`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, Protocol, TypeVar


class Keyed(Protocol):
    """Has a key that tells it from all other subjects."""

    @property
    def key(self) -> Hashable:
        """The key."""


SubjectT = TypeVar("SubjectT", bound=Keyed)
EffectT = TypeVar("EffectT", bound=Hashable)


class Pool(Generic[SubjectT, EffectT]):
    """A class of effects of which only ``size`` are under way at once, shared fairly by the subjects, in portions."""

    def __init__(self, size: int) -> None:
        self.size = size

    def takes(self, effect: EffectT) -> bool:
        """Return whether an effect is of this class."""
        raise NotImplementedError

    def todo(self, subject: SubjectT) -> Iterable[EffectT]:
        """Return what is to be done now of this class, what is in hand included. It need not be listed to its end."""
        raise NotImplementedError

    def cap(self, _subject: SubjectT) -> int | None:
        """Return how many a subject may have under way, if `todo` leaves some out because of that; None if not."""
        return None

    def portion(self, _subject: SubjectT) -> int:
        """Return how many a subject starts when it is its turn."""
        return 1


class Work(Generic[SubjectT, EffectT]):
    """The work of an app: what is to be done, and when no more. Everything is told from the state alone."""

    pool: Pool[SubjectT, EffectT] | None = None

    def todo(self, subject: SubjectT) -> Sequence[EffectT]:
        """Return what is to be done now, what is in hand included, and nothing that is of the pool."""
        raise NotImplementedError

    def is_done(self, subject: SubjectT) -> bool:
        """Return whether nothing is to be done for it any more, or not before it changes."""
        return not self.todo(subject) and not any(True for _ in self._pooled(subject))

    def still_wanted(self, subject: SubjectT, effect: EffectT) -> bool:
        """Return whether an effect, once taken in hand, is still to be done in this state of its subject."""
        return effect in self.todo(subject) or effect in self._pooled(subject)

    def clears(self, effect: EffectT, postponed: EffectT) -> bool:
        """Return whether the success of ``effect`` says that what kept ``postponed`` back is gone."""
        return effect == postponed

    def _pooled(self, subject: SubjectT) -> Iterable[EffectT]:
        return () if self.pool is None else self.pool.todo(subject)

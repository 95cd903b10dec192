"""The work of batches, as the dispatcher asks for it. Submissions share a pool, in portions of one matching (n/2)."""

from __future__ import annotations

from collections.abc import Iterator

from cj_stream.domain.batch import Batch
from cj_stream.domain.todo import (
    Effect,
    Publish,
    Submit,
    duties,
    is_done,
    still_wanted,
    submissions,
    submissions_allowed,
)
from cj_stream.engine.work import Pool, Work


class Submissions(Pool[Batch, Effect]):
    """Submissions to the provider, whose batches have limits of their own."""

    def takes(self, effect: Effect) -> bool:
        """Return whether an effect is a submission."""
        return isinstance(effect, Submit)

    def todo(self, subject: Batch) -> Iterator[Submit]:
        """Iterate over the attempts to be submitted now."""
        return submissions(subject)

    def cap(self, subject: Batch) -> int | None:
        """Return how many may be submitted now, where more are planned: a retry may take the place of another."""
        allowed = submissions_allowed(subject)
        return None if allowed >= len(subject.progress.planned) else allowed

    def portion(self, subject: Batch) -> int:
        """Return the pairs of one matching."""
        return max(len(subject.usable) // 2, 1)


class BatchWork(Work[Batch, Effect]):
    """What batches have to do; ``at_once`` submissions are under way at once."""

    def __init__(self, at_once: int) -> None:
        self.pool = Submissions(at_once)

    def todo(self, subject: Batch) -> list[Effect]:
        """Return the effects to be carried out now that are no submissions."""
        return duties(subject)

    def is_done(self, subject: Batch) -> bool:
        """Return whether the batch has ended and everybody has been told."""
        return is_done(subject)

    def still_wanted(self, subject: Batch, effect: Effect) -> bool:
        """Return whether an effect in hand is still to be done."""
        return still_wanted(subject, effect)

    def clears(self, effect: Effect, postponed: Effect) -> bool:
        """Return whether what kept ``postponed`` back is gone, now that ``effect`` succeeded."""
        # Each outcome has a topic of its own; of submissions any one tells that the provider takes them again.
        return effect == postponed or (type(effect) is type(postponed) and not isinstance(effect, Publish))

"""What is still to be done for a batch, derived from its state: so there is no outbox to keep consistent with it.

An effect is carried out by an executor, which reports back with an event; the event makes the effect disappear from
`todo`. An effect that got lost is simply still there. Carrying one out twice is harmless, but costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import Outcome, unpublished
from cj_stream.domain.money import affordable
from cj_stream.domain.records import ComparisonStatus
from cj_stream.domain.reuse import may_reuse
from cj_stream.domain.states import BatchState


class Effect(msgspec.Struct, frozen=True, tag=True):
    """Base of all effects; equal effects are the same piece of work."""

    batch_id: str
    run: int


class LoadContent(Effect, frozen=True):
    """Load the essays' texts, to find out which are usable. Answered by `ContentLoaded`."""


class PlanPairs(Effect, frozen=True):
    """Choose the pairs of an iteration. Answered by `PairsPlanned`."""

    iteration: int


class TakeOver(Effect, frozen=True):
    """Look for verdicts of another run on the same texts. Answered by `JudgementsReused`."""


class Submit(Effect, frozen=True):
    """Submit an attempt to the provider. Answered by `SubmissionAccepted`, `ComparisonFailed` or `VerdictReceived`."""

    index: int
    attempt: int


class Score(Effect, frozen=True):
    """Fit the model to the verdicts. Answered by `ScoresComputed`."""

    scoring_round: int


class TellProvider(Effect, frozen=True):
    """Tell the provider that nothing of a run that has ended is wanted any more. Answered by `ProviderTold`."""


class Publish(Effect, frozen=True):
    """Publish an outcome event. Answered by `OutcomePublished`."""

    outcome: Outcome


def todo(batch: Batch) -> list[Effect]:
    """Return the effects to be carried out now, submissions capped by the number of comparisons in flight."""
    return [*duties(batch), *submissions(batch)]


def duties(batch: Batch) -> list[Effect]:
    """Return the effects to be carried out now that are no submissions: outcomes, and the next step of the batch."""
    key = batch.key
    effects: list[Effect] = [Publish(*key, outcome) for outcome in unpublished(batch)]
    match batch.state:
        case BatchState.INITIALIZING:
            effects.append(LoadContent(*key))
        case BatchState.GENERATING_PAIRS:
            effects.append(TakeOver(*key) if may_reuse(batch) else PlanPairs(*key, batch.control.iteration + 1))
        case BatchState.SCORING:
            effects.append(Score(*key, batch.control.scoring_round))
    if batch.control.provider_untold:
        effects.append(TellProvider(*key))
    return effects


def submissions(batch: Batch) -> Iterator[Submit]:
    """Iterate over the attempts to be submitted now: whoever takes a few pays for a few, however many are planned."""
    batch_id, run = batch.key
    for index in islice(batch.progress.planned, submissions_allowed(batch)):
        yield Submit(batch_id, run, index, batch.comparisons[index].attempt)


def submissions_allowed(batch: Batch) -> int:
    """Return how many planned comparisons may be submitted now, those included whose acceptance is on its way."""
    if batch.state is not BatchState.WAITING_CALLBACKS:
        return 0
    at_once, paid_for = batch.roster.policy.max_concurrent_comparisons, affordable(batch)
    return max((at_once if paid_for is None else min(at_once, paid_for)) - len(batch.progress.accepted), 0)


def still_wanted(batch: Batch, effect: Effect) -> bool:
    """Return whether ``effect``, once taken in hand, is still to be done in this state of the batch."""
    if isinstance(effect, Submit):
        if batch.finished or effect.index >= batch.total_comparisons:
            return False
        row = batch.comparisons[effect.index]
        return row.status is ComparisonStatus.PLANNED and row.attempt == effect.attempt
    return effect in duties(batch)


def is_done(batch: Batch) -> bool:
    """Return whether the batch has ended and everybody has been told."""
    return batch.finished and not batch.control.provider_untold and not unpublished(batch)

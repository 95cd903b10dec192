"""Everything that can happen to a batch. The time of an event comes with the message that carries it.

Requests and callbacks come from outside, the reports of what was done from the executors, timeouts from the timer
agent, commands from operators. All of them travel in one log per partition, so a batch has one order of events.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec

from cj_stream.domain.records import Context, Essay, Origin, Receipt, Scores, Slot
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule


class Event(msgspec.Struct, frozen=True, tag=True, kw_only=True, omit_defaults=True):
    """Base of all events. ``batch_id`` is the upstream batch id."""

    batch_id: str


class BatchRequested(Event, frozen=True):
    """Upstream asks for a ranking of these essays."""

    correlation_id: str
    digest: str
    """Identifies what is asked for, without the correlation id."""
    essays: tuple[Essay, ...]
    context: Context
    max_comparisons: int | None = None
    completion_threshold_pct: int | None = None
    origin: Origin | None = None
    """Identifies the record of the request; None in messages from before it was noted."""
    pairing: PairingPolicy | None = None
    stop_rules: tuple[StopRule, ...] | None = None
    reliability_target: float | None = None
    grade_boundaries: tuple[float | str, ...] = ()
    max_cost: float | None = None
    priority: int = 0
    batching_mode: str | None = None
    reuse_judgements: str | None = None


class CallbackReceived(Event, frozen=True, tag="Callback"):
    """The provider answered a comparison, or says that it cannot. ``batch_id`` is only what the echo claims.

    The home partition of the correlation id resolves it to a `VerdictReceived` or a `ComparisonFailed`.
    In the log it is called ``Callback``, as it always was: the name is the format.
    """

    correlation_id: UUID | None
    essay_ids: tuple[str, str] | None = None
    """Echo of the essays compared, in presented order; identifies the comparison if the id is not of our making."""
    winner: Slot | None = None
    confidence: float | None = None
    justification: str | None = None
    provider: str = ""
    model: str = ""
    error_code: str | None = None
    error_message: str | None = None
    receipt: Receipt | None = None


RunNumber = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
"""The number of a run, as large as the key of a row can hold; an event with another is none."""


class RunEvent(Event, frozen=True):
    """Base of the events that belong to one run of a batch; one for another run is stale."""

    run: RunNumber


class ContentLoaded(RunEvent, frozen=True):
    """The texts were loaded; ``unusable`` maps roster positions to the reason."""

    unusable: dict[int, str] = {}
    texts: tuple[bytes, ...] = ()
    question_sha256: str = ""
    question: str = ""


class JudgementsReused(RunEvent, frozen=True):
    """Verdicts of another run on the same texts were found, or none; ``winners`` has a letter for each pair."""

    pairs: tuple[tuple[int, int], ...] = ()
    winners: str = ""
    provider: str = ""
    model: str = ""
    why_none: str = ""


class PairsPlanned(RunEvent, frozen=True):
    """The pairs of an iteration were chosen; none at all means that no informative pair is left."""

    iteration: int
    pairs: tuple[tuple[int, int], ...]


class SubmissionAccepted(RunEvent, frozen=True):
    """The provider has accepted an attempt; its callback is to come.

    ``expected_wait``: seconds within which it expects to answer, with a margin; 0 where it does not say.
    """

    index: int
    attempt: int
    expected_wait: float = 0.0


class ComparisonFailed(RunEvent, frozen=True):
    """An attempt failed: refused at submission, or answered with an error."""

    index: int
    attempt: int
    error_code: str
    error_message: str = ""
    provider: str = ""
    model: str = ""
    answered: bool = False
    """True for an error that came as a callback, False for a refusal at submission."""
    receipt: Receipt | None = None


class VerdictReceived(RunEvent, frozen=True):
    """An attempt has a verdict."""

    index: int
    attempt: int
    winner: Slot
    confidence: float | None = None
    justification: str | None = None
    provider: str = ""
    model: str = ""
    receipt: Receipt | None = None


class ScoresComputed(RunEvent, frozen=True):
    """The fit asked for in ``scoring_round`` is there."""

    scoring_round: int
    scores: Scores


class OutcomePublished(RunEvent, frozen=True):
    """The broker has acknowledged an outcome event."""

    outcome: str
    """Its `Outcome.name`."""


class OutcomeRefused(RunEvent, frozen=True):
    """The topic of an outcome event will never take it."""

    outcome: str
    """Its `Outcome.name`."""
    why: str


class ProviderTold(RunEvent, frozen=True):
    """The provider knows that nothing of this run is wanted any more, or does not take such a message."""

    why_not: str = ""
    """Why it could not be told; empty when it was."""


class TimeoutDue(RunEvent, frozen=True):
    """A window of the timer has closed over a deadline; ``opened_at``: since when the partition is served."""

    due_at: float
    opened_at: float


class Action(StrEnum):
    """What an operator can tell a batch to do."""

    CANCEL = "cancel"
    RETRY = "retry"
    FINALIZE = "finalize"
    FORGET = "forget"
    """Have everything that is kept of a run that has ended deleted, whenever its retention would be over."""


class OperatorCommand(Event, frozen=True):
    """An operator intervenes."""

    action: Action
    reason: str = ""


class BatchPoisoned(Event, frozen=True):
    """An event could not be decided: a bug. The batch ends here rather than stop every worker in turn."""

    error: str


AnyEvent = (
    BatchRequested
    | CallbackReceived
    | ContentLoaded
    | JudgementsReused
    | PairsPlanned
    | SubmissionAccepted
    | ComparisonFailed
    | VerdictReceived
    | ScoresComputed
    | OutcomePublished
    | OutcomeRefused
    | ProviderTold
    | TimeoutDue
    | OperatorCommand
    | BatchPoisoned
)

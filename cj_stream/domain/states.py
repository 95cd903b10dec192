"""The seven states of a batch, the five decisions, why a batch fails, and the one table of legal transitions."""

from __future__ import annotations

from enum import StrEnum


class BatchState(StrEnum):
    """Where a batch stands."""

    INITIALIZING = "INITIALIZING"
    """Accepted; the texts are being loaded."""
    GENERATING_PAIRS = "GENERATING_PAIRS"
    """The next pairs are being chosen."""
    WAITING_CALLBACKS = "WAITING_CALLBACKS"
    """Comparisons are submitted, verdicts are awaited."""
    SCORING = "SCORING"
    """The Bradley-Terry model is being fitted."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class Decision(StrEnum):
    """What the decider concludes after an event."""

    WAIT = "WAIT"
    GENERATE_ADAPTIVE_PAIRS = "GENERATE_ADAPTIVE_PAIRS"
    TRIGGER_PARTIAL_SCORING = "TRIGGER_PARTIAL_SCORING"
    TRIGGER_FINAL_SCORING = "TRIGGER_FINAL_SCORING"
    PUBLISH_FAILURE = "PUBLISH_FAILURE"


class FailureReason(StrEnum):
    """Why a batch ended without a ranking: as the row keeps it, and as the failed event says it."""

    LOW_SUCCESS_RATE = "low_success_rate"
    """Too few of the settled comparisons have a verdict."""
    STUCK = "stuck_timeout_insufficient_progress"
    """A time limit was reached, and too little was done to be scored."""
    NO_USABLE_ESSAYS = "no_usable_essays"
    NO_PAIRS = "no_pairs"
    """No pair was left to compare, and there were too few verdicts for a ranking."""
    PRICE_UNKNOWN = "price_unknown"
    """The batch has a budget in money, and nobody knows what its verdicts cost."""
    INTERNAL_ERROR = "internal_error"
    """An event of the batch could not be decided: a bug."""
    CANCELLED = "cancelled"
    """An operator said so."""


_ENDED_EARLY = {BatchState.FAILED, BatchState.CANCELLED}

TRANSITIONS: dict[BatchState, frozenset[BatchState]] = {
    BatchState.INITIALIZING: frozenset({BatchState.GENERATING_PAIRS, BatchState.COMPLETED, *_ENDED_EARLY}),
    BatchState.GENERATING_PAIRS: frozenset({BatchState.WAITING_CALLBACKS, BatchState.SCORING, *_ENDED_EARLY}),
    BatchState.WAITING_CALLBACKS: frozenset({BatchState.SCORING, BatchState.GENERATING_PAIRS, *_ENDED_EARLY}),
    BatchState.SCORING: frozenset({BatchState.GENERATING_PAIRS, BatchState.COMPLETED, *_ENDED_EARLY}),
    BatchState.COMPLETED: frozenset(),
    BatchState.FAILED: frozenset(),
    BatchState.CANCELLED: frozenset(),
}

TERMINAL = frozenset(state for state, following in TRANSITIONS.items() if not following)


class IllegalTransitionError(Exception):
    """A bug: the decider asked for a transition that the table does not have."""

    def __init__(self, old: BatchState, new: BatchState) -> None:
        super().__init__(f"a batch in state {old} cannot become {new}")


def check_transition(old: BatchState, new: BatchState) -> None:
    """Raise `IllegalTransitionError` unless ``old`` may become ``new``."""
    if new not in TRANSITIONS[old]:
        raise IllegalTransitionError(old, new)

"""What an operator can do about a batch, in sentences."""

from __future__ import annotations

from cj_stream.domain.batch import Batch
from cj_stream.domain.commands import objection
from cj_stream.domain.events import Action
from cj_stream.domain.states import FailureReason
from cj_stream.operations.troubles import SOMEBODY_HAS_TO

_COMMANDS = {
    Action.RETRY: "`retry` plans another attempt of the {failed} failed comparison(s) now.",
    Action.FINALIZE: "`finalize` ends the batch with a ranking from the {judged} verdict(s) there are.",
    Action.CANCEL: "`cancel` ends the batch without a ranking.",
}
_REFUSED = (
    "{count} outcome event(s) were refused by their topic for good, see why. Once that is put right, `retry` publishes "
    "them again."
)
_AGAIN = "Sending the request again starts another run."
_AFTER_FAILURE = {
    FailureReason.LOW_SUCCESS_RATE: "Too few comparisons got a verdict: see the last errors and the LLM provider. ",
    FailureReason.STUCK: "Nothing moved for too long: check that the LLM provider calls back on the callback topic. ",
    FailureReason.NO_USABLE_ESSAYS: "No essay has a readable text: see the failed essays and the content service. ",
    FailureReason.NO_PAIRS: "No pair of essays was left to compare and too few had a verdict: see the last errors. ",
    FailureReason.PRICE_UNKNOWN: "The budget in money cannot be kept: nobody knows what the verdicts cost. Ask a model "
    "whose price is known, give the gateway its price, or leave the budget out. ",
    FailureReason.INTERNAL_ERROR: "This is a bug of the service: the event is in the dead letters, please report it. ",
    FailureReason.CANCELLED: "",
}


def hints(batch: Batch, postponed: str | None) -> list[str]:
    """Return what an operator can do now, the most pressing first."""
    found = []
    if postponed and SOMEBODY_HAS_TO in postponed:
        found.append(
            "The work waits until somebody has changed what is said under `postponed`; then it goes on by itself."
        )
    elif postponed:
        found.append("The work waits for another service and goes on by itself as soon as that one answers.")
    found += _after_the_end(batch) if batch.finished else _commands(batch)
    if batch.scores and batch.scores[-1].components > 1:
        found.append(
            f"The verdicts leave the essays in {batch.scores[-1].components} groups that were never compared with "
            "each other: ranks across groups mean little."
        )
    return found


def _commands(batch: Batch) -> list[str]:
    counts = {"failed": batch.progress.failed, "judged": batch.progress.judged}
    return [text.format(**counts) for action, text in _COMMANDS.items() if objection(batch, action) is None]


def _after_the_end(batch: Batch) -> list[str]:
    if batch.control.unpublishable:
        return [_REFUSED.format(count=len(batch.control.unpublishable))]
    failure = batch.control.failure
    return [] if failure is None else [_AFTER_FAILURE[failure] + _AGAIN]

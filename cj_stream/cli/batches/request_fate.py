"""What becomes of a request whose batch id may be known already, in words, before it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from cj_stream.agents.requests import requested
from cj_stream.cli.batches.live_progress import TERMINAL_STATES
from cj_stream.contracts.request_reader import AssessmentRequest


class Fate(StrEnum):
    """What a request does, as the service will decide."""

    STARTS = "starts"
    STARTS_AGAIN = "starts_again"
    JOINS = "joins"
    REPEATS = "repeats"
    REFUSED = "refused"


class Foreseen(NamedTuple):
    """What becomes of a request, the run of the batch that answers it, and a sentence that says so."""

    fate: Fate
    run: int
    told: str


def foreseen(request: AssessmentRequest, detail: Mapping[str, Any] | None) -> Foreseen:
    """Return what becomes of ``request`` when the views know its batch as ``detail``, None when they do not."""
    count = len(request.essays)
    if detail is None:
        return Foreseen(Fate.STARTS, 1, f"{count} essays are on their way")
    event, run, state = requested(request), detail["run"], detail["state"]
    same = detail["processing_metadata"]["digest"] == event.digest
    known = event.correlation_id in (detail["correlation_id"], *detail["joined_correlation_ids"])
    batch = f"batch {request.batch_id}"
    if state not in TERMINAL_STATES and not same:
        told = (
            f"{batch} is being judged with other essays or options (run {run}, {state}): the service would refuse this"
        )
        return Foreseen(Fate.REFUSED, run, f"{told} request. Send it when that has ended")
    if state not in TERMINAL_STATES:
        return Foreseen(Fate.JOINS, run, f"{batch} is being judged already (run {run}): this request waits for it")
    if same and known:
        return Foreseen(Fate.REPEATS, run, f"{batch} has ended ({state}): its outcome is published again")
    told = f"{batch} has ended (run {run}, {state}): {count} essays start run {run + 1} of it"
    return Foreseen(Fate.STARTS_AGAIN, run + 1, told)

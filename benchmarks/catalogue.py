"""The hazards that are played: their names, the parts of the hardening against them, and their settings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import plays
from scene import Scene

Play = Callable[[Scene], Awaitable[float]]
"""Returns when its fault struck, in seconds since the epoch."""


@dataclass(frozen=True)
class Hazard:
    """A play, and the parts of the hardening without which it should do harm."""

    name: str
    parts: tuple[str, ...]
    play: Play
    changes: dict[str, Any] = field(default_factory=dict)


_SLOWLY = {"submission_workers": 8}

HAZARDS = (
    Hazard("commit before the rows are acknowledged", ("sender", "settings"), plays.slow_changelog),
    Hazard("commit before gathered events are sent", ("barrier",), plays.gathered, {"accumulate_milliseconds": 3500}),
    Hazard("the broker refuses a row", ("sender",), plays.refused_record),
    Hazard("exception in the batch agent", ("exceptions",), plays.raised),
    Hazard("rows only on a disk", ("store",), plays.kept_folder),
    Hazard("frozen with verdicts queued", ("fence", "positions"), plays.frozen_with_verdicts, {"max_iterations": 2}),
    Hazard("cut off with a plan queued", ("fence", "releases"), plays.cut_off_with_a_plan),
    Hazard("recovery with a backlog", ("seek",), plays.backlog),
    Hazard("recovery with a backlog, a fetch under way", ("fetch",), plays.backlog),
    Hazard("rebalance under load", ("seek", "fetch"), plays.joined),
    Hazard("acceptances unread at a takeover", ("marker",), plays.unread_acceptances),
    Hazard("stopped while submitting", ("drain",), plays.stopped_while_submitting, _SLOWLY),
    Hazard("joined while submitting", ("drain",), plays.joined_while_submitting, _SLOWLY),
    Hazard("joined while submitting slowly", ("drain",), plays.joined_while_submitting_slowly, _SLOWLY),
    Hazard("submissions before their rows are durable", ("releases",), plays.killed_before_durable),
    Hazard("event loop blocked", ("watchdog",), plays.blocked, {"loop_stall_seconds": 5}),
    Hazard("lost answer to a produce request", ("idempotence",), plays.lost_answer),
)

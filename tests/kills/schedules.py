"""Schedules: the short one of the tests, the one without a kill, and random ones."""

from __future__ import annotations

from kills.faults import Freeze, KeptThenEmpty, Kill, KillInRebalance, Outage, Scale, Stop
from kills.trial import Waves

SHORT: Waves = (
    (Kill(1, "rows held"), Kill(2, "submitted", 2)),
    (KillInRebalance(3, 3, "recovering"), Kill(2, "inputs held")),
    (Freeze(1), Stop(2)),
    (Kill(3, "torn", 3, taken_over=True), Kill(1, "reported", 2)),
    (Outage(8),),
    (KeptThenEmpty(2, "put", 2),),
)
"""Each kind of fault once."""

UNHARMED: Waves = ((Scale(3),), (Scale(1),))
"""Nobody is killed: every attempt is submitted exactly once."""

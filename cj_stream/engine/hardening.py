"""What the hardened parts of a worker share, reachable as ``app.engine``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cj_stream.engine.conditions import Conditions
from cj_stream.engine.fence import Fence
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.fetch_guard import FetchGuard
from cj_stream.engine.overrides.inputs import Inputs
from cj_stream.engine.releases import Releases
from cj_stream.engine.sender import Sender
from cj_stream.engine.watchdog import Watchdog


@dataclass(frozen=True)
class Engine:
    """The hardening of one worker."""

    sender: Sender
    fence: Fence
    releases: Releases[Any]
    opener: Opener
    watchdog: Watchdog
    conditions: Conditions
    inputs: Inputs
    guard: FetchGuard
    events_topic: str

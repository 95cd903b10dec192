"""A worker whose clock is CLOCK_AHEAD seconds ahead, and trusted, for `faust -A support.apps.clock_app`."""

from __future__ import annotations

import os
import time

from cj_stream.engine.clock import Clock

_time = time.time
_ahead = float(os.environ["CLOCK_AHEAD"])

time.time = lambda: _time() + _ahead
if os.environ.get("CLOCK_TRUSTED"):
    Clock.now = lambda self: self.own()

from cj_stream.app import app  # noqa: E402 (the clock comes first)

__all__ = ["app"]

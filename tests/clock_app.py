"""A real worker whose clock is ahead by CLOCK_AHEAD seconds, for `faust -A clock_app`; it may trust that clock."""

from __future__ import annotations

import os
import time

from cj_stream.engine.clock import Clock

_time = time.time
_ahead = float(os.environ["CLOCK_AHEAD"])

time.time = lambda: _time() + _ahead
if os.environ.get("CLOCK_TRUSTED"):
    Clock.now = lambda self: self.own()  # type: ignore[method-assign]

from cj_stream.app import app  # noqa: E402 (the clock comes first)

__all__ = ["app"]

"""Where another thread is now: Python has no public way to see it."""

from __future__ import annotations

import sys
import traceback


def stack_of(thread: int) -> str:
    """Return the stack of a thread, by its identifier."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 (there is no other way to see another thread)
    return "".join(traceback.format_stack(frame)) if frame is not None else "the thread has ended"

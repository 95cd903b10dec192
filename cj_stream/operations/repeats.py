"""A library that says the same again and again is heard now and then.

While a broker is away, aiokafka 0.14.0 logs each of its attempts, some twenty five a second. What matters of it is said
by the watchdog, twice a minute; of the library's own lines each kind is let through once in a while.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection


class Repeats(logging.Filter):
    """Lets each kind of message (logger, level, template) of the loggers ``names`` through once in ``seconds``.

    The line that gets through next says how many were left out before it. Other loggers are not touched.
    """

    def __init__(self, names: Collection[str], seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._names = tuple(names)
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is to be logged."""
        if record.name.partition(".")[0] not in self._names:
            return True
        kind, at = (record.name, record.levelno, str(record.msg)), self._clock()
        with self._lock:
            said_at, left_out = self._said.get(kind, (-self._seconds, 0))
            if at - said_at < self._seconds:
                self._said[kind] = (said_at, left_out + 1)
                return False
            self._said[kind] = (at, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} more like this since the last one)", ()
        return True

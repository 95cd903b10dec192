"""The time the service goes by: the broker's, as far as it is known, whatever the clock of this machine says.

Our own topics have the broker's time in each record, and with it everything that is decided. What else needs the time
(when a window closes, what an outcome is stamped with) would contradict it on a machine whose clock is wrong: outcomes
five hours ahead are refused by their topic, and whoever is late would be found late five hours early. So each
acknowledgement of such a record is compared with this worker's clock, and a difference is taken into account and told.

Test: ``test_clock.py``; ``tests/kafka/test_refused_outcomes.py`` (a worker whose clock is five hours ahead).
"""

from __future__ import annotations

from collections.abc import Callable

from cj_stream.engine.conditions import ConditionKind, Conditions

LOG_APPEND_TIME = 1
"""Of the metadata of an acknowledged record: its time is the broker's."""
SUBJECT = "clock"


class Clock:
    """Tells the broker's time, in seconds since the epoch; ``own`` is this machine's clock.

    A difference of more than ``tolerance`` seconds is a condition.
    """

    def __init__(self, own: Callable[[], float], conditions: Conditions, tolerance: float) -> None:
        self.own = own
        self._conditions = conditions
        self._tolerance = tolerance
        self.ahead = 0.0
        """Seconds that this machine's clock is ahead of the broker's at the least, negative when it is behind."""

    def now(self) -> float:
        """Return the broker's time, this machine's as long as nothing else is known."""
        return self.own() - self.ahead

    def appended(self, sent: float, at: float) -> None:
        """Compare the clocks: a record sent at ``sent``, by this machine's clock, was stored ``at``, by the broker's.

        It was stored between then and now, so a record that was long on its way tells of no difference.
        """
        self.ahead = max(sent - at, 0.0) or min(self.own() - at, 0.0)
        if abs(self.ahead) > self._tolerance:
            self._conditions.begin(ConditionKind.CLOCK, SUBJECT, self.difference(), _MEANING)
        else:
            self._conditions.end(ConditionKind.CLOCK, SUBJECT)

    def difference(self) -> str:
        """Return a sentence on how the two clocks differ, and what to do."""
        if abs(self.ahead) < 1:
            return "As far as is known, this worker's clock agrees with the broker's."
        where = "ahead of" if self.ahead > 0 else "behind"
        return f"This worker's clock is {abs(self.ahead):.0f} s {where} the broker's: set it, by NTP for instance."


_MEANING = "The service goes by the broker's clock, so nothing suffers; only the logs of this worker have its own time."

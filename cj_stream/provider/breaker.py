"""A circuit breaker: after several failures in a row nothing is sent for a while, then one probe decides."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class BreakerState(StrEnum):
    """Closed lets everything pass, open nothing, half-open one probe at a time."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class CircuitBreaker:
    """The three-state breaker of Nygard, "Release It!", with the clock handed in.

    Every call that ``admit`` let pass must be reported back as ``succeeded``, ``failed`` or ``abandoned``.
    ``clock`` returns seconds and never goes back.
    """

    def __init__(
        self, clock: Callable[[], float], *, failures_to_open: int = 5, recovery_seconds: float = 60.0
    ) -> None:
        self._clock = clock
        self._failures_to_open = failures_to_open
        self._recovery_seconds = recovery_seconds
        self._failures = 0
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> BreakerState:
        """Return the state at this moment of the clock."""
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if self.remaining() > 0 else BreakerState.HALF_OPEN

    @property
    def is_clean(self) -> bool:
        """Return whether the circuit is closed and the last call was answered."""
        return self._opened_at is None and self._failures == 0

    def admit(self) -> float:
        """Return 0 when the caller may go ahead, else the seconds after which to ask again.

        While half-open the first caller becomes the probe, and the others wait for what it finds.
        """
        if self._opened_at is None:
            return 0.0
        remaining = self.remaining()
        if remaining > 0:
            return remaining
        if self._probing:
            return 1.0
        self._probing = True
        return 0.0

    def succeeded(self) -> None:
        """Report a call that was answered: the circuit closes."""
        self._failures = 0
        self._opened_at = None
        self._probing = False

    def failed(self) -> None:
        """Report a call that was not answered: a failed probe, or enough failures in a row, open the circuit."""
        self._failures += 1
        if self._probing or (self._opened_at is None and self._failures >= self._failures_to_open):
            self._opened_at = self._clock()
            self._probing = False

    def abandoned(self) -> None:
        """Report a call that was cancelled and so tells nothing: another caller may probe."""
        self._probing = False

    def remaining(self) -> float:
        """Return the seconds until a probe may go; at most 0 when one may, or when the circuit is closed."""
        if self._opened_at is None:
            return 0.0
        return self._opened_at + self._recovery_seconds - self._clock()

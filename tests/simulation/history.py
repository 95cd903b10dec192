"""What happened in a simulation, for people, and the invariants that it broke."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

LINES = 400
WIDTH = 200


class Violation(Exception):  # noqa: N818 (the name is the message)
    """An invariant does not hold. ``invariant`` is its short name."""

    def __init__(self, invariant: str, what: str) -> None:
        super().__init__(f"{invariant}: {what}")
        self.invariant = invariant
        self.what = what


class History:
    """The last lines of what happened, and the first broken invariants."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._start = clock()
        self._lines: deque[tuple[float, str, str]] = deque(maxlen=LINES)
        self.violations: list[Violation] = []

    def note(self, who: str, what: str) -> None:
        """Add a line: who did what."""
        self._lines.append((self._clock() - self._start, who, what))

    def violated(self, invariant: str, what: str) -> None:
        """Note a broken invariant. It is raised once the step is over, so that no code under test can swallow it."""
        self.note("CHECK", f"{invariant}: {what}")
        self.violations.append(Violation(invariant, what))

    def lines(self) -> list[str]:
        """Return the history as text: virtual seconds, who, what."""
        return [f"{at:10.3f}  {who:<9} {what[:WIDTH]}" for at, who, what in self._lines]

"""How long effects have been refused: only after a whole deadline of refusals is a submission's attempt used up.

A refusal leaves no trace, so nothing of it is stored. What is known here is lost with the process, or when an effect is
not tried for an hour; then its time begins anew.
"""

from __future__ import annotations

import time
from collections import OrderedDict

from cj_stream.domain.todo import Effect

FORGOTTEN_AFTER = 3600.0
"""Seconds after the last refusal: longer than any wait that a provider may ask for."""


class Patience:
    """Remembers since when each effect has been refused."""

    def __init__(self) -> None:
        self._refused: OrderedDict[Effect, tuple[float, float]] = OrderedDict()
        """The first and the last refusal of each, the one that was refused last at the end."""

    def refused_for(self, effect: Effect) -> float:
        """Note that an effect is refused now; return for how many seconds it has been."""
        now = time.monotonic()
        self._forget(now - FORGOTTEN_AFTER)
        since, _ = self._refused.pop(effect, (now, now))
        self._refused[effect] = (since, now)
        return now - since

    def over(self, effect: Effect) -> None:
        """Note that an effect was not refused, or will not be tried again."""
        self._refused.pop(effect, None)

    def _forget(self, before: float) -> None:
        while self._refused:
            effect, (_, last) = next(iter(self._refused.items()))
            if last >= before:
                return
            del self._refused[effect]

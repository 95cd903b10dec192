"""Two buckets, requests and tokens a minute: pure, the time is handed in, in seconds of a clock that never goes back.

A bucket holds one second of its rate, and begins empty: so neither a start nor a new share of the budget allows more
than the rate. A call that needs more than a full bucket takes it below zero, and the next ones wait for that.
"""

from __future__ import annotations

from math import inf

from cj_stream.gateway.judges import Limits

MINUTE_SECONDS = 61.5
"""A limit of a minute is spread over a little more. A provider that counts any 60 s then finds no more than the limit,
although the bucket lets one second of it through at once, and the network half a second's."""
CAPACITY_SECONDS = 1.0
ROUNDING = 1e-9
"""What sums of fractions may be off by."""


class Bucket:
    """What may be taken now. ``per_minute`` is the limit, ``None`` for none; ``share`` is our part of it."""

    def __init__(self, now: float) -> None:
        self._rate: float | None = None
        self._level = 0.0
        self._at = now

    @property
    def capacity(self) -> float:
        """How much a full bucket holds."""
        return 0.0 if self._rate is None else self._rate * CAPACITY_SECONDS

    def set(self, per_minute: float | None, share: float, now: float) -> None:
        """Change the limit, or our share of it; what is there stays, up to the new capacity."""
        self._fill(now)
        self._rate = None if per_minute is None else per_minute * share / MINUTE_SECONDS
        self._level = min(self._level, self.capacity)

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until ``amount`` may be taken, 0 when it may be now."""
        self._fill(now)
        if self._rate is None:
            return 0.0
        if self._rate == 0:
            return inf
        missing = min(amount, self.capacity) - self._level
        return missing / self._rate if missing > ROUNDING else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take ``amount``, which may be negative: what was reserved and not used comes back."""
        self._fill(now)
        if self._rate is not None:
            self._level = min(self._level - amount, self.capacity)

    def _fill(self, now: float) -> None:
        if self._rate is not None:
            self._level = min(self._level + self._rate * max(now - self._at, 0.0), self.capacity)
        self._at = max(now, self._at)


class Limiter:
    """The budget of one provider and model: our ``share`` of its requests and tokens a minute."""

    def __init__(self, now: float) -> None:
        self._requests = Bucket(now)
        self._tokens = Bucket(now)
        self._limits = Limits()

    @property
    def limits(self) -> Limits:
        """The whole limits that are kept to, of which we have a share."""
        return self._limits

    def set(self, limits: Limits, share: float, now: float) -> None:
        """Change the limits, or our share of them."""
        self._limits = limits
        self._requests.set(limits.requests_per_minute, share, now)
        self._tokens.set(limits.tokens_per_minute, share, now)

    def wait(self, tokens: float, now: float) -> float:
        """Return the seconds until a call with so many tokens may be made."""
        return max(self._requests.wait(1, now), self._tokens.wait(tokens, now))

    def take(self, tokens: float, now: float) -> None:
        """Take a call with so many tokens."""
        self._requests.take(1, now)
        self._tokens.take(tokens, now)

    def settle(self, reserved: float, used: float, now: float) -> None:
        """Correct what was taken for a call by what it used."""
        self._tokens.take(used - reserved, now)

    def cost(self, tokens: float) -> float:
        """Return what a call takes of the budget: minutes of the limit that it fills more of; 1 without limits."""
        requests, per_minute = self._limits.requests_per_minute, self._limits.tokens_per_minute
        parts = [1 / requests] if requests else []
        parts += [tokens / per_minute] if per_minute else []
        return max(parts, default=1.0)

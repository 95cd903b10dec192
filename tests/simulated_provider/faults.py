"""Trouble on purpose: which shares of the requests meet which fault, decided by hash and not by chance."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cj_stream.gateway.chance import uniform
from cj_stream.gateway.judges import Failure, Question


class Fault(StrEnum):
    """What can go wrong with one request."""

    REFUSE = "refuse"
    """HTTP 400."""
    BUSY = "busy"
    """Not accepted for now: HTTP 429, or 202 without a queue id."""
    ERROR = "error"
    """Accepted, then an error callback."""
    SILENT = "silent"
    """Accepted, and never a callback."""
    DUPLICATE = "duplicate"
    """Two callbacks with the same verdict and different request ids."""
    LATE = "late"
    """A callback that comes ``late_seconds`` later than it would have."""
    MALFORMED = "malformed"
    """Accepted, then a callback that no reader can use."""


_FAILURES = (
    Failure("RATE_LIMIT", "the model's rate limit was reached in all tries"),
    Failure("TIMEOUT", "the model did not answer in time"),
    Failure("EXTERNAL_SERVICE_ERROR", "the model answered with status 500"),
    Failure("PARSING_ERROR", "the model's answer named neither essay"),
    Failure("LLM_CONTENT_FILTER", "the model refused to read an essay"),
)
_SUM_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Trouble:
    """What one request meets: ``fault`` is None for most. ``key`` settles the details of the fault."""

    fault: Fault | None
    key: tuple[str | int, ...] = ()

    def busy_with_202(self) -> bool:
        """Return whether a busy answer is the 202 without a queue id, rather than a 429."""
        return uniform("busy", *self.key) < 0.5

    def failure(self) -> Failure:
        """Return the error of an error callback, one of several codes."""
        return _FAILURES[int(uniform("failure", *self.key) * len(_FAILURES))]

    def damage(self, callback: bytes) -> bytes:
        """Return a form of the callback that no reader can use: cut off, without data, or with a third winner."""
        envelope = json.loads(callback)
        forms = (
            callback[: len(callback) // 2],
            json.dumps({**envelope, "data": None}).encode(),
            json.dumps({**envelope, "data": {**envelope["data"], "winner": "Essay C"}}).encode(),
        )
        return forms[int(uniform("damage", *self.key) * len(forms))]


class Faults:
    """Draws at most one fault per request.

    The draw depends on the seed, the pair in presented order and how often this process has been asked about it: a
    repeated request can fare better, and neither timing nor correlation ids play a part.
    Raises ValueError when a share is no share, or together they exceed 1.
    """

    def __init__(self, shares: Mapping[Fault, float], *, seed: int = 0, late_seconds: float = 60.0) -> None:
        if any(not 0 <= share <= 1 for share in shares.values()) or sum(shares.values()) > 1 + _SUM_TOLERANCE:
            raise ValueError("the shares of faults must lie between 0 and 1, and their sum too")
        self.late_seconds = late_seconds
        self._shares = dict(shares)
        self._seed = seed
        self._asked: Counter[tuple[str, str]] = Counter()

    def draw(self, question: Question) -> Trouble:
        """Return what this request meets, and count that it was made."""
        if not self._shares:
            return Trouble(None)
        pair = (question.first, question.second)
        self._asked[pair] += 1
        key = (self._seed, *pair, self._asked[pair])
        drawn = uniform("fault", *key)
        for fault, share in self._shares.items():
            if drawn < share:
                return Trouble(fault, key)
            drawn -= share
        return Trouble(None, key)

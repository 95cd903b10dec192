"""Randomness without a state: a draw is a hash of what it is about, so a restart or another order changes nothing."""

from __future__ import annotations

import hashlib
import json
import math
from statistics import NormalDist

_NORMAL = NormalDist()
_BYTES = 8


def uniform(*parts: str | int) -> float:
    """Return a number strictly between 0 and 1 that depends on the parts alone."""
    # JSON keeps ("a", "bc") apart from ("ab", "c").
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=_BYTES).digest()
    # 52 bits and the middle of the step: exact in a double, so that neither 0 nor 1 can come out.
    return ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52


def normal(*parts: str | int) -> float:
    """Return a standard normal number that depends on the parts alone."""
    return _NORMAL.inv_cdf(uniform(*parts))


def lognormal(median: float, sigma: float, *parts: str | int) -> float:
    """Return a lognormal number with this median; ``sigma`` is the standard deviation of its logarithm."""
    return median * math.exp(sigma * normal(*parts))

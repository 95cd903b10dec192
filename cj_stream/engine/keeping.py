"""Until when the broker keeps the bytes of a topic, whatever was deleted from what is made of it.

Kafka deletes whole segments. Of a topic that is cut by time, a record goes when the newest record of its segment is
older than the retention. Of a compacted topic an older value of a key goes when its segment is cleaned: not before the
smallest lag, and not before the segment is closed, which the next record does that comes after its time.

Test: ``test_keeping.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cj_stream.engine.times import iso_time

ASKED = (
    "cleanup.policy",
    "retention.ms",
    "segment.ms",
    "min.compaction.lag.ms",
    "max.compaction.lag.ms",
)
"""What has to be known of a topic's configuration."""
_CHECKED_EVERY = timedelta(minutes=5)
"""How often a broker looks what is to be deleted, as it comes."""
_LONGEST_MS = 10 * 366 * 24 * 3600 * 1000
"""What is beyond is no limit: Kafka's default of some is the largest number there is."""


class Keeping(NamedTuple):
    """When a record written until now is gone: not before ``earliest``, and by ``latest``; None where nothing says."""

    earliest: datetime | None
    latest: datetime | None

    @property
    def told(self) -> str:
        """The same in words."""
        at_first = None if self.earliest is None else f"not before {iso_time(self.earliest.timestamp())}"
        at_last = "no latest time is set" if self.latest is None else f"by {iso_time(self.latest.timestamp())}"
        return ", ".join(filter(None, (at_first, at_last)))


def keeping(config: Mapping[str, str], now: float) -> Keeping:
    """Return how long a topic with this configuration keeps what it holds; ``now`` is in seconds since the epoch."""
    at, segment = datetime.fromtimestamp(now, UTC), _time(config["segment.ms"])
    policies = config["cleanup.policy"].split(",")
    retention = _time(config["retention.ms"]) if "delete" in policies else None
    latest = [retention + segment] if retention is not None and segment is not None else []
    earliest = None
    if "compact" in policies:
        lag, most = _time(config["min.compaction.lag.ms"]), _time(config["max.compaction.lag.ms"])
        earliest = None if lag is None else at + lag
        latest += [most + segment] if most is not None and segment is not None else []
    return Keeping(earliest, at + min(latest) + _CHECKED_EVERY if latest else None)


def _time(milliseconds: str) -> timedelta | None:
    """Return the time, None for one that is as good as no limit."""
    number = int(milliseconds)
    return timedelta(milliseconds=number) if 0 <= number <= _LONGEST_MS else None

"""Times in the views: ISO 8601 in UTC with milliseconds and ``Z``, so that they sort as text."""

from __future__ import annotations

from datetime import UTC, datetime


def iso_time(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601 text."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def iso_time_or_none(seconds: float | None) -> str | None:
    """Return `iso_time`, or None for no time."""
    return None if seconds is None else iso_time(seconds)

"""Texts and times as they are told to others: cut to what fits, and always possible."""

from __future__ import annotations

from datetime import UTC, datetime

CUT_MARK = " [cut]"
_LAST_SECOND = datetime.max.replace(tzinfo=UTC).timestamp() - 1


def clip(text: str, limit: int) -> str:
    """Return ``text`` with at most ``limit`` characters; a text that was cut ends in ``CUT_MARK``."""
    if len(text) <= limit:
        return text
    return text[: limit - len(CUT_MARK)] + CUT_MARK


def clip_bytes(text: str, limit: int) -> str:
    """Return the beginning of ``text`` that takes at most ``limit`` bytes in UTF-8."""
    return text.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def moment(seconds: float) -> datetime:
    """Return a record's time, given in seconds since the epoch; an absurd one becomes the nearest that exists."""
    return datetime.fromtimestamp(min(max(seconds, 0.0), _LAST_SECOND), UTC)

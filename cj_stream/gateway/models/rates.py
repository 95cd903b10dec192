"""What the headers of an answer say about limits and waits, in the spellings of both families of providers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from cj_stream.gateway.judges import Limits

DEFAULT_WAIT_SECONDS = 5.0
"""What is waited after a 429 that does not say how long."""
LONGEST_WAIT_SECONDS = 7 * 86_400.0
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_DURATION = re.compile(rf"(?:{_PART.pattern})+")
_REQUESTS = ("x-ratelimit-limit-requests", "anthropic-ratelimit-requests-limit")
_TOKENS = (
    "x-ratelimit-limit-tokens",
    "anthropic-ratelimit-tokens-limit",
    # The limit of what goes in is the lower bound of both together.
    "anthropic-ratelimit-input-tokens-limit",
)
_KINDS = (
    ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
    ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
    ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
)


def limits_in(headers: Mapping[str, str]) -> Limits | None:
    """Return the limits a minute that the headers name, None when they name none; values of 0 and below are none."""
    requests, tokens = _lowest(headers, _REQUESTS), _lowest(headers, _TOKENS)
    return None if requests is None and tokens is None else Limits(requests, tokens)


def wait_in(headers: Mapping[str, str], now: float) -> float:
    """Return the seconds that an answer of "too many requests" asks to wait; ``now`` in seconds since the epoch.

    Of its headers the most exact one counts: ``retry-after-ms``, ``Retry-After`` (seconds or a date), then when what is
    used up is filled again.
    """
    asked = (_milliseconds(headers), _seconds_or_time(headers.get("retry-after"), now), _until_filled(headers, now))
    wait = next((seconds for seconds in asked if seconds is not None), DEFAULT_WAIT_SECONDS)
    return min(wait, LONGEST_WAIT_SECONDS)


def duration(text: str) -> float | None:
    """Return the seconds of a duration as Go writes them, such as ``12ms`` or ``6m0s``; None for other text."""
    if not _DURATION.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def _lowest(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    found = [number for name in names if (number := _positive(headers.get(name))) is not None]
    return min(found) if found else None


def _until_filled(headers: Mapping[str, str], now: float) -> float | None:
    empty = [reset for remaining, reset in _KINDS if _number(headers.get(remaining)) == 0]
    waits = [wait for name in empty if (wait := _seconds_or_time(headers.get(name), now)) is not None]
    return max(waits) if waits else None


def _milliseconds(headers: Mapping[str, str]) -> float | None:
    number = _positive(headers.get("retry-after-ms"))
    return None if number is None else number / 1000


def _seconds_or_time(text: str | None, now: float) -> float | None:
    """Return the seconds in a number, a duration, or the time until a date; None for what is none or not ahead."""
    if text is None:
        return None
    text = text.strip()
    seconds = _number(text)
    if seconds is None:
        seconds = duration(text)
    if seconds is None:
        moment = _moment(text)
        seconds = None if moment is None else moment.timestamp() - now
    return seconds if seconds is not None and seconds > 0 else None


def _moment(text: str) -> datetime | None:
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            moment = read(text)
            return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _positive(text: str | None) -> float | None:
    number = _number(text)
    return number if number is not None and number > 0 else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None and text.isascii() else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None

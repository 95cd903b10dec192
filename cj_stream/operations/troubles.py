"""The last real trouble with a service that is asked over HTTP: what it is, since when, and who can end it.

A circuit breaker that is open, or a batch that waits, is only what follows. A refused connection passes by itself; a
certificate, a name, an address or an access rule does not: somebody has to change something, and is told what.

Test: ``test_troubles.py``.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from cj_stream.engine.foreign_answers import RedirectedError

PATIENCE_SECONDS = 10.0
"""A failure among successes is no news."""
SOMEBODY_HAS_TO = "This does not pass by itself"
_REFUSED = frozenset({401, 403, 407})
_NOT_THERE = frozenset({404, 405, 410})


@dataclass(frozen=True)
class Trouble:
    """One trouble. ``since`` is in seconds since the epoch; ``remedy`` is None for one that can pass by itself."""

    what: str
    remedy: str | None
    since: float

    def __str__(self) -> str:
        since = datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return with_remedy(f"{self.what} (since {since})", self.remedy)


def with_remedy(what: str, remedy: str | None) -> str:
    """Return a sentence with what somebody has to do, if anybody has."""
    return what if remedy is None else f"{what}. {SOMEBODY_HAS_TO}: {remedy}"


class LastTrouble:
    """Keeps the last trouble with one service until a call succeeds.

    ``told`` hears of one that lasts, or that does not pass by itself, and with None of its end. ``now`` returns seconds
    since the epoch.
    """

    def __init__(self, now: Callable[[], float], told: Callable[[Trouble | None], None]) -> None:
        self._now = now
        self._told = told
        self._heard: Trouble | None = None
        self.current: Trouble | None = None

    def note(self, what: str, remedy: str | None) -> None:
        """Note that a call failed. What goes on keeps its beginning, whatever it is called now."""
        now, before = self._now(), self.current
        trouble = self.current = Trouble(what, remedy, now if before is None else before.since)
        is_news = self._heard is None or self._heard.remedy != remedy
        if is_news and (remedy is not None or now - trouble.since >= PATIENCE_SECONDS):
            self._heard = trouble
            self._told(trouble)

    def over(self) -> None:
        """Note that a call succeeded."""
        heard, self._heard, self.current = self._heard, None, None
        if heard is not None:
            self._told(None)


def remedy_of(error: BaseException | None, setting: str) -> str | None:
    """Return what has to be changed before a call that raised ``error`` can succeed, None if it may pass by itself."""
    for cause in _chain(error):
        if isinstance(cause, (aiohttp.ClientSSLError, ssl.SSLError)):
            return f"mend the certificate there, have it trusted here, or correct {setting}"
        if isinstance(cause, (aiohttp.ClientConnectorDNSError, socket.gaierror)):
            return f"the name cannot be resolved here: correct {setting}, or the name service"
        if isinstance(cause, (RedirectedError, aiohttp.InvalidURL)):
            return f"set {setting} to the service's own address"
    return None


def remedy_for(status: int, setting: str) -> str | None:
    """Return what has to be changed before an answer with this status can become another, None if it may by itself."""
    if status in _REFUSED:
        return f"the service at {setting} refuses this worker: grant it access there, or correct the address"
    if status in _NOT_THERE:
        return f"there is no such service at {setting}: correct the address and its path"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__

"""Whether the services that a worker needs take connections, also while it has nothing to ask them.

A provider that has gone with the comparisons it had accepted calls nobody back, and nobody asks it anything before
their deadlines. So each worker knocks at its door from time to time, and says when nobody opens.

Test: ``test_reachability.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from yarl import URL

from cj_stream.engine.conditions import Conditions
from cj_stream.engine.connections import why_closed
from cj_stream.operations.away import Away

FAILURES = 2
"""One failure may be a restart; nothing is said of it."""


@dataclass(frozen=True)
class OutsideService:
    """A service at an http(s) address: what it is called, the setting that names it, and what its absence means."""

    kind: Away
    name: str
    setting: str
    url: str
    meaning: str


def services(provider_url: str, content_url: str) -> list[OutsideService]:
    """Return the services that can be knocked at; texts in a folder need none."""
    found = [
        OutsideService(
            Away.PROVIDER,
            "the LLM provider",
            "CJ_LLM_PROVIDER_SERVICE_URL",
            provider_url,
            "No comparison is submitted. Those that were get no callback unless it comes back and still knows them; "
            "each fails at its deadline and is tried again.",
        ),
        OutsideService(
            Away.CONTENT,
            "the content service",
            "CJ_CONTENT_SERVICE_URL",
            content_url,
            "Texts that are not in memory cannot be read: new batches wait.",
        ),
    ]
    return [service for service in found if service.url.startswith(("http://", "https://"))]


class Reachability:
    """Knocks at services and keeps the conditions that say which of them are away."""

    def __init__(self, conditions: Conditions, watched: Sequence[OutsideService]) -> None:
        self._conditions = conditions
        self._watched = watched
        self._failures = dict.fromkeys((service.kind for service in watched), 0)

    async def knock(self) -> None:
        """Try once to connect to each service."""
        await asyncio.gather(*map(self._look, self._watched))

    async def _look(self, service: OutsideService) -> None:
        why = await why_closed(URL(service.url))
        subject = str(URL(service.url).origin())
        if why is None:
            self._failures[service.kind] = 0
            self._conditions.end(service.kind, subject)
            return
        self._failures[service.kind] += 1
        if self._failures[service.kind] >= FAILURES:
            what = f"Nobody takes connections at {subject}, where {service.name} should be ({service.setting}): {why}."
            self._conditions.begin(service.kind, subject, what, service.meaning)

"""A provider whose callbacks come in disorder: late, repeated, contradicted, reordered, malformed, and not more than
are allowed, so that a run cannot be over before its faults have happened.

What it does to a callback depends on its seed and the correlation id alone. The first verdict for a comparison is
always the judge's own, and whatever contradicts it comes after it on the same partition: so the outcome stays known.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime
from random import Random
from types import TracebackType
from typing import Self
from uuid import UUID

from support.installation.counting_provider import Callback, CountingProvider

from cj_stream.contracts.callback_writer import write_callback
from cj_stream.domain.identifiers import Attempt, read_correlation_id
from cj_stream.operations.settings import Settings

PARTITIONS = 3
PER_SECOND = 150
ACCEPT_SECONDS = 0.2
"""Long enough for faults to find submissions under way."""
SHARES = {
    "error": 0.06,
    "late": 0.08,
    "repeated": 0.1,
    "contradicted": 0.1,
    "repeated long after": 0.1,
    "malformed too": 0.06,
    "stray too": 0.05,
}
"""How many callbacks meet what; the others arrive as they are."""

Comparison = tuple[int, int]
"""The tag of a batch and the index of a comparison: enough to tell comparisons apart."""


class DisorderlyPost(CountingProvider):
    """Delivers callbacks one by one in random order while fewer than ``allowed`` comparisons have their verdict."""

    def __init__(self, settings: Settings, *, seed: int, latency: float) -> None:
        super().__init__(settings, latency=latency)
        self.accept_seconds = ACCEPT_SECONDS
        self.allowed = 0
        self.judged: set[Comparison] = set()
        self.poison: set[bytes] = set()
        """Every input sent that nobody can read."""
        self._seed = seed
        self._order = Random(seed)
        self._waiting: list[Callback] = []
        self._known: set[str] = set()
        self._for_later: list[tuple[bytes, int]] = []
        self._delivering: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._delivering = asyncio.create_task(self._deliver())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._delivering is not None:
            self._delivering.cancel()
            with suppress(asyncio.CancelledError):
                await self._delivering
        await super().__aexit__(kind, error, traceback)

    def check(self) -> None:
        """Raise what has ended the delivery, if anything has."""
        if self._delivering is not None and self._delivering.done():
            self._delivering.result()

    async def publish(self, topic: str, value: bytes) -> None:
        """Keep what the desk has to publish until its turn comes."""
        assert topic == self._topic
        self._waiting.append(Callback(value))

    async def empty(self) -> None:
        """Send whatever is to arrive when everything is over."""
        for value, partition in self._for_later:
            await self._send(value, partition)
        self._for_later.clear()

    def broken(self, value: bytes) -> bytes:
        """Return something that no reader can use, unlike any other, and remember it."""
        number = len(self.poison)
        forms = (b"%d %s" % (number, value[: len(value) // 2]), b'{"poison": %d}' % number, b"\xff\xfe %d" % number)
        form = forms[number % len(forms)]
        self.poison.add(form)
        return form

    async def _deliver(self) -> None:
        while True:
            await asyncio.sleep(1 / PER_SECOND)
            if self._waiting and len(self.judged) < self.allowed:
                await self._hand_over(self._waiting.pop(self._order.randrange(len(self._waiting))))

    async def _hand_over(self, callback: Callback) -> None:
        found = _attempt(callback)
        chance = Random(f"{self._seed} {callback.correlation_id}")
        manner, partition = _manner(chance.random()), chance.randrange(PARTITIONS)
        if manner == "late" and callback.correlation_id not in self._known:
            self._known.add(callback.correlation_id)
            asyncio.get_running_loop().call_later(chance.uniform(1, 4), self._waiting.append, callback)
            return
        if manner == "error" and found.attempt == 1:
            await self._send(_as_error(callback), partition)
            return
        await self._send(callback.value, partition)
        self.judged.add((found.tag, found.index))
        await self._add(manner, callback, partition)

    async def _add(self, manner: str | None, callback: Callback, partition: int) -> None:
        match manner:
            case "repeated":
                await self._send(callback.value, partition)
            case "contradicted":
                await self._send(callback.flipped(), partition)
            case "repeated long after":
                self._for_later += [(callback.value, partition), (callback.flipped(), partition)]
            case "malformed too":
                await self._send(self.broken(callback.value), partition)
            case "stray too":
                number = Random(callback.correlation_id).getrandbits(128)
                await self._send(callback.changed(correlation_id=str(UUID(int=number, version=4)), request_metadata={}))

    async def _send(self, value: bytes, partition: int | None = None) -> None:
        assert self._mailbox is not None
        await self._mailbox.send(self._topic, value, partition=partition)


def _attempt(callback: Callback) -> Attempt:
    found = read_correlation_id(UUID(callback.correlation_id))
    assert found is not None, callback.correlation_id
    return found


def _manner(chance: float) -> str | None:
    for manner, share in SHARES.items():
        if chance < share:
            return manner
        chance -= share
    return None


def _as_error(callback: Callback) -> bytes:
    """Return the provider's answer that it cannot judge this, instead of the verdict."""
    data = callback.document["data"]
    return write_callback(
        correlation_id=UUID(callback.correlation_id),
        request_id=data["request_id"],
        winner=None,
        confidence=None,
        justification=None,
        error_code="RATE_LIMIT",
        error_message="the model's rate limit was reached",
        provider=data["provider"],
        model=data["model"],
        requested_at=datetime.fromisoformat(data["requested_at"]),
        completed_at=datetime.fromisoformat(data["completed_at"]),
        response_time_ms=0,
        request_metadata=data["request_metadata"],
    )

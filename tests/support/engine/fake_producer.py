"""A producer for tests: keeps what is produced, and acknowledges it when the test says so."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest

from cj_stream.contracts.event_log import decode_event
from cj_stream.engine.clock import Clock
from cj_stream.engine.conditions import Conditions
from cj_stream.engine.fence import Fence
from cj_stream.engine.messages import decode_message
from cj_stream.engine.publisher import Publisher
from cj_stream.engine.sender import Sender, Unsent

CREATE_TIME = 0


class ProcessEndedError(Exception):
    """Stands in for the end of the process."""


def no_exit(monkeypatch: pytest.MonkeyPatch, *modules: str) -> list[str]:
    """Have these modules of `cj_stream.engine` raise instead of ending the process; return why they did."""
    reasons: list[str] = []

    def end(why: str, **_details: object) -> None:
        reasons.append(why)
        raise ProcessEndedError(why)

    for module in modules:
        monkeypatch.setattr(f"cj_stream.engine.{module}.end_process", end)
        monkeypatch.setattr(f"cj_stream.engine.{module}.end_until_changed", end, raising=False)
    return reasons


@dataclass
class Produced:
    """A record that was produced, and what the producer promised for it."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None
    headers: list[tuple[str, bytes]] | None
    promise: asyncio.Future[Any] = field(repr=False)

    def events(self) -> list[Any]:
        """The events in a message of the events topic."""
        return [decode_event(data) for data in decode_message(self.value or b"")]


class FakeProducer:
    """Acknowledges a record with its number as offset; at once if ``prompt``."""

    def __init__(self, *, prompt: bool = False) -> None:
        self.records: list[Produced] = []
        self.failure: Exception | None = None
        self.conditions = Conditions(time.time)
        self.clock = Clock(time.time, self.conditions, 30)
        self._prompt = prompt

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        _timestamp: float | None,
        headers: list[tuple[str, bytes]] | None,
    ) -> asyncio.Future[Any]:
        return await self._produce(topic, key, value, partition, headers)

    async def append(self, topic: str, partition: int, records: Sequence[Unsent]) -> asyncio.Future[Any]:
        if self.failure is not None:
            raise self.failure
        promise: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.records += [
            Produced(topic, key, value, partition, list(headers), promise) for key, value, headers in records
        ]
        if self._prompt:
            self.acknowledge(len(self.records) - 1)
        return promise

    async def publish(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: list[tuple[str, bytes]],
        _timestamp: float,
    ) -> asyncio.Future[Any]:
        return await self._produce(topic, key, value, None, headers)

    async def _produce(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        headers: list[tuple[str, bytes]] | None,
    ) -> asyncio.Future[Any]:
        if self.failure is not None:
            raise self.failure
        assert not (key is None and value is None), "aiokafka sends no record with neither key nor value"
        promise: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.records.append(Produced(topic, key, value, partition, headers, promise))
        if self._prompt:
            self.acknowledge(len(self.records) - 1)
        return promise

    def acknowledge(self, number: int) -> None:
        record = self.records[number]
        record.promise.set_result(
            SimpleNamespace(
                topic=record.topic, partition=record.partition, offset=number, timestamp=0, timestamp_type=CREATE_TIME
            ),
        )

    def sender(self) -> Sender:
        """Return a real sender on top of this producer."""
        return Sender(self._app(), Fence(3600), self.clock)

    def publisher(self) -> Publisher:
        """Return a real publisher on top of this producer."""
        return Publisher(self._app(), Fence(3600), self.conditions, self.clock)

    def _app(self) -> faust.App:
        return cast("faust.App", SimpleNamespace(producer=self))

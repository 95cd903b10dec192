"""What an app with one row per key reads, and what becomes of input that is of no use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, cast

import msgspec
import pytest
from pydantic_settings import SettingsConfigDict
from support.engine.fake_producer import FakeProducer

from cj_stream.engine.app import App
from cj_stream.engine.dead_letters import DeadLetters, Refusal
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.forwarder import EventTooLargeError
from cj_stream.engine.keyed import KEYED, Item, Rules
from cj_stream.engine.keyed_service import KeyedService, Read
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.naming import Names
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.publisher import Deliveries
from cj_stream.engine.runs import Record, Run

PARTITIONS = 8


class Counted(msgspec.Struct, frozen=True, tag=True):
    """Something was counted."""

    what: str


class Counting(Rules[int, Counted, str]):
    state, events = int, Counted

    def key(self, event: Counted) -> str:
        return event.what

    def decide(self, state: int | None, _event: Counted, _at: float) -> int:
        return (state or 0) + 1


class Counters(KeyedService[int, Counted, str]):
    rules = Counting()

    def reads(self) -> dict[str, Read[Counted]]:
        return {"input": _read}

    async def execute(self, effect: str, _item: Item[int], _partition: int) -> Counted:
        return Counted(effect)


def _read(record: Record) -> Counted:
    if record.value == b"refused":
        raise Refusal("of_no_use", "it is of no use")
    return Counted((record.value or b"").decode())


class Forwarded(list[tuple[int, Counted]]):
    """Stands in for the forwarder."""

    def forward(self, partition: int, event: Counted) -> None:
        if event.what == "large":
            raise EventTooLargeError("it is too large")
        self.append((partition, event))


class Worker:
    """A service on a forwarder that only keeps what it gets."""

    def __init__(self) -> None:
        self.producer = FakeProducer(prompt=True)
        self.sender = self.producer.sender()
        self.forwarded = Forwarded()
        self.service = Counters.__new__(Counters)
        self.service.settings = cast("Any", SimpleNamespace(partitions=PARTITIONS))
        self.service.engine = cast("Any", SimpleNamespace(forwarder=self.forwarded))
        deliveries = Deliveries(self.sender.promise)
        self.service.dead_letters = DeadLetters(self.producer.publisher(), deliveries, "letters")

    async def read(self, *values: bytes | None) -> list[bytes]:
        """Have values read as one run; return the reasons of the dead letters."""
        records = [Record("input", 0, offset, 0.0, None, value) for offset, value in enumerate(values)]
        await self.service._forwarding(_read)(Run.of(records))
        assert await self.sender.settled(5)
        return sorted(dict(record.headers or ())["reason"] for record in self.producer.records)


async def test_events_go_to_the_homes_of_their_keys() -> None:
    worker = Worker()
    assert not await worker.read(b"apples", b"pears")
    assert worker.forwarded == [(home_partition(what, PARTITIONS), Counted(what)) for what in ("apples", "pears")]


async def test_input_that_is_of_no_use_fails_alone_whatever_is_wrong_with_it() -> None:
    worker = Worker()
    reasons = await worker.read(b"apples", b"refused", b"\xff", b"large", b"pears")
    assert reasons == [b"of_no_use", b"too_large", b"unreadable_input"]
    assert [event.what for _, event in worker.forwarded] == ["apples", "pears"]


class CountingSettings(EngineSettings):
    model_config = SettingsConfigDict(env_prefix="COUNTING_")
    names: ClassVar[Names] = Names("COUNTING_", "counting")
    app_id: str = "counting"


def test_an_app_is_complete_when_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTING_PARTITIONS", "5")
    monkeypatch.setenv("CJ_PARTITIONS", "7")
    settings = CountingSettings()
    app: App[Any, Any] = App(settings, KEYED, EventCodec(Counting.events), lambda engine: Counters(settings, engine))
    topics = {spec.name: spec.partitions for spec in app.service.topics if not spec.external}
    assert topics == {"counting.events": 5, "counting-state-changelog": 5, "counting.dead-letters": 1}
    assert app.service.own_input.topics == ("input", "counting.events")
    assert app.service.state("apples") is None

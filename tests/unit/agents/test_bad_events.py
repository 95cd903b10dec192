"""A decider that fails on everything, as after a bad upgrade: the worker stops before it has failed every batch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.domain.story import requested
from support.engine.fake_producer import FakeProducer
from support.wire.ingress import METRICS

from cj_stream.agents.batches import Batches
from cj_stream.contracts.event_log import EVENTS, encode_event
from cj_stream.dead_letters import invalid_share
from cj_stream.dead_letters.input_watch import InputWatch
from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.dead_letters.letter import envelope
from cj_stream.domain.batch import Batch
from cj_stream.domain.draft import Change, unchanged
from cj_stream.domain.events import Event
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.log import Log
from cj_stream.engine.messages import encode_message
from cj_stream.engine.publisher import Deliveries
from cj_stream.engine.runs import Record, Run
from cj_stream.operations.settings import Settings

LIMIT = 10


class _Stopped(Exception):  # noqa: N818 (the end of the process is no error of the test)
    pass


def _undecidable(*_: object) -> Change:
    raise KeyError("a mistake in the new version")


async def _nothing(*_: object) -> None:
    """Store nothing."""


class _Engine:
    """Notes what was handled to its end."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self.fence = SimpleNamespace(check=lambda: None)
        self.opener = SimpleNamespace(opened_at={})
        self.codec = EVENTS
        self.releases = SimpleNamespace(hold=lambda _partition, offset, _batches: self.held.append(offset))


async def test_events_that_cannot_be_decided_stop_the_worker_when_they_are_most_of_the_log(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def end(*_: object, **__: object) -> None:
        raise _Stopped

    monkeypatch.setattr(invalid_share, "end_for_bad_input", end)
    producer, engine = FakeProducer(prompt=True), _Engine()
    sender = producer.sender()
    deliveries = Deliveries(sender.promise)
    share = InvalidShare(Settings(invalid_input_minimum=LIMIT))
    letters = DeadLetters(producer.publisher(), deliveries, "letters", envelope, InputWatch(METRICS, share))
    rows: Any = SimpleNamespace(heads=lambda _: [], puts=lambda *_: [])
    broken: Any = SimpleNamespace(
        decide=_undecidable, poison=lambda *_: unchanged(None, ()), apply=lambda _: None, restore=list, let_go=list
    )
    homes = Batches(rows, cast("Any", engine.opener), METRICS, lambda _: broken)
    agent: Log[Batch, Event] = Log(cast("Any", engine), cast("Any", None), letters, homes.home)

    async def handle(offset: int) -> None:
        value = encode_message([encode_event(requested(3, batch_id=f"batch-{offset}"))])
        await agent.handle(Run.of([Record("events", 0, offset, 1772615520.0, None, value)]))

    for offset in range(LIMIT - 1):
        await handle(offset)
    with pytest.raises(_Stopped):
        await handle(LIMIT - 1)
    assert engine.held == list(range(LIMIT - 1))
    assert await sender.settled(10)
    assert len(producer.records) == LIMIT - 1

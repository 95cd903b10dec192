from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP
from support.engine.fake_producer import FakeProducer, ProcessEndedError, no_exit

from cj_stream.engine.fence import Fence, now
from cj_stream.engine.overrides.producer import IdempotentProducer
from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker

EVENTS, CALLBACKS = TP("events", 2), TP("callbacks", 0)
OFFSETS = {EVENTS: 8, CALLBACKS: 5}


class Committing:
    """The real consumer, whose commits arrive, with a sender that has one record outstanding."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producer = FakeProducer()
        self.sender = self.producer.sender()
        self.fence = Fence(10)
        self.committed: list[Any] = []
        self.released: list[dict[int, int]] = []
        self.accepted = True
        self.app: Any = build_worker(Settings()).faust
        engine: Any = SimpleNamespace(
            sender=self.sender,
            fence=self.fence,
            events_topic=EVENTS.topic,
            releases=SimpleNamespace(committed=self.released.append),
        )
        self.app.engine = engine
        self.consumer: Any = self.app.transport.create_consumer(
            callback=lambda _: None, on_partitions_revoked=None, on_partitions_assigned=None
        )
        monkeypatch.setattr(self.consumer, "assignment", lambda: {EVENTS, CALLBACKS})

        async def arrives(_consumer: Any, offsets: Any, _start: bool) -> bool:
            self.committed.append(offsets)
            return self.accepted

        monkeypatch.setattr(FaustConsumer, "_commit_offsets", arrives)

    async def begin(self) -> asyncio.Task[bool]:
        await self.sender.send("changelog", key=b"k", value=b"row")
        commit = asyncio.create_task(self.consumer._commit_offsets(OFFSETS))
        await asyncio.sleep(0)
        return commit


@pytest.fixture
async def committing(monkeypatch: pytest.MonkeyPatch) -> Committing:
    return Committing(monkeypatch)


async def test_a_commit_waits_for_everything_that_was_produced_and_then_releases(committing: Committing) -> None:
    commit = await committing.begin()
    await asyncio.sleep(0.01)
    assert (committing.committed, committing.released) == ([], [])
    committing.producer.acknowledge(0)
    assert await commit
    assert (committing.committed, committing.released) == ([OFFSETS], [{2: 8}])


async def test_a_commit_that_the_broker_refuses_releases_nothing(committing: Committing) -> None:
    committing.accepted = False
    commit = await committing.begin()
    committing.producer.acknowledge(0)
    assert not await commit
    assert (committing.committed, committing.released) == ([OFFSETS], [])


async def test_a_commit_that_leaves_out_what_is_gone_releases_nothing_of_it(
    committing: Committing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing.consumer._thread, "_gone", SimpleNamespace(left_out={EVENTS}))
    noted: list[Any] = []
    monkeypatch.setattr(committing.consumer.reading, "committed", noted.append)
    commit = await committing.begin()
    committing.producer.acknowledge(0)
    assert await commit
    assert (noted, committing.released) == ([{CALLBACKS: 5}], [{}])


async def test_a_worker_out_of_touch_commits_nothing(committing: Committing, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = no_exit(monkeypatch, "fence")
    commit = await committing.begin()
    committing.fence.contact(now() - 6)
    committing.producer.acknowledge(0)
    with pytest.raises(ProcessEndedError):
        await commit
    assert committing.committed == []
    assert len(reasons) == 1


async def test_a_commit_during_a_rebalance_releases_nothing(committing: Committing) -> None:
    commit = await committing.begin()
    committing.app.rebalancing = True
    committing.producer.acknowledge(0)
    assert await commit
    assert committing.released == []


async def test_a_commit_that_crosses_a_rebalance_releases_nothing(committing: Committing) -> None:
    commit = await committing.begin()
    committing.app.consumer_generation_id += 1
    committing.producer.acknowledge(0)
    assert await commit
    assert committing.released == []


async def test_a_commit_of_a_partition_that_is_ours_no_longer_releases_nothing(
    committing: Committing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committing.consumer, "assignment", lambda: {CALLBACKS})
    commit = await committing.begin()
    committing.producer.acknowledge(0)
    assert await commit
    assert committing.released == [{}]


def test_the_broker_drops_repeats_so_that_acknowledgements_are_in_order() -> None:
    settings = IdempotentProducer._settings_extra(None)  # type: ignore[arg-type]  # it looks at nothing
    assert settings == {"acks": "all", "enable_idempotence": True}

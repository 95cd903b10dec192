from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

from aiokafka.structs import OffsetAndMetadata, TopicPartition
from structlog.testing import capture_logs

from cj_stream.engine.overrides.lag import OPEN_TRANSACTION_SECONDS, Blocked, caught_up, nothing_blocked
from cj_stream.engine.standing import Mark

FIRST, SECOND = TopicPartition("callbacks", 0), TopicPartition("callbacks", 1)
STANDING_SECONDS = 600.0


class Broker:
    """Answers as a consumer does, in the place of its thread."""

    def __init__(self) -> None:
        self.ends = {FIRST: 5, SECOND: 7}
        self.stable: dict[TopicPartition, int] = {}
        self.commits: dict[TopicPartition, int | None] = {FIRST: 5, SECOND: 7}
        self.asked = 0
        self._fetcher = SimpleNamespace(end_offsets=self._written_ends)
        self._request_timeout_ms = 1000
        self._coordinator = self
        self.marks: dict[TopicPartition, str] = {}

    def app(self) -> Any:
        thread = SimpleNamespace(_ensure_consumer=lambda: self, call_thread=self._call)
        return cast("Any", SimpleNamespace(consumer=SimpleNamespace(_thread=thread)))

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return {0, 1} if topic == "callbacks" else None

    async def _call(self, method: Any, *args: Any) -> Any:
        return await method(*args)

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 0)

    async def end_offsets(self, _partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {**self.ends, **self.stable}

    async def _written_ends(self, _partitions: list[TopicPartition], _timeout: int) -> dict[TopicPartition, int]:
        return dict(self.ends)

    async def fetch_committed_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, Any]:
        return {at: OffsetAndMetadata(self.commits[at] or 0, self.marks.get(at, "")) for at in partitions}

    async def committed(self, partition: TopicPartition) -> int | None:
        self.asked += 1
        if self.asked > 4:
            self.commits[SECOND] = self.ends[SECOND]
        return self.commits[partition]


async def read(app: Any, topic: str, patience: float, blocked: Blocked) -> bool:
    found = await caught_up(app, topic, patience, blocked, STANDING_SECONDS)
    assert found.standing == ()
    return found.everything


async def test_a_topic_is_read_when_the_commits_reach_what_the_broker_holds() -> None:
    assert await read(Broker().app(), "callbacks", 5, nothing_blocked())


async def test_a_commit_that_comes_in_time_is_waited_for() -> None:
    broker = Broker()
    broker.commits[SECOND] = None
    assert await read(broker.app(), "callbacks", 5, nothing_blocked())


async def test_a_partition_that_holds_messages_and_that_nobody_has_committed_is_unread() -> None:
    for unread in (FIRST, SECOND):
        broker = Broker()
        broker.commits[unread] = None
        assert not await read(broker.app(), "callbacks", 0, nothing_blocked())


async def test_unread_messages_are_not_waited_for_without_end() -> None:
    broker = Broker()
    broker.commits[SECOND] = 6
    assert not await read(broker.app(), "callbacks", 0, nothing_blocked())


async def test_an_unknown_topic_is_not_called_read() -> None:
    assert not await read(Broker().app(), "no such topic", 5, nothing_blocked())


async def test_an_empty_topic_is_read_though_nobody_has_committed() -> None:
    broker = Broker()
    broker.ends = {FIRST: 0, SECOND: 0}
    broker.commits = {FIRST: None, SECOND: None}
    assert await read(broker.app(), "callbacks", 0, nothing_blocked())


async def test_what_an_open_transaction_hides_is_waited_for() -> None:
    broker = Broker()
    broker.stable, broker.commits[SECOND] = {SECOND: 6}, 6
    assert not await read(broker.app(), "callbacks", 0, nothing_blocked())


async def test_a_transaction_that_hangs_is_not_waited_for_without_end_and_that_is_said() -> None:
    broker, blocked = Broker(), nothing_blocked()
    broker.stable, broker.commits[SECOND] = {SECOND: 6}, 6
    blocked.observe(asyncio.get_running_loop().time() - OPEN_TRANSACTION_SECONDS - 1, {SECOND: 6})
    with capture_logs() as logs:
        assert await read(broker.app(), "callbacks", 0, blocked)
    assert [(entry["topic"], entry["partition"], entry["offset"]) for entry in logs] == [("callbacks", 1, 6)]
    broker.commits[SECOND] = 5
    assert not await read(broker.app(), "callbacks", 0, blocked), "what can be read has to be read all the same"


async def test_a_transaction_that_follows_another_has_its_own_time() -> None:
    broker, blocked = Broker(), nothing_blocked()
    broker.stable, broker.commits[SECOND] = {SECOND: 6}, 6
    blocked.observe(asyncio.get_running_loop().time() - OPEN_TRANSACTION_SECONDS - 1, {SECOND: 5})
    assert not await read(broker.app(), "callbacks", 0, blocked)


async def test_a_commit_beyond_the_end_says_nothing_about_the_log_there_is() -> None:
    broker = Broker()
    broker.ends, broker.asked = {FIRST: 5, SECOND: 3}, -100
    assert not await read(broker.app(), "callbacks", 0, nothing_blocked())


async def test_a_partition_that_stands_is_waited_for_at_first() -> None:
    broker = Broker()
    broker.commits[SECOND], broker.asked = 3, -100
    broker.marks[SECOND] = Mark(time.time() - STANDING_SECONDS + 60, "its checksum is wrong").beside("")
    assert not await read(broker.app(), "callbacks", 0, nothing_blocked())


async def test_a_partition_that_has_stood_for_long_is_read_when_it_is_read_up_to_there_and_is_named() -> None:
    broker = Broker()
    broker.commits[SECOND], broker.asked = 3, -100
    broker.marks[SECOND] = Mark(time.time() - STANDING_SECONDS - 1, "its checksum is wrong").beside("")
    found = await caught_up(broker.app(), "callbacks", 0, nothing_blocked(), STANDING_SECONDS)
    assert found.everything
    assert found.standing == ("partition 1 of callbacks stands at offset 3: its checksum is wrong",)
    broker.commits[FIRST] = 4
    assert not await read(broker.app(), "callbacks", 0, nothing_blocked()), "the others have to be read all the same"

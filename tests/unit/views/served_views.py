"""Workers whose views are served for real, without Kafka: the batches come from stories, commands are caught."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp.test_utils import TestClient
from support.domain.story import PARTITION, Story
from yarl import URL

from cj_stream.domain.events import Event
from cj_stream.worker import Worker

TOKEN = "the-token"  # noqa: S105 (made up for these tests)


class Served:
    """One worker and its views. Opened with a story, it serves the story's batches."""

    def __init__(self, worker: Worker, client: TestClient[Any, Any]) -> None:
        self.worker = worker
        self.url = f"http://{client.host}:{client.port}"
        self.commands: list[tuple[int, Event]] = []
        self.sent: list[asyncio.Future[None]] = []
        self.acknowledges = True
        self._client = client
        self._stories: dict[int, Story] = {}
        # A story keeps its rows under a partition of its own.
        worker.rows.heads = lambda partition: self._stories[partition].rows.heads(PARTITION)
        worker.rows.load = lambda partition, *key: self._stories[partition].rows.load(PARTITION, *key)
        worker.rows.runs = lambda partition, batch_id: self._stories[partition].rows.runs(PARTITION, batch_id)
        worker.engine.forwarder._gather = self._gather
        worker.engine.faust.conf.canonical_url = URL(self.url)

    def assign(self, *partitions: int) -> None:
        """Assign partitions, recovered and not yet open."""
        self.worker.engine.opener._assigned = True
        self.worker.engine.opener._nonces.update((partition, "nonce") for partition in partitions)

    def open(self, partition: int, story: Story) -> None:
        """Serve the batches of ``story`` as those of ``partition``."""
        self.assign(partition)
        self._stories[partition] = story
        self.worker.batches.partitions[partition] = story.batches
        self.worker.engine.opener._opened_at[partition] = story.opened_at

    def knows(self, group: dict[str, list[int]]) -> None:
        """Let the worker know the partitions of all workers, by base URL."""
        topic = self.worker.settings.changelog_topic
        told = {url: {topic: partitions} for url, partitions in group.items()}
        self.worker.engine.faust.assignor.table_metadata = {topic: told}.__getitem__

    async def ask(self, path: str, method: str = "GET", **sent: Any) -> tuple[int, Any]:
        """Return status and JSON of the answer; ``path`` goes over the wire as it is."""
        async with self._client.session.request(method, URL(self.url + path, encoded=True), **sent) as answer:
            return answer.status, await answer.json()

    async def command(self, path: str, **sent: Any) -> tuple[int, Any]:
        """Post a command with the token."""
        return await self.ask(path, "POST", headers={"Authorization": f"Bearer {TOKEN}"}, **sent)

    async def page(self, path: str, **sent: Any) -> tuple[dict[str, str], str]:
        """Return headers and text of a page, whatever its status."""
        async with self._client.session.get(self.url + path, **sent) as answer:
            return dict(answer.headers), await answer.text()

    def _gather(self, partition: int, event: Event, *, awaited: bool = False) -> asyncio.Future[None]:
        assert awaited, "a command waits for the broker"
        self.commands.append((partition, event))
        self.sent.append(asyncio.get_running_loop().create_future())
        if self.acknowledges:
            self.sent[-1].set_result(None)
        return self.sent[-1]


Serve = Callable[..., Awaitable[Served]]
"""Starts a worker's views; keyword arguments are settings."""

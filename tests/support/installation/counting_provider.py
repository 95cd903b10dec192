"""The LLM provider in the process of the test, which counts submissions and can hold callbacks."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from aiohttp import web
from simulated_provider.benches import read_benches
from simulated_provider.desk import Desk
from simulated_provider.server import provider_app
from support.installation.topic_mailbox import Mailbox

from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.gateway.delayed import Latency
from cj_stream.gateway.judges import Judge
from cj_stream.gateway.specs import read_judge
from cj_stream.operations.settings import Settings

JUDGE = "simulated:seed=7"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def judge_of(spec: str = JUDGE) -> Judge:
    """Return the judge that a provider with this spec asks."""
    return read_judge(spec, seed=0)


class Callback:
    """A callback on its way: its bytes, and what it is about."""

    def __init__(self, value: bytes) -> None:
        self.value = value
        self.document: dict[str, Any] = json.loads(value)
        self.correlation_id: str = self.document["data"]["correlation_id"]

    @property
    def index(self) -> int:
        """The number of the comparison that it answers, from its correlation id."""
        found = read_correlation_id(UUID(self.correlation_id))
        assert found is not None, f"not an id of ours: {self.correlation_id}"
        return found.index

    def changed(self, **data: Any) -> bytes:
        """Return the callback with other values in its data."""
        return json.dumps({**self.document, "data": {**self.document["data"], **data}}).encode()

    def flipped(self) -> bytes:
        """Return the callback with the other verdict, as the answer to another request."""
        other = "Essay B" if self.document["data"]["winner"] == "Essay A" else "Essay A"
        return self.changed(winner=other, request_id="another request")


class CountingProvider:
    """Listens on a port of its own; use it as ``async with CountingProvider(settings) as provider``.

    ``submissions`` counts by correlation id. What ``holds`` says yes to is kept in ``held`` instead of being published.
    """

    def __init__(self, settings: Settings, *, judge: str = JUDGE, latency: float = 0.05) -> None:
        self.submissions: Counter[str] = Counter()
        self.requests: dict[str, dict[str, Any]] = {}
        """The newest body by correlation id."""
        self.holds: Callable[[Callback], bool] = lambda _: False
        self.held: list[Callback] = []
        self.refuses: Callable[[dict[str, Any]], bool] = lambda _: False
        """Says of the body of a submission whether it is answered 503 instead of being counted."""
        self.refused = 0
        self.partitions: Callable[[], int | None] = lambda: None
        """Chooses the partition of each callback; without a choice they are spread by chance, as the provider's."""
        self.accept_seconds = 0.0
        """How long each submission waits for its answer after it was counted."""
        self.url = ""
        self._topic = settings.llm_provider_callback_topic
        self._mailbox: Mailbox | None = None
        desk = Desk(self, Latency(median_seconds=latency))
        self._app = provider_app(read_benches([f"default={judge}"], seed=0), desk, [self._topic])
        self._app.middlewares.append(self._count)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/api/v1"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def answers_through(self, mailbox: Mailbox) -> None:
        """Publish callbacks with the producer of ``mailbox``."""
        self._mailbox = mailbox

    async def publish(self, topic: str, value: bytes) -> None:
        """Publish or hold a callback: what the provider's desk does with every answer."""
        assert topic == self._topic
        callback = Callback(value)
        if self.holds(callback):
            self.held.append(callback)
        else:
            await self.say(value)

    async def say(self, value: bytes) -> None:
        """Publish anything at all on the callback topic."""
        assert self._mailbox is not None
        await self._mailbox.send(self._topic, value, partition=self.partitions())

    async def release(self) -> None:
        """Publish what is held, and hold nothing more."""
        self.holds = lambda _: False
        held, self.held = self.held, []
        await asyncio.gather(*(self.say(callback.value) for callback in held))

    def submitted(self, batch_id: str) -> list[str]:
        """Return the correlation ids submitted for a batch."""
        return [found for found, body in self.requests.items() if body["metadata"]["bos_batch_id"] == batch_id]

    @web.middleware
    async def _count(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST":
            body = await request.json()
            if self.refuses(body):
                self.refused += 1
                return web.json_response({"error": "out of order"}, status=503)
            self.submissions[body["correlation_id"]] += 1
            self.requests[body["correlation_id"]] = body
            await asyncio.sleep(self.accept_seconds)
        return await handler(request)

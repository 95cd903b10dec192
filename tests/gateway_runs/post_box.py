"""Gateways as processes on a real broker, comparisons that are asked for, and what comes back."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
from support.installation.fleet import Fleet, WorkerProcess
from support.installation.own_topics import delete_topics
from support.installation.topic_mailbox import AnyMailbox

from cj_stream.engine.provisioning import create_topics
from cj_stream.engine.topics import TopicSpec
from cj_stream.gateway.gateway_service import topics
from cj_stream.gateway.gateway_settings import GatewaySettings

APP = "cj_stream.gateway.app"


class PostBox:
    """What a test acts with: ``accepted`` are the comparisons that were answered 202, and when."""

    def __init__(self, settings: GatewaySettings, fleet: Fleet, mailbox: AnyMailbox) -> None:
        self.settings = settings
        self.fleet = fleet
        self.mailbox = mailbox
        self.accepted: dict[str, float] = {}
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))

    @property
    def topic(self) -> str:
        """Where answers come."""
        return self.settings.callback_topics[0]

    async def close(self) -> None:
        await self._http.close()

    async def send(
        self, worker: WorkerProcess, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Send a request to a gateway; return status, answer and headers."""
        async with self._http.request(method, worker.url + path, json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            return response.status, answer, dict(response.headers)

    async def post(self, worker: WorkerProcess, body: dict[str, Any]) -> int:
        """Ask for a comparison; return the status, 0 when there was no answer."""
        try:
            status, _, _ = await self.send(worker, "POST", "/api/v1/comparison", body)
        except (aiohttp.ClientError, TimeoutError):
            return 0
        if status == 202:
            self.accepted.setdefault(body["correlation_id"], time.time())
        return status

    def answers(self) -> dict[str, list[bytes]]:
        """Return the callbacks so far, by correlation id, copies included."""
        found: dict[str, list[bytes]] = defaultdict(list)
        for record in self.mailbox.records[self.topic]:
            found[json.loads(record.value or b"")["data"]["correlation_id"]].append(record.value or b"")
        return found

    def answer(self, correlation_id: str) -> dict[str, Any]:
        """Return the data of the first callback of a comparison."""
        data: dict[str, Any] = json.loads(self.answers()[correlation_id][0])["data"]
        return data

    async def all_answered(self, seconds: float = 60.0) -> None:
        """Wait until all that was accepted is answered."""
        await self.fleet.until(
            lambda: not self.accepted.keys() - self.answers().keys(), "all that was accepted is answered", seconds
        )

    def request(self, batch: str = "batch", first: str = "essay-1", second: str = "essay-2", **changes: Any) -> Any:
        """Return the body of a comparison with an id of its own."""
        metadata = {"essay_a_id": first, "essay_b_id": second, "bos_batch_id": batch, "cj_batch_id": f"{batch}-1"}
        body = {
            "user_prompt": f"Which is better, {first} or {second}?",
            "callback_topic": self.topic,
            "llm_config_overrides": {"provider_override": "mock"},
            "correlation_id": str(uuid4()),
            "metadata": {**metadata, **changes.pop("metadata", {})},
        }
        return body | changes


@asynccontextmanager
async def post_box(bootstrap: str, folder: Path, **changes: Any) -> AsyncIterator[PostBox]:
    """Set everything up, without gateways yet; ``changes`` are their settings. All is ended afterwards."""
    name = f"test-{secrets.token_hex(4)}"
    defaults: dict[str, Any] = {
        "partitions": 4,
        # Shorter sessions are lost on a busy machine.
        "session_timeout_seconds": 6.0,
        "heartbeat_seconds": 1.0,
        "commit_interval_seconds": 0.1,
        "accumulate_milliseconds": 5,
        "latency_seconds": 0.05,
    }
    own: dict[str, Any] = {
        "app_id": name,
        "jobs_topic": f"{name}.jobs",
        "dead_letters_topic": f"{name}.dead-letters",
        "callback_topics": (f"{name}.callbacks",),
    }
    settings = GatewaySettings(kafka_bootstrap=bootstrap, data_dir=folder / "worker", **{**own, **defaults, **changes})
    specs = topics(settings)
    if "callback_topics" not in changes:
        specs.append(TopicSpec(settings.callback_topics[0], "none", 3, True, "answers"))
    await create_topics(settings.kafka, specs, 1)
    names = [spec.name for spec in specs]
    read = [*names, *set(settings.callback_topics) - set(names)]
    async with AnyMailbox(settings, read, [settings.jobs_topic]) as mailbox, Fleet(settings, folder, APP) as fleet:
        box = PostBox(settings, fleet, mailbox)
        try:
            yield box
        finally:
            await box.close()
    await delete_topics(bootstrap, names)


async def at_once(*work: Any) -> list[Any]:
    """Do all of it at once."""
    return list(await asyncio.gather(*work))

"""What a measured worker lives in: topics, texts, and a provider that accepts everything and never answers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from kit import HERE, Checkout, WorkerProcess, broker_process

from cj_stream.contracts.callback_writer import write_callback
from cj_stream.contracts.comparison_api import REQUEST_LIMIT
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides
from cj_stream.contracts.request_writer import write_request
from cj_stream.domain.records import Slot
from cj_stream.engine.provisioning import create_topics
from cj_stream.engine.topics import TopicSpec
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import (
    registry,
)

_TEXTS = 50
Offsets = dict[TopicPartition, int]
_JUSTIFICATION = "The first essay states its claim early and supports it with two examples. " * 3


def covers(committed: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]) -> bool:
    """Return whether everything before ``ends`` is committed."""
    return all(committed.get(at, 0) >= end for at, end in ends.items())


def winner(correlation_id: UUID) -> Slot:
    """Return the verdict on a comparison."""
    return "A" if correlation_id.int % 2 else "B"


def callback(correlation_id: UUID, metadata: Mapping[str, Any]) -> bytes:
    """Return the provider's answer to a comparison that came with this metadata."""
    now = datetime.now(UTC)
    return write_callback(
        correlation_id=correlation_id,
        request_id=str(uuid4()),
        winner=winner(correlation_id),
        confidence=4.0,
        justification=_JUSTIFICATION,
        error_code=None,
        error_message=None,
        provider="openai",
        model="judge-1",
        requested_at=now,
        completed_at=now,
        response_time_ms=900,
        request_metadata=metadata,
    )


class Provider:
    """Accepts every comparison at once; ``accepted`` holds the metadata by correlation id, ``arrivals`` the times.

    ``when_accepted`` is called with the correlation id, some seconds later.
    """

    def __init__(self) -> None:
        self.accepted: dict[UUID, dict[str, Any]] = {}
        self.when_accepted: tuple[float, Callable[[UUID], object]] | None = None
        self.arrivals: list[tuple[float, UUID]] = []
        self.url = ""

    async def start(self, stack: AsyncExitStack) -> None:
        """Listen on a free port until ``stack`` is left."""
        app = web.Application(client_max_size=REQUEST_LIMIT)
        app.router.add_post("/api/v1/comparison", self._accept)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _accept(self, http: web.Request) -> web.Response:
        body = await http.json()
        correlation_id = UUID(body["correlation_id"])
        self.arrivals.append((time.monotonic(), correlation_id))
        self.accepted[correlation_id] = body["metadata"]
        if self.when_accepted is not None:
            seconds, call = self.when_accepted
            asyncio.get_running_loop().call_later(seconds, call, correlation_id)
        return web.json_response({"queue_id": str(uuid4()), "status": "queued", "message": "accepted"}, status=202)


class Installation:
    """One installation on a broker; ``changes`` are the settings that differ from the defaults, by field name."""

    def __init__(self, bootstrap: str, folder: Path, changes: Mapping[str, Any]) -> None:
        self._folder = folder
        self._changes = {"kafka_bootstrap": bootstrap, "app_id": folder.name, **changes}
        topics = [name for name in Settings.model_fields if name.endswith("_topic")]
        self._changes |= {name: f"{folder.name}.{Settings.model_fields[name].default}" for name in topics}
        # Kept: reading settings takes milliseconds, and a benchmark asks for them all the time.
        self.settings = Settings(**self._changes)
        """The settings that all workers share."""
        self.answered: dict[UUID, float] = {}
        """When each callback came to its topic, by the broker's clock, seconds since the epoch."""
        self._answers: set[asyncio.Task[None]] = set()
        self._workers: list[WorkerProcess] = []
        self._provider = Provider()
        self.producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
        self._consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
        self._admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)

    @property
    def accepted(self) -> dict[UUID, dict[str, Any]]:
        """Return the metadata of all accepted comparisons by correlation id."""
        return self._provider.accepted

    @property
    def arrivals(self) -> list[tuple[float, UUID]]:
        """Return when (by the monotonic clock) which comparison was submitted, repeats included."""
        return self._provider.arrivals

    async def start(self, stack: AsyncExitStack) -> None:
        """Create what is needed; all of it ends when ``stack`` is left."""
        content = self._folder / "content"
        content.mkdir(parents=True)
        for number in range(_TEXTS):
            (content / f"text-{number}.txt").write_text("A text of some length. " * 100)
        await create_topics(self.settings.kafka, self._topics(), 1)
        await self._provider.start(stack)
        self._changes |= {"content_service_url": f"file:{content}", "llm_provider_service_url": self._provider.url}
        self.settings = Settings(**self._changes)
        for client in (self.producer, self._consumer):
            stack.push_async_callback(client.stop)
            await client.start()
        stack.push_async_callback(self._admin.close)
        await self._admin.start()
        stack.callback(self._kill_workers)

    def _topics(self) -> list[TopicSpec]:
        timed = self.settings.llm_provider_callback_topic
        return [replace(spec, broker_time=spec.broker_time or spec.name == timed) for spec in registry(self.settings)]

    @property
    def broker_process(self) -> int:
        """Return the number of the broker's process."""
        return broker_process(self._folder.parent)

    def worker(self, app: str = "cj_stream.app", checkout: Checkout = HERE) -> WorkerProcess:
        """Return another worker, not yet started; ``app`` is the module that builds its app."""
        worker = WorkerProcess(f"worker-{len(self._workers) + 1}", self._folder, self._changes, app, checkout)
        self._workers.append(worker)
        return worker

    def _kill_workers(self) -> None:
        for worker in self._workers:
            worker.kill()

    async def request(self, batch_id: str, essays: int) -> None:
        """Ask for a batch of at most 50 essays that waits for every verdict. All batches have the same texts."""
        listed = tuple(RequestedEssay(f"essay-{i}", f"text-{i}") for i in range(essays))
        request = AssessmentRequest(
            batch_id=batch_id,
            correlation_id=uuid4(),
            essays=listed,
            language="en",
            course_code="ENG5",
            overrides=RequestedOverrides(),
            completion_threshold=1.0,
            user_id="teacher",
            requested_at=datetime.now(UTC),
        )
        value = write_request(request, uuid4())
        await self.producer.send_and_wait(self.settings.assessment_request_topic, value, key=batch_id.encode())

    def answers_after(self, seconds: float) -> None:
        """Have the provider answer every comparison so long after it has accepted it."""
        self._provider.when_accepted = (seconds, self._answer_soon)

    def _answer_soon(self, correlation_id: UUID) -> None:
        answer = asyncio.get_running_loop().create_task(self._answer(correlation_id))
        self._answers.add(answer)
        answer.add_done_callback(self._answers.discard)

    async def _answer(self, correlation_id: UUID) -> None:
        await (await self.answer(correlation_id, callback(correlation_id, self.accepted[correlation_id])))

    async def answer(self, correlation_id: UUID, value: bytes) -> asyncio.Future[Any]:
        """Send the callback of a comparison; return what is done when the broker has it."""
        sent: asyncio.Future[Any] = await self.producer.send(self.settings.llm_provider_callback_topic, value)
        sent.add_done_callback(lambda done: self._note_answer(correlation_id, done))
        return sent

    def _note_answer(self, correlation_id: UUID, sent: asyncio.Future[Any]) -> None:
        if not sent.cancelled() and sent.exception() is None:
            self.answered[correlation_id] = sent.result().timestamp / 1000

    async def read(self, topic: str) -> list[ConsumerRecord[bytes, bytes]]:
        """Return everything that is on a topic now."""
        ends = await self.ends(topic)
        self._consumer.assign(list(ends))
        await self._consumer.seek_to_beginning(*ends)
        records: list[ConsumerRecord[bytes, bytes]] = []
        while any([await self._consumer.position(at) < end for at, end in ends.items()]):
            for found in (await self._consumer.getmany(timeout_ms=200)).values():
                records += found
        return records

    async def changelog(self) -> list[ConsumerRecord[bytes, bytes]]:
        """Return everything that is in the changelog of the table now."""
        return await self.read(self.settings.changelog_topic)

    async def ends(self, topic: str) -> Offsets:
        """Return the next offset of every partition of a topic."""
        partitions = [TopicPartition(topic, number) for number in await self.producer.partitions_for(topic)]
        ends: Offsets = await self._consumer.end_offsets(partitions)
        return ends

    async def covered(self, committed: Offsets) -> bool:
        """Return whether what is committed covers all callbacks and all events."""
        topics = (self.settings.llm_provider_callback_topic, self.settings.batch_events_topic)
        return all([covers(committed, await self.ends(topic)) for topic in topics])

    async def committed(self) -> Offsets:
        """Return what the workers have committed."""
        offsets = await self._admin.list_consumer_group_offsets(self.settings.app_id)
        return {at: found.offset for at, found in offsets.items()}


@asynccontextmanager
async def installation(bootstrap: str, folder: Path, **changes: Any) -> AsyncIterator[Installation]:
    """Run an installation without workers; its topics are named after ``folder``. Everything ends with it."""
    made = Installation(bootstrap, folder, changes)
    async with AsyncExitStack() as stack:
        await made.start(stack)
        yield made

"""Where a fault happens: topics of its own, a provider whose verdicts are known in advance, workers under supervision.

The provider, the mailbox that reads every topic, and the oracle are those of the tests.
"""

from __future__ import annotations

import asyncio
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

from aiokafka.admin import AIOKafkaAdminClient
from kit import ROOT, BenchmarkError, WorkerProcess, until

from cj_stream.contracts.event_log import decode_event
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides
from cj_stream.contracts.request_writer import write_request
from cj_stream.domain.events import CallbackReceived, SubmissionAccepted
from cj_stream.domain.records import Comparison, ComparisonStatus
from cj_stream.engine.clients import Kafka
from cj_stream.engine.messages import decode_message
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import NAMES, Settings
from cj_stream.operations.topic_registry import registry
from cj_stream.tables.codec import KINDS, decode_row

sys.path.append(str(ROOT / "tests"))

from support.installation.counting_provider import CountingProvider
from support.installation.topic_mailbox import Mailbox

PARTITIONS = 4
SESSION_SECONDS = 6.0
PATIENCE_SECONDS = 90.0
RESTART_SECONDS = 1.0
"""How long a supervisor takes to start a worker again that has ended by itself."""
_SETTINGS: dict[str, Any] = {
    "partitions": PARTITIONS,
    "session_timeout_seconds": SESSION_SECONDS,
    "heartbeat_seconds": 1.0,
    "commit_interval_seconds": 0.1,
    "accumulate_milliseconds": 5,
    "max_concurrent_comparisons": 1000,
    "max_iterations": 1,
}


class Provider(CountingProvider):
    """The tests' provider, which counts what comes again."""

    @property
    def repeated(self) -> int:
        """How often a comparison was submitted again under the same correlation id."""
        return sum(self.submissions.values()) - len(self.submissions)


class AlteredWorker(WorkerProcess):
    """A worker without parts of its hardening, with a folder of gates, started again when it ends by itself."""

    def __init__(self, name: str, folder: Path, settings: dict[str, Any], without: tuple[str, ...]) -> None:
        super().__init__(name, folder, settings, app="altered_worker")
        self.name = name
        self.gates = folder / f"{name}-gates"
        self.gates.mkdir()
        self.environment |= {
            "BENCH_WITHOUT": ",".join(without),
            "BENCH_GATES": str(self.gates),
        }
        self.wanted = False
        self.ended_itself = 0

    def start(self) -> None:
        """Start it, and keep it running."""
        super().start()
        self.wanted = True

    def kill(self) -> None:
        """SIGKILL, for good."""
        self.wanted = False
        super().kill()

    async def stop(self) -> None:
        """SIGTERM, and wait for the end; SIGKILL after three sessions, as a supervisor does."""
        self.wanted = False
        self.send(signal.SIGTERM)
        with suppress(BenchmarkError):
            await until(self.has_ended, "the end of a worker", [self], patience=3 * SESSION_SECONDS)
        super().kill()

    def fault(self, name: str, text: str = "") -> None:
        """Switch a fault on, see ``faults.py``."""
        (self.gates / name).write_text(text)

    def cut_off(self) -> int:
        """Return how many effects it says it has cut off, in all its lives."""
        told = (line for line in self.log.splitlines() if "effects were cut off" in line)
        return sum(int(found[1]) for line in told if (found := re.search(r"effects=(\d+)", line)))

    def no_faults(self) -> None:
        """Switch every fault off."""
        for path in self.gates.iterdir():
            path.unlink(missing_ok=True)


class Scene:
    """One installation; ``without`` says which parts of the hardening its workers lack."""

    def __init__(
        self, folder: Path, settings: Settings, changes: dict[str, Any], without: tuple[str, ...], provider: Provider
    ) -> None:
        self.settings = settings
        self.provider = provider
        self.requests: list[AssessmentRequest] = []
        self.workers: list[AlteredWorker] = []
        self.began, self._folder, self._changes, self._without = time.time(), folder, changes, without

    async def enter(self, stack: AsyncExitStack) -> None:
        """Begin to read the topics and to watch over the workers."""
        self.mailbox = await stack.enter_async_context(Mailbox(self.settings))
        self.provider.answers_through(self.mailbox)
        self.admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap)
        stack.push_async_callback(self.admin.close)
        await self.admin.start()
        watching = asyncio.create_task(self._supervise())
        stack.callback(watching.cancel)
        stack.callback(self._kill_all)

    def _kill_all(self) -> None:
        for worker in self.workers:
            worker.kill()

    async def _supervise(self) -> None:
        while True:
            for worker in self.workers:
                if worker.wanted and worker.has_ended():
                    worker.ended_itself += 1
                    worker.wanted = False
                    asyncio.get_running_loop().call_later(RESTART_SECONDS, self._restart, worker)
            await asyncio.sleep(0.05)

    @staticmethod
    def _restart(worker: AlteredWorker) -> None:
        if worker.has_ended():
            worker.start()

    # --- Acting -------------------------------------------------------------------------------------------------------

    def worker(self) -> AlteredWorker:
        """Return another worker with an empty folder, not yet started."""
        made = AlteredWorker(f"worker-{len(self.workers) + 1}", self._folder, self._changes, self._without)
        self.workers.append(made)
        return made

    async def started(self, count: int = 1) -> list[AlteredWorker]:
        """Start more workers and wait until all partitions are served."""
        made = [self.worker() for _ in range(count)]
        for worker in made:
            worker.start()
        await self.served()
        return made

    async def ask(self, count: int = PARTITIONS, essays: int = 20) -> None:
        """Ask for batches, spread over all partitions."""
        for number in range(len(self.requests), len(self.requests) + count):
            request = _request(_batch_id(number), essays)
            self.requests.append(request)
            for essay in request.essays:
                (self._folder / "content" / f"{essay.text_storage_id}.txt").write_text(f"A text, {essay.essay_id}.")
            value = write_request(request, uuid4())
            await self.mailbox.send(self.settings.assessment_request_topic, value, key=request.batch_id.encode())

    async def all_submitted(self, per_batch: int) -> None:
        """Wait until so many comparisons of every batch are submitted, and that is committed; verdicts are held."""
        wanted = per_batch * len(self.requests)
        await self.until(lambda: len(self.events(SubmissionAccepted)) >= wanted, f"{wanted} accepted submissions")
        await self.until(self.committed_all, "the commit of the acceptances")

    # --- Waiting ------------------------------------------------------------------------------------------------------

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        """Wait for what must happen; raises `kit.BenchmarkError` when it does not."""
        await until(condition, what, self.workers, patience=PATIENCE_SECONDS)

    @staticmethod
    async def within(seconds: float, condition: Callable[[], bool | Awaitable[bool]], poll: float = 0.02) -> bool:
        """Wait for what may happen; return whether it did."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return True
            await asyncio.sleep(poll)
        return False

    async def served(self) -> None:
        """Wait until the workers serve all partitions among them, and each of them some."""
        await self.until(self.is_served, "the workers serve all partitions")

    async def is_served(self) -> bool:
        """Return whether the workers serve all partitions among them, and each of them some."""
        running = [worker for worker in self.workers if not worker.has_ended()]
        served = [len(await worker.open_partitions()) for worker in running]
        return sum(served) == PARTITIONS and all(served)

    async def committed_all(self) -> bool:
        """Return whether every input is committed."""
        return not await self.mailbox.lag()

    async def committed(self, topic: str) -> dict[int, int]:
        """Return the committed position of every partition of a topic."""
        offsets = await self.admin.list_consumer_group_offsets(self.settings.app_id)
        return {at.partition: found.offset for at, found in offsets.items() if at.topic == topic}

    def verdict_rows(self) -> int:
        """Return how many comparisons have a verdict in the changelog."""
        records = self.mailbox.records[self.settings.changelog_topic]
        return len({record.key for record in records if _is_verdict(record.key, record.value)})

    def events(self, kind: type) -> list[tuple[int, int]]:
        """Return partition and offset of every event of a kind in the log of events."""
        return [
            (record.partition, record.offset)
            for record in self.mailbox.records[self.settings.batch_events_topic]
            for data in decode_message(record.value or b"")
            if isinstance(decode_event(data), kind)
        ]

    async def committed_verdicts(self) -> int:
        """Return how many verdicts in the log of events are committed."""
        committed = await self.committed(self.settings.batch_events_topic)
        return sum(offset < committed.get(partition, 0) for partition, offset in self.events(CallbackReceived))

    async def view(self, path: str) -> dict[str, Any] | None:
        """Return what a view of any worker shows."""
        for worker in self.workers:
            if not worker.has_ended() and (answer := await worker.ask(path)) is not None:
                return answer
        return None

    async def judged(self, batch_id: str) -> int:
        """Return how many comparisons of a batch have a verdict, as the views show it, -1 while they do not answer."""
        batch = await self.view(f"/batches/{batch_id}")
        return -1 if batch is None else int(batch["completed_comparisons"])


def _is_verdict(key: bytes | None, value: bytes | None) -> bool:
    if not key or not value or key[:1] != KINDS[Comparison]:
        return False
    row = decode_row(key, value)
    return isinstance(row, Comparison) and row.status is ComparisonStatus.JUDGED


def _batch_id(number: int) -> str:
    names = (f"batch-{number}-{i}" for i in range(1000))
    return next(name for name in names if home_partition(name, PARTITIONS) == number % PARTITIONS)


def _request(batch_id: str, essays: int) -> AssessmentRequest:
    return AssessmentRequest(
        batch_id=batch_id,
        correlation_id=uuid5(NAMESPACE_OID, batch_id),
        essays=tuple(RequestedEssay(f"essay-{i}", f"essay-{i}-of-{batch_id}") for i in range(essays)),
        completion_threshold=1.0,
        language="en",
        course_code="ENG5",
        overrides=RequestedOverrides(),
        user_id="a teacher",
        requested_at=datetime.now(UTC),
    )


@asynccontextmanager
async def scene(
    bootstrap: str, folder: Path, without: tuple[str, ...], *, latency: float = 0.05, **changes: Any
) -> AsyncIterator[Scene]:
    """Run an installation without workers; its topics are named after ``folder``. Everything ends with it."""
    content = folder / "content"
    content.mkdir(parents=True)
    topics = [name for name in Settings.model_fields if name.endswith("_topic")]
    own: dict[str, Any] = {**_SETTINGS, "kafka_bootstrap": bootstrap, "app_id": folder.name, **changes}
    own |= {name: f"{folder.name}.{Settings.model_fields[name].default}" for name in topics}
    await create_topics(Kafka(bootstrap, NAMES), registry(Settings(**own)), 1)
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(Provider(Settings(**own), latency=latency))
        own |= {"content_service_url": f"file:{content}", "llm_provider_service_url": provider.url}
        made = Scene(folder, Settings(**own), own, without, provider)
        await made.enter(stack)
        yield made

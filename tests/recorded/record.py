"""Records what the service of this checkout leaves: ``PYTHONPATH=tests .venv/bin/python -m recorded.record NAME``.

Real workers on a real broker bring batches into every state there is, send and receive every kind of message, and are
killed. What lies on the topics then goes into ``NAME.jsonl.xz``, from which the tests start the code of later days.

At a release NAME is its version. For an older version, copy this folder into the tests of its checkout, and run it
there. A new kind of row or event, or a new field of one, gets a place in this story, and is recorded as ``next`` until
the next release; ``tests/unit/tables/test_recorded.py`` insists on it. Recordings of releases are never changed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import aiohttp
from aiohttp import web
from kills.points import order_text
from msgspec import structs
from pydantic import SecretStr
from recorded.recording import CHANGELOG, Record, Recording
from support.installation.counting_provider import Callback, CountingProvider
from support.installation.fleet import WorkerProcess
from support.installation.own_topics import own_topics
from support.installation.stage import Stage, new_request, staged_with
from support.installation.topic_config import configure

from cj_stream.agents.callbacks import answered
from cj_stream.agents.requests import requested
from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.callback_writer import write_callback
from cj_stream.contracts.event_log import encode_event
from cj_stream.contracts.request_reader import AssessmentRequest, RequestedOverrides, read_request
from cj_stream.contracts.request_writer import write_request
from cj_stream.devkit.kafka import LocalKafka
from cj_stream.devkit.kafka_config import free_port
from cj_stream.domain.events import Action, BatchPoisoned, ComparisonFailed, OperatorCommand, SubmissionAccepted
from cj_stream.domain.records import Receipt
from cj_stream.engine.messages import encode_message
from cj_stream.engine.partitioning import home_partition
from cj_stream.operations.settings import Settings
from cj_stream.scoring.pairing.pairing import PairingPolicy
from cj_stream.scoring.quality.stopping import StopRule

TOKEN = "a token for recordings"  # noqa: S105 -- of no other use
YEAR_HOURS = 365 * 24.0
PATIENT: dict[str, Any] = {
    # Whenever a recording is played, what was submitted is still awaited and what has ended is still kept.
    "comparison_deadline_minutes": 3 * YEAR_HOURS * 60,
    "batch_timeout_hours": 10 * YEAR_HOURS,
    "batch_max_age_hours": 10 * YEAR_HOURS,
    "retention_days": 10 * 365,
    "max_concurrent_comparisons": 4,
    "operator_token": SecretStr(TOKEN),
    # A worker that died keeps its partitions until the others have died too.
    "session_timeout_seconds": 30.0,
}
QUICK = {**PATIENT, "comparison_deadline_minutes": 0.2, "batch_timeout_hours": 1.0, "batch_max_age_hours": 48.0}
FORGETFUL = {**PATIENT, "retention_days": 1e-5}
TOPICS = [name for name in Settings.model_fields if name.endswith("_topic")]


class Provider(CountingProvider):
    """Holds all callbacks for the batches in ``held_batches``; refuses one batch and answers another at once."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.held_batches: set[str] = set()
        self.holds = lambda callback: batch_of(callback) in self.held_batches
        self._app.middlewares.append(self._in_its_own_way)

    def held_for(self, batch_id: str) -> list[Callback]:
        """Return what is held for a batch, in the order of the comparisons."""
        return sorted((held for held in self.held if batch_of(held) == batch_id), key=lambda held: held.index)

    async def release_some(
        self, batch_id: str, count: int | None = None, change: Callable[[Callback], bytes] | None = None
    ) -> None:
        """Publish some of what is held for a batch, changed or as it is."""
        for held in self.held_for(batch_id)[:count]:
            self.held.remove(held)
            await self.say(change(held) if change else held.value)

    @web.middleware
    async def _in_its_own_way(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method == "DELETE":
            return web.Response(status=400 if request.path.endswith("/cancelled-1") else 404)
        body = await request.json()
        match body["metadata"]["bos_batch_id"]:
            case "failed":
                error = {"code": "VALIDATION_ERROR", "message": "Refused on purpose", "details": {}}
                return web.json_response({"error": error}, status=400)
            case "answered":
                return web.json_response(
                    {
                        "winner": "Essay A",
                        "justification": "It argues.",
                        "confidence": 4.0,
                        "provider": "openai",
                        "model": "judge-1",
                        "response_time_ms": 7,
                        "token_usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
                        "cost_estimate": 0.0,
                        "correlation_id": body["correlation_id"],
                        "trace_id": None,
                        "metadata": {},
                    }
                )
            case "slow":
                answer = await handler(request)
                assert isinstance(answer, web.Response)
                assert isinstance(answer.body, bytes)
                return web.json_response(
                    json.loads(answer.body) | {"estimated_wait_minutes": 2.5 * 60 * YEAR_HOURS}, status=202
                )
            case _:
                return await handler(request)

    async def say(self, value: bytes) -> None:
        """Publish a callback; those of one batch have a price and whatever else goes with an answer."""
        callback = Callback(value)
        if batch_of(callback) not in ("completed", "partial"):
            return await super().say(value)
        metadata = callback.document["data"]["request_metadata"]
        wanted = {"raw_llm_response": '{"winner": "A"}', "flags": ["instruction_in_first"], "cost_known": True}
        usage = {"prompt_tokens": 1700, "completion_tokens": 250, "total_tokens": 1950}
        told = {"token_usage": usage, "cost_estimate": 0.0125, "request_metadata": metadata | wanted}
        return await super().say(callback.changed(**told))


def batch_of(callback: Callback) -> str:
    """Return the batch that a callback is about, from its echo."""
    return str(callback.document["data"]["request_metadata"]["bos_batch_id"])


def as_error(callback: Callback) -> bytes:
    """Return the provider's answer that it cannot judge, instead of the verdict."""
    data, now = callback.document["data"], datetime.now(UTC)
    return write_callback(
        correlation_id=UUID(callback.correlation_id),
        request_id=data["request_id"],
        winner=None,
        confidence=None,
        justification=None,
        error_code="RATE_LIMIT",
        error_message="try later",
        provider="openai",
        model="judge-1",
        requested_at=now,
        completed_at=now,
        response_time_ms=0,
        request_metadata=data["request_metadata"],
    )


async def content_service(stack: AsyncExitStack) -> str:
    """Start a content service; texts called ``missing`` are not there, those called ``stalled`` never come."""

    async def read(request: web.Request) -> web.Response:
        storage_id = request.match_info["storage_id"]
        if "stalled" in storage_id:
            await asyncio.sleep(3600)
        return web.Response(status=404) if "missing" in storage_id else web.Response(text=f"An essay: {storage_id}.")

    app = web.Application()
    app.router.add_get("/v1/content/{storage_id}", read)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return f"http://127.0.0.1:{runner.addresses[0][1]}"


class Story:
    """Brings the batches into their states, one chapter after the other."""

    def __init__(self, stage: Stage, provider: Provider) -> None:
        self.stage, self.provider = stage, provider
        self.settings = stage.settings
        self.shown: dict[str, dict[str, Any]] = {}
        self.unread: list[tuple[str, bytes, str]] = []

    async def tell(self) -> None:
        """Tell it all; afterwards every worker is dead."""
        await self.what_is_forgotten()
        await self.what_times_out()
        workers = [self.stage.fleet.worker() for _ in range(3)]
        for worker in workers:
            worker.start()
        await self.stage.fleet.ready()
        await self.what_ends(workers[0])
        await self.what_no_topic_takes()
        await self.what_goes_on(workers[0])
        await self.what_nobody_can_read()
        await self.stage.settled()
        await self.look()
        await self.how_they_die(workers)
        await self.what_nobody_has_read()

    async def what_is_forgotten(self) -> None:
        """A batch ends and is deleted."""
        worker = self.stage.fleet.worker(**FORGETFUL)
        worker.start()
        await self.stage.fleet.ready()
        await self.stage.ask(new_request("deleted", 3))
        until = self.stage.fleet.until
        await until(lambda: bool(self.stage.mailbox.outcomes("result", "deleted")), "the batch has ended")

        async def gone() -> bool:
            return "deleted" not in await self.stage.fleet.batches()

        await until(gone, "the batch is deleted")
        await self.stage.settled()
        worker.terminate()
        await self.stage.fleet.ended(worker)

    async def what_times_out(self) -> None:
        """A provider accepts and is silent."""
        self.provider.held_batches.add("silent")
        worker = self.stage.fleet.worker(**QUICK, max_attempts=20)
        worker.start()
        await self.stage.fleet.ready()
        await self.stage.ask(new_request("silent", 3))
        await self.stage.fleet.until(lambda: len(self.provider.held_for("silent")) > 3, "it is asked again")
        worker.terminate()
        await self.stage.fleet.ended(worker)

    async def what_ends(self, worker: WorkerProcess) -> None:
        """Batches end in all the ways there are."""
        everything = everything_asked_for("completed")
        # The current form of a request has no field for a task in words; older ones have.
        document = json.loads(write_request(everything, uuid4()))
        document["data"] |= {"essay_instructions": "Which is the better answer?", "student_prompt_ref": None}
        value = json.dumps(document).encode()
        await self.stage.mailbox.send(self.settings.assessment_request_topic, value, key=b"completed")
        await self.stage.ask(new_request("with-task", 4, prompt_storage_id="task"))
        await self.stage.ask(new_request("again", 3))
        await self.stage.ask(new_request("unusable", 4, content="missing"))
        await self.stage.ask(some_missing("partly-usable", 4, usable=3))
        await self.stage.ask(some_missing("single", 3, usable=1))
        await self.stage.ask(new_request("failed", 6))
        await self.stage.ask(new_request("answered", 3))
        await self.stage.ask(new_request("many-rounds", 7))
        names = (
            "completed",
            "with-task",
            "again",
            "unusable",
            "partly-usable",
            "single",
            "failed",
            "answered",
            "many-rounds",
        )
        await self.stage.ended(*names)
        await self.stage.ask(new_request("again", 3, content="other"))
        await self.stage.fleet.until(
            lambda: len(self.stage.mailbox.outcomes("result", "again")) == 2, "the second run ends"
        )
        await self.what_is_taken_over()
        results = len(self.stage.mailbox.outcomes("result", "answered"))
        await self.stage.ask(new_request("answered", 3))
        await self.stage.fleet.until(
            lambda: len(self.stage.mailbox.outcomes("result", "answered")) > results, "an outcome is published again"
        )
        for batch_id in ("cancelled", "finalized"):
            await self.ask_and_hold(batch_id, 4, accepted=4)
        await self.provider.release_some("finalized", 3)
        await self.judged("finalized", 3)
        await self.command(worker, "cancelled", Action.CANCEL)
        await self.command(worker, "finalized", Action.FINALIZE)
        await self.stage.ended("cancelled", "finalized")

    async def what_is_taken_over(self) -> None:
        """A second run takes over the verdicts of the first; another batch finds none."""
        asked = new_request("many-rounds", 7, reuse_judgements="many-rounds")
        await self.stage.ask(structs.replace(asked, correlation_id=uuid5(NAMESPACE_OID, "once more")))
        await self.stage.fleet.until(
            lambda: len(self.stage.mailbox.outcomes("result", "many-rounds")) == 2, "a run goes on with what was judged"
        )
        await self.stage.ask(new_request("takes-nothing", 3, reuse_judgements="nobody"))
        await self.stage.ended("takes-nothing")

    async def what_no_topic_takes(self) -> None:
        """A batch ends whose result is larger than its topic takes."""
        topic, bootstrap = self.settings.assessment_result_topic, self.settings.kafka_bootstrap
        await configure(bootstrap, topic, max_message_bytes=200)
        await self.stage.ask(new_request("untellable", 3))
        await self.stage.fleet.until(lambda: bool(self.stage.mailbox.outcomes("completed", "untellable")), "it ends")

        async def recorded() -> bool:
            return await self.stage.fleet.metric("cj_unpublished_total", what="result") == 1.0

        await self.stage.fleet.until(recorded, "the result was refused")
        await configure(bootstrap, topic, max_message_bytes=1_000_000)

    async def what_goes_on(self, worker: WorkerProcess) -> None:
        """Batches that live: waiting, partly judged, joined, to be tried again, loading."""
        for batch_id in ("waiting", "partial", "joined", "to-cancel", "slow"):
            await self.ask_and_hold(batch_id, 4, accepted=4)
        await self.ask_and_hold("retried", 3, accepted=3)
        await self.provider.release_some("partial", 2)
        await self.judged("partial", 2)
        await self.provider.release_some("partial", 1, as_error)
        await self.provider.release_some("retried", 1, as_error)
        await self.shows("partial", failed_comparisons=1)
        await self.shows("retried", failed_comparisons=1)
        await self.command(worker, "retried", Action.RETRY)
        await self.stage.fleet.until(lambda: len(self.provider.held_for("retried")) == 3, "it is submitted again")
        first = new_request("joined", 4)
        for who, content in (("somebody else", "essay"), ("another one", "other")):
            other = new_request("joined", 4, content=content, correlation_id=uuid5(NAMESPACE_OID, who))
            await self.stage.ask(structs.replace(other, essays=first.essays if content == "essay" else other.essays))
        await self.stage.fleet.until(lambda: bool(self.stage.mailbox.outcomes("failed", "joined")), "one is refused")
        await self.stage.ask(new_request("loading", 3, content="stalled"))
        await self.shows("loading", state="INITIALIZING")

    async def what_nobody_can_read(self) -> None:
        """Input that is refused, and events that end a batch."""
        send, settings = self.stage.mailbox.send, self.settings
        await send(settings.assessment_request_topic, b'{"event_type": "something else"}', key=b"poison")
        await send(settings.llm_provider_callback_topic, b"\xff\xfe no callback")
        stray = {"correlation_id": str(uuid4()), "request_metadata": {}}
        await send(settings.llm_provider_callback_topic, self.provider.held_for("waiting")[0].changed(**stray))
        for batch_id in ("undecidable", "poisoned"):
            await self.ask_and_hold(batch_id, 3, accepted=3)
        beyond = SubmissionAccepted(batch_id="undecidable", run=1, index=1_000, attempt=1)
        await self.log("undecidable", encode_message([b"no event", encode_event(beyond)]))
        # No worker sends this one: it is what a callback becomes inside.
        answered = {"error_code": "TIMEOUT", "error_message": "too late", "provider": "openai", "model": "judge-1"}
        receipt = Receipt(cost=0.5, error_service="llm")
        failed = ComparisonFailed(
            batch_id="poisoned", run=1, index=0, attempt=1, answered=True, receipt=receipt, **answered
        )
        await self.log("poisoned", encode_message([encode_event(failed)]))
        await self.log("poisoned", encode_message([encode_event(BatchPoisoned(batch_id="poisoned", error="a bug"))]))
        await self.log("poisoned", b"no message")
        await self.stage.ended("undecidable", "poisoned")

    async def look(self) -> None:
        """Remember what the views show."""
        for batch_id in await self.stage.fleet.batches():
            detail = await self.stage.fleet.batch(batch_id)
            assert detail is not None
            for run in range(1, detail["runs"] + 1):
                name = batch_id if run == detail["runs"] else f"{batch_id}/{run}"
                self.shown[name] = {
                    page: await self.stage.fleet._page(f"/batches/{batch_id}{path}?run={run}&limit=1000")
                    for page, path in (("detail", ""), ("comparisons", "/comparisons"), ("result", "/result"))
                }

    async def how_they_die(self, workers: list[WorkerProcess]) -> None:
        """Each worker is killed where a batch of its own is in a state that passes quickly."""
        partitions = [(await self.stage.fleet.partitions(worker))[0] for worker in workers]
        points = ("planned", "scored", "published")
        names = [
            at_home(f"dies-{point}", at, self.settings.partitions) for point, at in zip(points, partitions, strict=True)
        ]
        for batch_id in names[1:]:
            await self.ask_and_hold(batch_id, 3, accepted=3)
        for worker, point in zip(workers, points, strict=True):
            worker.may_end = True
            worker.order.write_text(order_text(point, 1, point))
        # What they need goes into their logs: the partition of its topic may be one of a worker that is dead already.
        request = write_request(new_request(names[0], 3), uuid4())
        self.unread.append((self.settings.assessment_request_topic, request, names[0]))
        asked = requested(read_request(request, max_essays=self.settings.max_essays))
        await self.log(names[0], encode_message([encode_event(asked)]))
        for batch_id in names[1:]:
            callbacks = [held.value for held in self.provider.held_for(batch_id)]
            self.unread += [(self.settings.llm_provider_callback_topic, value, "") for value in callbacks]
            events = [encode_event(answered(read_callback(value))) for value in callbacks]
            await self.log(batch_id, encode_message(events))
        for worker in workers:
            await self.stage.fleet.ended(worker)

    async def what_nobody_has_read(self) -> None:
        """What comes while no worker runs, or was forwarded and not committed."""
        for topic, value, key in self.unread:
            await self.stage.mailbox.send(topic, value, key=key.encode() or None)
        self.provider.held = [held for held in self.provider.held if not batch_of(held).startswith("dies-")]
        await self.provider.release_some("waiting", 2)
        await self.stage.ask(new_request("unread", 3))
        await self.stage.mailbox.send(self.settings.assessment_request_topic, b"no request", key=b"unread poison")
        # As a worker leaves it that dies right after it has taken the command.
        command = OperatorCommand(batch_id="to-cancel", action=Action.CANCEL, reason="not needed any more")
        await self.log("to-cancel", encode_message([encode_event(command)]))
        await self.stage.fleet.until(self.stage.mailbox.is_all_read, "the mailbox has everything")

    async def ask_and_hold(self, batch_id: str, essays: int, *, accepted: int) -> None:
        """Ask for a batch and hold its callbacks, until so many comparisons are with the provider."""
        self.provider.held_batches.add(batch_id)
        await self.stage.ask(new_request(batch_id, essays))
        await self.stage.fleet.until(
            lambda: len(self.provider.held_for(batch_id)) == accepted, f"{batch_id} has comparisons in flight"
        )
        await self.shows(batch_id, in_flight_comparisons=accepted)

    async def judged(self, batch_id: str, count: int) -> None:
        await self.shows(batch_id, completed_comparisons=count)

    async def shows(self, batch_id: str, **expected: object) -> None:
        """Wait until the views show this of a batch."""

        async def shown() -> bool:
            batch = await self.stage.fleet.batch(batch_id) or {}
            return all(batch.get(name) == value for name, value in expected.items())

        await self.stage.fleet.until(shown, f"{batch_id}: {expected}")

    async def command(self, worker: WorkerProcess, batch_id: str, action: Action) -> None:
        """Send an operator's command."""
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
            session.post(f"{worker.url}/batches/{batch_id}/{action}", json={"reason": "for the record"}) as answer,
        ):
            assert answer.status == 202, await answer.text()

    async def log(self, batch_id: str, message: bytes) -> None:
        """Put a message into the log of a batch."""
        home = home_partition(batch_id, self.settings.partitions)
        await self.stage.mailbox.send(self.settings.batch_events_topic, message, key=batch_id.encode(), partition=home)


def everything_asked_for(batch_id: str) -> AssessmentRequest:
    """Return a request that leaves nothing to the service."""
    return new_request(
        batch_id,
        5,
        overrides=RequestedOverrides(
            model="judge-1",
            temperature=0.5,
            max_tokens=100,
            provider="openai",
            system_prompt="Be fair.",
            judge_rubric="Content first.",
            reasoning_effort="low",
            output_verbosity="low",
        ),
        assignment_id="assignment-1",
        org_id="school-1",
        max_comparisons=10,
        pairing_policy=PairingPolicy.RANDOM,
        stop_rules=(StopRule.RELIABILITY,),
        reliability_target=0.99,
        grade_boundaries=(-1.0, "essay-3"),
        max_cost=1_000.0,
        priority=3,
        batching_mode="serial_bundle",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )


def some_missing(batch_id: str, essays: int, *, usable: int) -> AssessmentRequest:
    """Return a request for essays of which only some have a text."""
    request = new_request(batch_id, essays)
    listed = [
        essay._replace(text_storage_id=f"missing-{at}") if at >= usable else essay
        for at, essay in enumerate(request.essays)
    ]
    return structs.replace(request, essays=tuple(listed))


def at_home(name: str, partition: int, partitions: int) -> str:
    """Return a batch id that begins with a name and lives in a partition."""
    return next(
        found for number in range(1_000) if home_partition(found := f"{name}-{number}", partitions) == partition
    )


async def record(version: str, folder: Path, broker: str) -> Recording:
    """Play the story and return what it leaves."""
    async with own_topics(broker, folder) as settings, AsyncExitStack() as stack:
        provider = Provider(settings)
        changes = {**PATIENT, "content_service_url": await content_service(stack)}
        stage = await stack.enter_async_context(staged_with(provider, settings, folder, app="kills.rigged", **changes))
        story = Story(stage, provider)
        await story.tell()
        return await gathered(version, story)


async def gathered(version: str, story: Story) -> Recording:
    """Return what lies on the topics, and what is known besides."""
    settings, mailbox = story.settings, story.stage.mailbox
    names = {getattr(settings, name): name for name in TOPICS} | {settings.changelog_topic: CHANGELOG}
    key = settings.correlation_key.get_secret_value()
    recording = Recording(version, settings.partitions, key, shown=story.shown)
    for topic, name in sorted(names.items(), key=lambda item: item[1]):
        for found in sorted(mailbox.records[topic], key=lambda found: (found.partition, found.offset)):
            headers = tuple((str(header), bytes(value)) for header, value in found.headers)
            place = (name, found.partition, found.offset, found.timestamp)
            recording.records.append(Record(*place, found.key, found.value, headers))
    for at, offset in sorted((await mailbox.committed()).items()):
        recording.committed.setdefault(names[at.topic], {})[at.partition] = offset
    recording.to_come = [held.value for held in story.provider.held if batch_of(held) != "silent"]
    return recording


def main() -> None:
    """Record on a broker of its own."""
    with tempfile.TemporaryDirectory() as folder:
        kafka = LocalKafka(Path(folder) / "kafka")
        try:
            recording = asyncio.run(record(sys.argv[1], Path(folder), kafka.start(free_port())))
        finally:
            kafka.stop()
    path = recording.write()
    print(f"{path}: {len(recording.records)} records, {len(recording.shown)} runs, {path.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import stamina
import structlog
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from cj_stream.contracts.comparison_api import Accepted, ImmediateVerdict, NotAccepted, read_comparison_request
from cj_stream.domain.records import Overrides
from cj_stream.operations.logs import warn_of_retry
from cj_stream.operations.settings import Settings
from cj_stream.operations.troubles import Trouble
from cj_stream.provider.breaker import BreakerState
from cj_stream.provider.breakers import BreakerChange
from cj_stream.provider.client import (
    LONGEST_RETRY_AFTER_SECONDS,
    ProviderClient,
    ProviderUntold,
    Submission,
    _PassingError,
    _wait_before_retry,
    comparison_url,
)

SAMPLES = Path(__file__).parents[2] / "contracts" / "samples"
SUBMISSION = Submission(
    correlation_id=UUID("38f2536d-662e-47cd-8377-48fed20c5b1f"),
    batch_id="55f18100-0257-4dc8-8f4d-78a17614d1d3",
    job_id="4127",
    essay_a_id="essay-a",
    essay_b_id="essay-b",
    text_a="Ten o'clock sounds lazy.",
    text_b="Skolan börjar för tidigt.",
    instructions="Should school start later?",
)
ACCEPTED = (202, b'{"queue_id": "q-1", "status": "queued"}')
HANG = (0, b"")
CUT = (-1, b"")


@pytest.fixture(autouse=True)
def _no_waiting_between_tries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


class FakeProvider:
    """Answers with the queued (status, body) pairs, the last one for ever; it can also hang, or cut the connection."""

    def __init__(self, *answers: tuple[int, bytes], headers: dict[str, str] | None = None) -> None:
        self.answers = list(answers)
        self.headers = headers or {}
        self.requests: list[tuple[str, bytes]] = []
        self.headers_sent: list[dict[str, str]] = []
        self.changes: list[BreakerChange] = []
        self.hanging, self.released = asyncio.Event(), asyncio.Event()

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request.raw_path if request.method == "DELETE" else request.path, await request.read()))
        self.headers_sent.append(dict(request.headers))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == HANG:
            self.hanging.set()
            await self.released.wait()
            answer = ACCEPTED
        if answer == CUT:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=max(answer[0], 200), body=answer[1], headers=self.headers)

    @asynccontextmanager
    async def client(
        self, *, told: Callable[[str, Trouble | None], None] = lambda *_: None, **settings: Any
    ) -> AsyncIterator[ProviderClient]:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.handle)
        app.router.add_delete("/{path:.*}", self.handle)
        async with TestServer(app) as server:
            base = str(server.make_url("/api/v1"))
            made = ProviderClient(
                Settings(llm_provider_service_url=base, **settings),
                clock=self.clock,
                told=told,
                changed=self.changes.append,
            )
            async with made as client:
                yield client
            self.released.set()

    now = 0.0

    def clock(self) -> float:
        return self.now


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


async def answer_to(provider: FakeProvider, submission: Submission = SUBMISSION, **settings: Any) -> Any:
    async with provider.client(**settings) as client:
        return await client.submit(submission)


@pytest.mark.parametrize(
    "base", ["http://host:8090", "http://host:8090/", "http://host:8090/api/v1", "http://host:8090/api/v1/"]
)
def test_the_path_is_joined_once_whatever_the_base_ends_in(base: str) -> None:
    assert comparison_url(base) == "http://host:8090/api/v1/comparison"


async def test_the_request_carries_everything_the_provider_needs() -> None:
    provider = FakeProvider(ACCEPTED)
    overrides = Overrides(
        provider="google",
        model="gemini",
        temperature=0.0,
        max_tokens=900,
        system_prompt="Be fair.",
        judge_rubric="Spelling only.",
        reasoning_effort="low",
        output_verbosity="high",
    )
    submission = Submission(
        SUBMISSION.correlation_id, "batch", "job", "a", "b", "text a", "text b", "the task", overrides, is_retry=True
    )
    assert await answer_to(provider, submission, llm_provider_callback_topic="callbacks") == Accepted("q-1")
    [(path, body)] = provider.requests
    request = read_comparison_request(body)
    assert path == "/api/v1/comparison"
    assert (request.correlation_id, request.callback_topic) == (SUBMISSION.correlation_id, "callbacks")
    assert (request.provider, request.model, request.temperature) == ("google", "gemini", 0.0)
    assert (request.max_tokens, request.system_prompt) == (900, "Be fair.")
    assert (request.reasoning_effort, request.output_verbosity) == ("low", "high")
    assert request.metadata == {
        "essay_a_id": "a",
        "essay_b_id": "b",
        "bos_batch_id": "batch",
        "cj_batch_id": "job",
        "cj_source": "els",
        "cj_request_type": "cj_retry",
    }
    for part in ("the task", "Spelling only.", "\ntext a\n<<<ESSAY A ENDS", "\ntext b\n<<<ESSAY B ENDS"):
        assert part in request.user_prompt
    assert "\n\n".join(block["content"] for block in json.loads(body)["prompt_blocks"]) == request.user_prompt


async def test_what_the_batch_leaves_open_comes_from_the_settings() -> None:
    provider = FakeProvider(ACCEPTED)
    await answer_to(provider, default_llm_provider="mock", default_llm_model="m1", llm_temperature=0.3)
    request = read_comparison_request(provider.requests[0][1])
    assert (request.provider, request.model, request.temperature) == ("mock", "m1", 0.3)
    assert request.metadata["cj_request_type"] == "cj_comparison"


@pytest.mark.parametrize(
    ("status", "name", "kind", "code", "wait", "tries"),
    [
        (202, "202_no_queue_id", "busy", "REQUEST_QUEUED", 300, 1),
        (400, "400_invalid", "refused", "HTTP_400", None, 1),
        (400, "400_no_provider", "refused", "HTTP_400", None, 1),
        (401, "401", "refused", "AUTHENTICATION_ERROR", None, 1),
        (429, "429", "busy", "RATE_LIMIT", 12, 1),
        (500, "500", "failed", "HTTP_500", None, 3),
        (500, "500_config", "refused", "CONFIGURATION_ERROR", None, 1),
        (502, "502", "failed", "EXTERNAL_SERVICE_ERROR", None, 3),
        (503, "503", "busy", "SERVICE_UNAVAILABLE", None, 3),
        (503, "503_breaker", "busy", "HTTP_503", None, 3),
        (504, "504", "failed", "TIMEOUT", None, 3),
    ],
)
async def test_each_answer_of_the_provider_is_understood(
    status: int, name: str, kind: str, code: str, wait: float | None, tries: int
) -> None:
    provider = FakeProvider((status, sample(f"http_comparison_{name}.json")))
    answer = await answer_to(provider)
    assert isinstance(answer, NotAccepted)
    assert (answer.kind, answer.code, answer.retry_after_seconds) == (kind, code, wait)
    assert len(provider.requests) == tries


async def test_the_accepting_answer_is_understood() -> None:
    answer = await answer_to(FakeProvider((202, sample("http_comparison_202.json"))))
    assert isinstance(answer, Accepted)
    assert answer.queue_id == "ac9fe0c9-cad7-449c-8b2e-0c43502b1a3d"


async def test_a_verdict_at_once_is_understood() -> None:
    answer = await answer_to(FakeProvider((200, sample("http_comparison_200_old.json"))))
    assert isinstance(answer, ImmediateVerdict)
    assert (answer.winner, answer.confidence) == ("A", 4.0)


@pytest.mark.parametrize("trouble", [(429, b"{}"), (500, b""), (502, b"<html>"), (503, b"{}"), (504, b"{}"), CUT])
async def test_what_can_pass_is_tried_again_with_the_same_request(trouble: tuple[int, bytes]) -> None:
    provider = FakeProvider(trouble, trouble, ACCEPTED)
    assert await answer_to(provider) == Accepted("q-1")
    assert len(provider.requests) == 3
    assert len(set(provider.requests)) == 1


async def test_a_provider_that_does_not_answer_in_time_may_have_taken_it() -> None:
    provider = FakeProvider(HANG)
    answer = await answer_to(provider, submission_timeout_seconds=0.05)
    assert (answer.kind, answer.code) == ("failed", "TIMEOUT")
    assert len(provider.requests) == 3


async def test_a_connection_cut_after_sending_may_have_taken_it() -> None:
    answer = await answer_to(FakeProvider(CUT))
    assert (answer.kind, answer.code) == ("failed", "CONNECTION_ERROR")


async def test_a_provider_that_is_not_there_has_taken_nothing() -> None:
    base = f"http://127.0.0.1:{unused_port()}"
    async with ProviderClient(Settings(llm_provider_service_url=base)) as client:
        answer = await client.submit(SUBMISSION)
    assert isinstance(answer, NotAccepted)
    assert (answer.kind, answer.code) == ("busy", "CONNECTION_ERROR")


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7),
        ("99999999", LONGEST_RETRY_AFTER_SECONDS),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("", None),
    ],
)
async def test_the_retry_after_header_is_honoured_within_bounds(header: str, wait: float | None) -> None:
    answer = await answer_to(FakeProvider((429, b"{}"), headers={"Retry-After": header}))
    assert answer.retry_after_seconds == wait


async def test_a_wait_that_the_body_asks_for_is_bounded_too() -> None:
    body = json.dumps({"error": {"code": "RATE_LIMIT", "message": "", "details": {"retry_after": 1e9}}}).encode()
    answer = await answer_to(FakeProvider((429, body)))
    assert answer.retry_after_seconds == LONGEST_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(("asked", "decision"), [(None, True), (0.0, 0.0), (3.0, 3.0), (11.0, False)])
def test_a_short_wait_is_kept_between_tries_and_a_long_one_is_handed_back(
    asked: float | None, decision: bool | float
) -> None:
    answer = NotAccepted(kind="busy", code="RATE_LIMIT", message="", retry_after_seconds=asked)
    made = _wait_before_retry(_PassingError("http://p", answer))
    assert (type(made), made) == (type(decision), decision)


async def refused(client: ProviderClient, submission: Submission = SUBMISSION) -> NotAccepted:
    """Submit, and return why it was not accepted."""
    answer = await client.submit(submission)
    assert isinstance(answer, NotAccepted)
    return answer


async def test_five_failures_in_a_row_open_the_breaker_and_nothing_more_is_sent() -> None:
    provider = FakeProvider((500, b"{}"))
    async with provider.client() as client:
        assert (await refused(client)).code == "HTTP_500"
        answer = await refused(client)
        assert (answer.kind, answer.code, answer.retry_after_seconds) == ("busy", "CIRCUIT_BREAKER_OPEN", 60)
        assert len(provider.requests) == 5
        provider.now += 20
        assert (await refused(client)).retry_after_seconds == 40
    assert len(provider.requests) == 5


async def test_after_a_minute_one_submission_probes_and_its_success_closes_the_breaker() -> None:
    provider = FakeProvider((502, b"{}"))
    async with provider.client() as client:
        for _ in range(2):
            await client.submit(SUBMISSION)
        provider.now += 60
        provider.answers = [HANG]
        probe = asyncio.create_task(client.submit(SUBMISSION))
        await provider.hanging.wait()
        assert (await refused(client)).code == "CIRCUIT_BREAKER_OPEN"
        provider.answers = [ACCEPTED]
        provider.released.set()
        assert await probe == Accepted("q-1")
        assert client.held_up(SUBMISSION.overrides) is None
        assert provider.changes == [BreakerChange.OPENED, BreakerChange.PROBED, BreakerChange.CLOSED]
        assert await client.submit(SUBMISSION) == Accepted("q-1")


async def test_a_cancelled_probe_does_not_keep_the_breaker_open() -> None:
    provider = FakeProvider((502, b"{}"))
    async with provider.client() as client:
        for _ in range(2):
            await client.submit(SUBMISSION)
        provider.now += 60
        provider.answers = [HANG]
        probe = asyncio.create_task(client.submit(SUBMISSION))
        await provider.hanging.wait()
        probe.cancel()
        await asyncio.gather(probe, return_exceptions=True)
        provider.answers = [ACCEPTED]
        assert await client.submit(SUBMISSION) == Accepted("q-1")


@pytest.mark.parametrize(
    ("status", "name"),
    [(429, "429"), (202, "202_no_queue_id"), (400, "400_invalid"), (500, "500_config")],
)
async def test_back_pressure_and_refusals_leave_the_breaker_closed(status: int, name: str) -> None:
    provider = FakeProvider((status, sample(f"http_comparison_{name}.json")))
    async with provider.client() as client:
        for _ in range(8):
            await client.submit(SUBMISSION)
        assert client.held_up(SUBMISSION.overrides) is None
    assert len(provider.requests) == 8


async def test_an_open_breaker_tells_the_last_real_trouble_and_what_somebody_has_to_change() -> None:
    """An address with https where nobody speaks it: as hopeless as a certificate that nobody trusts."""
    heard: list[tuple[str, Trouble | None]] = []
    async with TestServer(web.Application()) as server:
        base = str(server.make_url("/api/v1")).replace("http:", "https:")
        settings = Settings(llm_provider_service_url=base)
        async with ProviderClient(settings, told=lambda *told: heard.append(told)) as client:
            for _ in range(3):
                answer = await client.submit(SUBMISSION)
    assert isinstance(answer, NotAccepted)
    assert answer.code == "CIRCUIT_BREAKER_OPEN"
    assert "SSL" in answer.message
    assert "This does not pass by itself: mend the certificate there" in answer.message
    assert "CJ_LLM_PROVIDER_SERVICE_URL" in answer.message
    assert len(heard) == 1


async def test_a_trouble_is_over_with_the_next_answer() -> None:
    heard: list[tuple[str, bool]] = []
    provider = FakeProvider((401, b"{}"), ACCEPTED)
    async with provider.client(told=lambda scope, trouble: heard.append((scope, trouble is None))) as client:
        await client.submit(SUBMISSION)
        await client.submit(SUBMISSION)
        assert heard == [("openai", False), ("openai", True)]
        assert client.breakers.trouble("openai") is None


async def test_a_model_that_fails_holds_up_no_other() -> None:
    provider = FakeProvider((503, b"{}"))
    async with provider.client() as client:
        for _ in range(2):
            await client.submit(replace(SUBMISSION, overrides=Overrides(model="ill")))
        assert client.held_up(Overrides(model="ill")) is not None
        provider.answers = [ACCEPTED]
        assert await client.submit(replace(SUBMISSION, overrides=Overrides(model="well"))) == Accepted("q-1")
        assert await client.submit(replace(SUBMISSION, overrides=Overrides(provider="google"))) == Accepted("q-1")
        assert (await refused(client, replace(SUBMISSION, overrides=Overrides(model="ill")))).kind == "busy"


async def test_an_open_breaker_says_whose_failures_they_are_and_when_it_is_probed_next() -> None:
    provider = FakeProvider((503, b'{"error": "out of order"}'))
    async with provider.client(breaker_failures=2, breaker_seconds=7) as client:
        await client.submit(replace(SUBMISSION, batch_id="culprit"))
        before = time.time()
        answer = await client.submit(replace(SUBMISSION, batch_id="victim"))
        held = client.held_up(SUBMISSION.overrides)
    assert held is not None
    assert (held.scope, held.state, held.batch_id) == ("openai", BreakerState.OPEN, "culprit")
    assert before + 6 < held.next_probe_at <= time.time() + 7
    assert isinstance(answer, NotAccepted)
    assert (answer.code, answer.retry_after_seconds) == ("CIRCUIT_BREAKER_OPEN", 7)
    for part in ("culprit", "out of order", "openai", "next probe at"):
        assert part in answer.message
    assert len(provider.requests) == 2


async def test_what_answered_as_it_should_is_forgotten() -> None:
    """Requests name models; if each left something behind, they could fill the memory."""
    provider = FakeProvider((503, b"{}"))
    async with provider.client() as client:
        await client.submit(SUBMISSION)
        provider.answers = [ACCEPTED]
        for number in range(20):
            await client.submit(replace(SUBMISSION, overrides=Overrides(model=f"model {number}")))
        await client.submit(SUBMISSION)
        assert client.breakers._circuits == {}


async def test_a_warning_of_a_retry_names_batch_address_and_reason() -> None:
    provider = FakeProvider((503, b'{"error": "out of order"}'), ACCEPTED)
    stamina.instrumentation.set_on_retry_hooks([warn_of_retry])
    try:
        with (
            structlog.contextvars.bound_contextvars(batch_id="spring"),
            structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines,
        ):
            await answer_to(provider)
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)
    (line,) = [line for line in lines if "asking again" in line["event"]]
    assert (line["log_level"], line["batch_id"]) == ("warning", "spring")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v1/comparison HTTP_503: out of order", line["why"])


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_an_answer_that_cannot_change_by_itself_names_the_setting_in_the_error_of_the_comparison(
    status: int,
) -> None:
    answer = await answer_to(FakeProvider((status, b"{}")))
    assert answer.kind == "refused"
    assert "CJ_LLM_PROVIDER_SERVICE_URL" in answer.message


async def test_priority_batching_mode_and_traces_go_along() -> None:
    provider = FakeProvider(ACCEPTED)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    wishes = replace(SUBMISSION, priority=-3, batching_mode="serial_bundle", traceparent=trace)
    await answer_to(provider, wishes)
    metadata = read_comparison_request(provider.requests[0][1]).metadata
    assert (metadata["priority"], metadata["cj_llm_batching_mode"]) == (-3, "serial_bundle")
    (headers,) = provider.headers_sent
    assert headers["traceparent"] == trace
    assert headers["X-Correlation-ID"] == str(SUBMISSION.correlation_id)


@pytest.mark.parametrize("status", [200, 202, 204, 404, 405, 501])
async def test_the_provider_is_told_of_the_end_of_a_run_whether_it_knows_such_a_message_or_not(status: int) -> None:
    provider = FakeProvider((status, b""))
    async with provider.client() as client:
        await client.cancel_run("a/batch?-1")
        await client.cancel_comparison(SUBMISSION.correlation_id)
    assert [path for path, _ in provider.requests] == [
        "/api/v1/batch/a%2Fbatch%3F-1",
        f"/api/v1/comparison/{SUBMISSION.correlation_id}",
    ]


@pytest.mark.parametrize(("status", "passes"), [(503, True), (500, True), (400, False), (401, False), (301, False)])
async def test_a_provider_that_does_not_hear_of_it_is_told_again_only_where_that_may_help(
    status: int, *, passes: bool
) -> None:
    async with FakeProvider((status, b"")).client() as client:
        with pytest.raises(ProviderUntold) as untold:
            await client.cancel_run("batch-1")
    assert untold.value.passes is passes
    assert "/api/v1/batch/batch-1" in str(untold.value)

"""The gateway's HTTP API: what it takes, what it refuses, and what it sends into the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from cj_stream.engine.forwarder import EventTooLargeError
from cj_stream.engine.web_answers import Page, errors_as_json
from cj_stream.gateway.api import METADATA_LIMIT, Api
from cj_stream.gateway.gateway_metrics import Metrics
from cj_stream.gateway.gateway_settings import GatewaySettings
from cj_stream.gateway.job_callbacks import queue_id
from cj_stream.gateway.jobs import Accepted, AnyEvent, BatchCancelled, JobCancelled, ScopeLimited
from cj_stream.gateway.judges import Limits
from cj_stream.gateway.lines import Budget, Lines, LineSettings
from cj_stream.gateway.specs import read_judges

TOPIC = "huleedu.llm_provider.comparison_result.v1"
TOKEN = SecretStr("of-the-operator")


class Stand:
    """A gateway that only keeps what is sent into the log."""

    def __init__(self) -> None:
        self.settings = GatewaySettings(operator_token=TOKEN, data_dir="unused")
        self.judges = read_judges(["m=simulated:seed=1"], seed=0)
        self.lines = Lines(LineSettings(1, 5, 60.0), self.budget, lambda: 0.0)
        self.metrics = Metrics(lambda: iter(self.lines), lambda: (0, 0))
        self.full = False
        self.queue = SimpleNamespace(
            is_full=lambda: self.full, taken=lambda: None, of_all=lambda: 30, size=lambda: (3, 9)
        )
        self.engine = SimpleNamespace(faust=SimpleNamespace(draining=False))
        self.has_served = True
        self.sent: list[AnyEvent] = []
        self.too_large = False

    def budget(self, _scope: str) -> Budget:
        return Budget(Limits(60, None), 0.5)

    async def at_home(self, _job_id: str, event: AnyEvent) -> None:
        if self.too_large:
            raise EventTooLargeError("it has 990,001 bytes")
        self.sent.append(event)

    async def everywhere(self, event: AnyEvent) -> None:
        self.sent.append(event)


@pytest.fixture
def stand() -> Stand:
    return Stand()


@pytest.fixture
async def http(stand: Stand) -> AsyncIterator[TestClient[Any, Any]]:
    api = Api(cast("Any", stand))
    app = web.Application(middlewares=[errors_as_json])
    for method, pages in (("GET", api.gets), ("POST", api.posts), ("PUT", api.puts), ("DELETE", api.deletes)):
        for path, page in pages.items():
            app.router.add_route(method, path, _handler(page))
    async with TestClient(TestServer(app)) as client:
        yield client


def _handler(page: Page) -> Any:
    async def handle(request: web.Request) -> web.Response:
        return await page(request, **request.match_info)

    return handle


def body(**changes: Any) -> dict[str, Any]:
    return {
        "user_prompt": "Which is better?",
        "callback_topic": TOPIC,
        "llm_config_overrides": {"provider_override": "mock"},
        "correlation_id": str(uuid4()),
        "metadata": {"essay_a_id": "one", "essay_b_id": "two", "bos_batch_id": "b"},
    } | changes


@pytest.mark.parametrize("base", ["", "/api/v1"])
async def test_a_comparison_is_accepted_under_its_id_and_a_repeat_gets_the_same_queue_id(
    stand: Stand, http: TestClient[Any, Any], base: str
) -> None:
    asked = body()
    answers = [await (await http.post(f"{base}/comparison", json=asked)).json() for _ in range(2)]
    events = [event for event in stand.sent if isinstance(event, Accepted)]
    assert {event.id for event in events} == {asked["correlation_id"]}
    assert events[0].scope == "mock/simulated"
    assert {answer["queue_id"] for answer in answers} == {queue_id(asked["correlation_id"])}


async def test_blocks_of_the_prompt_are_not_kept_and_the_trace_goes_along(
    stand: Stand, http: TestClient[Any, Any]
) -> None:
    blocks = [{"target": "user_content", "content": "twice" * 100}]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await http.post("/comparison", json=body(prompt_blocks=blocks), headers={"traceparent": trace})
    (event,) = stand.sent
    assert isinstance(event, Accepted)
    assert "twice" not in repr(event)
    assert event.request.metadata["traceparent"] == trace


async def test_a_comparison_without_an_id_gets_one(stand: Stand, http: TestClient[Any, Any]) -> None:
    response = await http.post("/comparison", json=body(correlation_id=None))
    (event,) = stand.sent
    assert isinstance(event, Accepted)
    assert str(event.request.correlation_id) == event.id
    assert (await response.json())["queue_id"] == queue_id(event.id)


@pytest.mark.parametrize(
    "changes",
    [
        {"llm_config_overrides": {}},
        {"user_prompt": None},
        {"callback_topic": "cj.batch.events.v1"},
        {"metadata": {}},
        {"metadata": {"essay_a_id": "a", "essay_b_id": ""}},
        {"correlation_id": "no uuid"},
    ],
)
async def test_an_incomplete_request_is_refused_and_nothing_is_sent(
    stand: Stand, http: TestClient[Any, Any], changes: dict[str, Any]
) -> None:
    assert (await http.post("/comparison", json=body(**changes))).status == 400
    assert not stand.sent


async def test_what_fits_nowhere_is_answered_413_and_nothing_is_sent(stand: Stand, http: TestClient[Any, Any]) -> None:
    large = {"essay_a_id": "one", "essay_b_id": "two", "extra": "x" * METADATA_LIMIT}
    assert (await http.post("/comparison", json=body(metadata=large))).status == 413
    assert (await http.post("/comparison", data=b"x" * (5 * 1024 * 1024))).status == 413
    stand.too_large = True
    assert (await http.post("/comparison", json=body())).status == 413
    assert not stand.sent


async def test_a_full_queue_and_a_gateway_that_does_not_serve_say_when_to_come_back(
    stand: Stand, http: TestClient[Any, Any]
) -> None:
    stand.full = True
    full = await http.post("/comparison", json=body())
    assert (full.status, full.headers["Retry-After"]) == (429, "5")
    assert (await full.json())["error"]["details"]["retry_after"] == 5
    stand.has_served = False
    early = await http.post("/comparison", json=body())
    assert (early.status, early.headers["Retry-After"]) == (503, "2")
    assert (await http.delete("/batch/b")).status == 503
    assert not stand.sent


async def test_cancellations_go_into_the_log(stand: Stand, http: TestClient[Any, Any]) -> None:
    job_id = str(uuid4())
    assert (await http.delete(f"/api/v1/comparison/{job_id.upper()}")).status == 202
    assert (await http.delete("/api/v1/batch/a%20batch%2Fof%20ours")).status == 202
    assert stand.sent == [JobCancelled(id=job_id), BatchCancelled(batch="a batch/of ours", seconds=3000.0)]
    assert (await http.delete("/comparison/no-uuid")).status == 400


async def test_only_an_operator_sets_limits(stand: Stand, http: TestClient[Any, Any]) -> None:
    limits = {"scope": "openai/m", "requests_per_minute": 30}
    assert (await http.put("/limits", json=limits)).status == 401
    allowed = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}
    assert (await http.put("/limits", json=limits | {"requests_per_minute": 0}, headers=allowed)).status == 400
    assert not stand.sent
    assert (await http.put("/limits", json=limits, headers=allowed)).status == 202
    assert stand.sent == [ScopeLimited(scope="openai/m", requests_per_minute=30.0, tokens_per_minute=None)]


async def test_what_waits_is_shown_by_provider_and_model(http: TestClient[Any, Any]) -> None:
    await http.post("/comparison", json=body())
    shown = await (await http.get("/scopes")).json()
    (scope,) = shown["scopes"]
    assert (shown["unanswered"], scope["scope"], scope["requests_per_minute"]) == (3, "mock/simulated", 60)
    metrics = await (await http.get("/metrics")).text()
    assert 'cj_gateway_posts_total{status="202"} 1.0' in metrics


async def test_the_terms_of_a_judge_are_told_by_its_name(http: TestClient[Any, Any]) -> None:
    terms = await (await http.get("/api/v1/judges/m")).json()
    assert (terms["provider"], terms["model"], terms["input_price"]) == ("mock", "simulated", 0.0)

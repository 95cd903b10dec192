from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from aiokafka.errors import KafkaConnectionError
from simulated_provider.benches import Bench, Benches, read_benches
from simulated_provider.desk import Desk
from simulated_provider.server import provider_app
from support.wire.questions import question

from cj_stream.contracts.callback_reader import Callback, read_callback
from cj_stream.contracts.comparison_api import NotAccepted, read_response
from cj_stream.contracts.refusal import Refused
from cj_stream.gateway.delayed import Latency
from cj_stream.gateway.judges import Answer, Question, Unlimited

SAMPLES = Path(__file__).parents[2] / "contracts" / "samples"
TOPIC = "huleedu.llm_provider.comparison_result.v1"


class FakePublisher:
    """Keeps what is published; can be made to fail."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.error: Exception | None = None

    async def publish(self, topic: str, value: bytes) -> None:
        if self.error is not None:
            raise self.error
        await self.messages.put((topic, value))

    async def next(self) -> bytes:
        async with asyncio.timeout(5):
            topic, value = await self.messages.get()
        assert topic == TOPIC
        return value

    async def callback(self) -> Callback:
        return read_callback(await self.next())


class Gateway:
    """A gateway on loopback with a fake publisher."""

    def __init__(self, http: TestClient[Any, Any], publisher: FakePublisher, desk: Desk) -> None:
        self.http = http
        self.publisher = publisher
        self.desk = desk

    async def ask(self, body: dict[str, Any], path: str = "/api/v1/comparison") -> ClientResponse:
        return await self.http.post(path, json=body)

    async def verdict(self, body: dict[str, Any]) -> Callback:
        response = await self.ask(body)
        assert response.status == 202, await response.text()
        return await self.publisher.callback()


@asynccontextmanager
async def gateway(
    *specs: str, latency: Latency | None = None, benches: Benches | None = None
) -> AsyncIterator[Gateway]:
    publisher = FakePublisher()
    desk = Desk(publisher, latency or Latency(median_seconds=0))
    app = provider_app(benches or read_benches(specs, seed=7), desk, [TOPIC])
    async with TestClient(TestServer(app)) as http:
        yield Gateway(http, publisher, desk)


def request(
    first: str = "essay-1", second: str = "essay-2", model: str | None = None, **changes: Any
) -> dict[str, Any]:
    return {
        "user_prompt": "Which is better?",
        "callback_topic": TOPIC,
        "llm_config_overrides": {"provider_override": "mock", "model_override": model},
        "correlation_id": str(uuid4()),
        "metadata": {"essay_a_id": first, "essay_b_id": second, "bos_batch_id": "batch", "extra": [1]},
        **changes,
    }


@pytest.mark.parametrize("path", ["/comparison", "/api/v1/comparison"])
async def test_a_comparison_is_accepted_and_its_verdict_published(path: str) -> None:
    body = json.loads((SAMPLES / "http_comparison_request.json").read_bytes())
    async with gateway() as gate:
        response = await gate.ask(body, path)
        accepted = await response.json()
        value = await gate.publisher.next()
    callback = read_callback(value)
    assert (response.status, accepted["status"]) == (202, "queued")
    assert callback.correlation_id == UUID(body["correlation_id"])
    assert json.loads(value)["data"]["request_id"] == accepted["queue_id"]
    assert callback.winner in {"A", "B"}
    assert (callback.provider, callback.model) == ("mock", "simulated")
    assert (callback.essay_a_id, callback.essay_b_id) == (
        body["metadata"]["essay_a_id"],
        body["metadata"]["essay_b_id"],
    )
    assert json.loads(value)["data"]["request_metadata"] == body["metadata"]


async def test_the_same_pair_gets_the_same_verdict_under_another_id_and_after_a_restart() -> None:
    pairs = [(f"essay-{i}", f"essay-{i + 1}") for i in range(20)]
    runs = []
    for _ in range(2):
        async with gateway() as gate:
            runs.append([(await gate.verdict(request(*pair))).winner for pair in pairs])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {"A", "B"}


async def test_the_model_chooses_the_judge_and_unknown_models_get_the_first(tmp_path: Path) -> None:
    (tmp_path / "up.csv").write_text("essay_id,quality\nessay-1,100\nessay-2,0\n")
    (tmp_path / "down.csv").write_text("essay_id,quality\nessay-1,0\nessay-2,100\n")
    specs = [f"{name}=simulated:qualities={tmp_path}/{name}.csv" for name in ("up", "down")]
    async with gateway(*specs) as gate:
        winners = [(await gate.verdict(request(model=model))).winner for model in ("up", "down", "gpt-5", None)]
    assert winners == ["A", "B", "A", "A"]


async def test_a_pair_that_was_never_recorded_becomes_an_error_callback(tmp_path: Path) -> None:
    study = {
        "items": ["Bus", "Car"],
        "comparisons_columns": ["judge_index0", "left_index0", "right_index0", "left_won"],
        "comparisons": [],
    }
    (tmp_path / "s.json").write_text(json.dumps({"studies": {"s": study}}))
    async with gateway(f"r=replay:{tmp_path}/s.json#s") as gate:
        callback = await gate.verdict(request("Bus", "Car"))
    assert (callback.winner, callback.error_code) == (None, "VALIDATION_ERROR")
    assert callback.error_message == "nobody judged 'Bus' against 'Car'"


async def test_a_judge_that_breaks_is_an_error_callback_and_the_gateway_goes_on() -> None:
    class Broken(Unlimited):
        scope = "mock/broken"

        async def judge(self, question: Question) -> Answer:
            raise RuntimeError(question.first)

    async with gateway(benches=Benches({}, Bench(Broken()))) as gate:
        for essay in ("one", "two"):
            callback = await gate.verdict(request(essay))
            assert (callback.error_code, callback.error_message) == (
                "PROCESSING_ERROR",
                f"the judge failed: RuntimeError: {essay}",
            )


async def test_only_allowed_topics_are_published_to() -> None:
    async with gateway() as gate:
        response = await gate.ask(request(callback_topic="cj.batch.events.v1"))
        answer = await response.json()
        assert gate.desk.accepted == 0
    assert response.status == 400
    assert "does not publish to 'cj.batch.events.v1'" in answer["error"]


@pytest.mark.parametrize(
    "changes",
    [
        {"llm_config_overrides": {}},
        {"llm_config_overrides": {"provider_override": "acme"}},
        {"user_prompt": None},
        {"callback_topic": None},
        {"metadata": {}},
        {"metadata": {"essay_a_id": "a", "essay_b_id": 7}},
        {"metadata": {"essay_a_id": "a", "essay_b_id": ""}},
        {"correlation_id": "not a uuid"},
    ],
)
async def test_an_incomplete_request_is_refused(changes: dict[str, Any]) -> None:
    async with gateway() as gate:
        response = await gate.ask(request(**changes))
        answer = read_response(response.status, await response.read())
        assert gate.desk.accepted == 0
    assert response.status == 400
    assert isinstance(answer, NotAccepted)
    assert answer.kind == "refused"


async def test_a_body_that_is_not_json_gets_500_as_from_the_provider() -> None:
    async with gateway() as gate:
        response = await gate.http.post("/comparison", data=b"not json")
    assert response.status == 500


async def test_refusals_and_busy_answers_come_at_once_and_are_never_called_back() -> None:
    async with gateway("default=simulated", "refuse=faults:refuse=1", "busy=faults:busy=1") as gate:
        answers = [await gate.ask(request(f"{i}", model=model)) for i in range(12) for model in ("refuse", "busy")]
        read = [read_response(answer.status, await answer.read()) for answer in answers]
        assert gate.desk.accepted == 0
    assert {answer.status for answer in answers[::2]} == {400}
    assert {answer.status for answer in answers[1::2]} == {202, 429}
    assert all(isinstance(answer, NotAccepted) and answer.kind == "refused" for answer in read[::2])
    assert all(isinstance(a, NotAccepted) and (a.kind, a.retry_after_seconds) == ("busy", 2) for a in read[1::2])


async def test_a_duplicate_has_another_request_id_and_the_same_verdict() -> None:
    async with gateway("x=faults:duplicate=1") as gate:
        body = request()
        await gate.ask(body)
        first, second = [json.loads(await gate.publisher.next())["data"] for _ in range(2)]
    assert first["correlation_id"] == second["correlation_id"] == body["correlation_id"]
    assert first["request_id"] != second["request_id"]
    assert first["winner"] == second["winner"]


async def test_an_error_fault_is_called_back_as_a_failed_comparison() -> None:
    async with gateway("x=faults:error=1") as gate:
        callbacks = [await gate.verdict(request(f"essay-{i}")) for i in range(12)]
    assert all(callback.winner is None for callback in callbacks)
    assert len({callback.error_code for callback in callbacks}) > 2


async def test_a_malformed_callback_cannot_be_read_in_any_of_its_forms() -> None:
    async with gateway("x=faults:malformed=1") as gate:
        for i in range(12):
            assert (await gate.ask(request(f"essay-{i}"))).status == 202
            with pytest.raises(Refused):
                read_callback(await gate.publisher.next())


async def test_silence_is_an_acceptance_without_a_callback() -> None:
    async with gateway("default=simulated", "mute=faults:silent=1") as gate:
        assert (await gate.ask(request("mute", model="mute"))).status == 202
        spoken = await gate.verdict(request("loud"))
        health = await (await gate.http.get("/healthz")).json()
    assert spoken.essay_a_id == "loud"
    assert health == {"status": "ok", "accepted": 2, "pending": 0, "published": 1}


async def test_a_late_callback_comes_after_those_asked_for_later() -> None:
    async with gateway("default=simulated", "late=faults:late=1,late_seconds=0.2") as gate:
        await gate.ask(request("late", model="late"))
        order = [(await gate.verdict(request("prompt"))).essay_a_id, (await gate.publisher.callback()).essay_a_id]
    assert order == ["prompt", "late"]


async def test_a_stopped_gateway_forgets_what_is_pending_at_once() -> None:
    async with asyncio.timeout(5):
        async with gateway(latency=Latency(median_seconds=3600)) as gate:
            assert (await gate.ask(request())).status == 202
            assert gate.desk.pending == 1
    assert gate.desk.pending == 0
    assert gate.publisher.messages.empty()


async def test_a_callback_that_cannot_be_published_is_lost_and_the_next_one_is_not() -> None:
    async with gateway() as gate:
        gate.publisher.error = KafkaConnectionError("broker away")
        await gate.ask(request("lost"))
        await asyncio.wait_for(asyncio.gather(*gate.desk._pending), timeout=5)
        gate.publisher.error = None
        assert (await gate.verdict(request("sent"))).essay_a_id == "sent"
        assert gate.desk.published == 1


def test_latencies_follow_the_seed_and_the_pair() -> None:
    questions = [question(f"essay-{i}", "other") for i in range(200)]
    latency = Latency(median_seconds=2.0, sigma=0.5, seed=1)
    seconds = sorted(latency.seconds(question) for question in questions)
    assert seconds == sorted(Latency(2.0, 0.5, 1).seconds(question) for question in questions)
    assert seconds != sorted(Latency(2.0, 0.5, 2).seconds(question) for question in questions)
    assert 1.6 < seconds[100] < 2.5

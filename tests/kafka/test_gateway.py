"""The gateway on a real broker: what it has accepted is answered, whoever is killed."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from gateway_runs.post_box import at_once, post_box
from pydantic import SecretStr
from support.installation.fleet import WorkerProcess

from cj_stream.contracts.callback_reader import read_callback

pytestmark = pytest.mark.kafka

TOKEN = SecretStr("of-the-operator")


async def test_what_was_accepted_is_answered_after_a_kill_and_a_repeat_gets_the_same_bytes(
    broker: str, tmp_path: Path
) -> None:
    async with post_box(broker, tmp_path, latency_seconds=2.0) as box:
        (gateway,) = await box.fleet.start(1)
        bodies = [box.request(first=f"essay-{i}") for i in range(20)]
        assert await at_once(*(box.post(gateway, body) for body in bodies)) == [202] * 20
        gateway.kill()
        assert not box.answers()
        gateway.start()
        await box.all_answered()
        assert {len(copies) for copies in box.answers().values()} == {1}
        callbacks = [read_callback(copies[0]) for copies in box.answers().values()]
        assert {callback.winner for callback in callbacks} == {"A", "B"}

        assert await at_once(*(box.post(gateway, body) for body in bodies)) == [202] * 20
        await box.fleet.until(lambda: all(len(copies) > 1 for copies in box.answers().values()), "copies come")
        assert {len(set(copies)) for copies in box.answers().values()} == {1}
        for copies in box.answers().values():
            assert json.loads(copies[0])["data"]["request_metadata"]["gateway_calls"] <= 2
        # Nothing of a prompt is told to anybody.
        assert "Which is better" not in gateway.log
        assert not box.mailbox.records[box.settings.dead_letters_topic]


async def test_a_cancelled_batch_is_not_called_for_by_any_gateway_and_every_comparison_of_it_is_answered(
    broker: str, tmp_path: Path
) -> None:
    async with post_box(broker, tmp_path, latency_seconds=1.0, calls_at_once=1) as box:
        first, second = await box.fleet.start(2)
        kept, gone = [box.request("kept")], [box.request("gone") for _ in range(40)]
        for body in (*kept, *gone):
            assert await box.post(first, body) == 202
        status, _, _ = await box.send(second, "DELETE", "/api/v1/batch/gone-1")
        assert status == 202
        later = box.request("gone")
        assert await box.post(second, later) == 202
        await box.all_answered()
        codes = {body["correlation_id"]: (box.answer(body["correlation_id"])["error_detail"] or {}) for body in gone}
        cancelled = [found for found in codes.values() if found.get("error_code") == "CANCELLED"]
        # Each of two gateways had a call under way, and may have begun another one before it had read the news.
        assert len(cancelled) >= len(gone) - 6
        assert box.answer(later["correlation_id"])["error_detail"]["error_code"] == "CANCELLED"
        assert box.answer(kept[0]["correlation_id"])["winner"]


async def test_what_is_too_large_is_refused_and_two_large_texts_are_not(broker: str, tmp_path: Path) -> None:
    async with post_box(broker, tmp_path, queue_jobs=8, latency_seconds=3600.0) as box:
        (gateway,) = await box.fleet.start(1)
        assert await box.post(gateway, box.request(user_prompt="x" * (2 * 256 * 1024))) == 202
        assert await box.post(gateway, box.request(user_prompt="x" * 1_000_000)) == 413
        assert await box.post(gateway, box.request(metadata={"extra": "x" * 70_000})) == 413
        assert await box.post(gateway, box.request(user_prompt="x" * 5_000_000)) == 413
        before = len(box.mailbox.records[box.settings.jobs_topic])
        statuses = [await box.post(gateway, box.request()) for _ in range(9)]
        assert statuses[0] == 202
        await box.fleet.until(lambda: len(box.mailbox.records[box.settings.jobs_topic]) > before, "jobs are in the log")

        async def is_full() -> bool:
            status, _, headers = await box.send(gateway, "POST", "/comparison", box.request())
            return status == 429 and headers["Retry-After"] == "5"

        await box.fleet.until(is_full, "the queue is full")


async def test_what_is_not_answered_in_its_time_to_live_is_answered_with_an_error_within_it(
    broker: str, tmp_path: Path
) -> None:
    async with post_box(broker, tmp_path, latency_seconds=3600.0, time_to_live_minutes=0.2) as box:
        (gateway,) = await box.fleet.start(1)
        body = box.request()
        assert await box.post(gateway, body) == 202
        await box.all_answered(12)
        assert box.answer(body["correlation_id"])["error_detail"]["error_code"] == "TIMEOUT"


async def test_limits_set_at_one_gateway_hold_at_all_of_them(broker: str, tmp_path: Path) -> None:
    async with post_box(broker, tmp_path, operator_token=TOKEN) as box:
        first, second = await box.fleet.start(2)
        limits = {"scope": "mock/simulated", "requests_per_minute": 60}
        assert (await box.send(first, "PUT", "/api/v1/limits", limits))[0] == 401
        allowed = {"Authorization": f"Bearer {TOKEN.get_secret_value()}"}
        assert (await box.send(first, "PUT", "/api/v1/limits", limits, **allowed))[0] == 202
        for gateway in (first, second):
            assert await box.post(gateway, box.request()) == 202

        async def known(gateway: WorkerProcess) -> bool:
            _, answer, _ = await box.send(gateway, "GET", "/scopes")
            return [scope["requests_per_minute"] for scope in answer["scopes"]] == [60]

        for gateway in (first, second):
            await box.fleet.until(partial(known, gateway), "it knows the limit")

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.installation.stage import new_request, staged

from cj_stream.contracts.request_reader import RequestedOverrides
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka


def asks_the_ill_model(body: dict[str, Any]) -> bool:
    return bool(body["llm_config_overrides"].get("model_override") == "ill")


async def test_a_model_that_fails_holds_up_no_batch_of_another_and_fails_its_own(
    settings: Settings, tmp_path: Path
) -> None:
    timings: dict[str, Any] = {
        "comparison_deadline_minutes": 5 / 60,
        "max_attempts": 1,
        "breaker_failures": 3,
        "breaker_seconds": 1,
    }
    async with staged(settings, tmp_path, submission_workers=4, **timings) as stage:
        stage.provider.refuses = asks_the_ill_model
        await stage.fleet.start()
        await stage.ask(new_request("ill", 12, overrides=RequestedOverrides(model="ill")))

        async def held_up() -> bool:
            return await stage.fleet.metric("cj_breaker_state", scope="openai/ill") > 0

        await stage.fleet.until(held_up, "the breaker of the ill model opens")
        await stage.ask(new_request("well", 6, overrides=RequestedOverrides(model="well")))
        await stage.ended("well")
        ill = await stage.fleet.batch("ill")
        assert ill is not None
        assert stage.mailbox.outcome_records("completed")
        explained = await stage.fleet._page("/batches/ill/explain")
        assert explained is not None
        if explained["breaker"] is not None:
            assert (explained["breaker"]["scope"], explained["breaker"]["failures_of"]) == ("openai/ill", "ill")
            assert "out of order" in explained["breaker"]["why"]

        await stage.ended("ill")
        (failed,) = stage.mailbox.outcomes("failed", "ill")
        assert failed["data"]["system_metadata"]["error_info"]["reason"] == "low_success_rate"
        errors = [row["error_message"] for row in await stage.fleet.comparisons("ill") if row["error_code"]]
        assert len(errors) >= 10
        assert all("out of order" in error for error in errors)
        log = stage.fleet.tails(10_000)
        for change in ("opens", "is probed"):
            assert f"the circuit breaker {change}" in log


async def test_refusals_for_everybody_cost_no_attempt_when_they_end_before_the_deadline(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path, breaker_failures=3, breaker_seconds=1) as stage:
        stage.provider.refuses = lambda _: True
        await stage.fleet.start()
        names = ("one", "two")
        for name in names:
            await stage.ask(new_request(name, 6, overrides=RequestedOverrides(model=name)))

        async def probed_in_vain() -> bool:
            return stage.provider.refused > 8

        await stage.fleet.until(probed_in_vain, "both models are probed in vain")
        stage.provider.refuses = lambda _: False
        await stage.ended(*names)
        for name in names:
            rows = await stage.fleet.comparisons(name)
            assert {(row["status"], row["attempt"]) for row in rows} == {("JUDGED", 1)}
        assert "the circuit breaker closes" in stage.fleet.tails(10_000)

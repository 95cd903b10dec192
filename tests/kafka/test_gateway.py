"""The gateway on a real broker: what it has accepted is answered, whoever is killed."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from fake_endpoint import FakeEndpoint
from gateway_runs.kills import Kills, check
from gateway_runs.post_box import at_once, post_box

from cj_stream.contracts.callbacks import read_callback

pytestmark = pytest.mark.kafka


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


@pytest.mark.parametrize(
    ("comparisons", "kills"), [(120, 4), pytest.param(500, 20, marks=pytest.mark.soak)], ids=["short", "long"]
)
async def test_everything_accepted_is_answered_and_no_more_is_paid_twice_than_was_told_whoever_is_killed(
    broker: str, tmp_path: Path, comparisons: int, kills: int
) -> None:
    seed = 1
    print(f"seed {seed}")  # noqa: T201 -- pytest shows it when the test fails
    async with FakeEndpoint() as endpoint:
        judge = f"m=openai:model=fake,base_url={endpoint.url}/v1,price_in=1,price_out=1"
        async with post_box(broker, tmp_path, judges=(judge,), calls_at_once=8) as box:
            await box.fleet.start(2)
            played = await Kills(box, endpoint, Random(seed)).play(comparisons, kills)
            check(box, played)
            assert len(box.accepted) == comparisons

"""Gateways that are killed on a real broker, with an endpoint that counts what it is asked."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from gateway_runs.kills import Kills, check
from gateway_runs.post_box import post_box
from support.http.fake_endpoint import FakeEndpoint

pytestmark = pytest.mark.kafka


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

"""Gateways that are killed at any moment, without a broker: hundreds of them in seconds."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from random import Random

import pytest
from gateway_runs.rig import Rig, ScriptedJudge
from structlog.testing import capture_logs

from cj_stream.gateway.judges import Answer, Question

COMPARISONS, KILLS, AT_ONCE = 500, 20, 8


class Slow(ScriptedJudge):
    """Takes its time, and counts what it was asked, whoever asked."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random

    async def judge(self, question: Question) -> Answer:
        answer = await super().judge(question)
        await asyncio.sleep(self.random.choice((0, 0, 0.001, 0.004)))
        return answer


@pytest.mark.parametrize("seed", range(5))
async def test_each_is_answered_and_only_calls_under_way_at_a_kill_are_paid_for_twice(seed: int) -> None:
    random = Random(seed)
    judge = Slow(random)
    rig = Rig(judge, at_once=AT_ONCE)

    async def takes_a_moment() -> None:
        await asyncio.sleep(random.choice((0, 0, 0, 0.0005)))

    rig.pause = takes_a_moment
    accepted: dict[str, str] = {}
    with capture_logs() as logs:
        at = set(random.sample(range(COMPARISONS), KILLS))
        for number in range(COMPARISONS):
            accepted[await rig.ask(f"essay-{number}", f"batch-{number % 3}")] = f"essay-{number}"
            await asyncio.sleep(random.choice((0, 0.001)))
            if number in at:
                rig = rig.killed()
        async with asyncio.timeout(30):
            while not all(rig.job(job_id).published for job_id in accepted):  # noqa: ASYNC110 (no event tells of it)
                await asyncio.sleep(0.005)
    copies = defaultdict(set)
    for value in rig.published:
        copies[json.loads(value)["data"]["correlation_id"]].add(value)
    assert copies.keys() == accepted.keys()
    assert {len(found) for found in copies.values()} == {1}
    told = sum(entry["calls"] for entry in logs if "calls" in entry)
    asked = Counter(judge.calls)
    assert told
    assert sum(count - 1 for count in asked.values()) <= told <= KILLS * AT_ONCE
    for job_id, essay in accepted.items():
        assert asked[essay] <= rig.job(job_id).paid

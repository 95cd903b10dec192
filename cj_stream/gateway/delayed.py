"""The time that a judge takes which calls nothing: so that what waits for it looks as it does with a model."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from cj_stream.gateway.chance import lognormal
from cj_stream.gateway.judges import Answer, Judge, Question, Unlimited


@dataclass(frozen=True)
class Latency:
    """Seconds for a verdict: lognormal, and always the same for the same pair in the same order."""

    median_seconds: float = 1.0
    sigma: float = 0.5
    seed: int = 0

    def seconds(self, question: Question) -> float:
        """Return the latency of this question."""
        return lognormal(self.median_seconds, self.sigma, self.seed, "latency", question.first, question.second)


class Delayed(Unlimited):
    """A judge that takes its time."""

    def __init__(self, judge: Judge, latency: Latency) -> None:
        self._judge = judge
        self._latency = latency
        self.scope = judge.scope

    async def judge(self, question: Question) -> Answer:
        """Return what the judge behind says, after a while."""
        await asyncio.sleep(self._latency.seconds(question))
        return await self._judge.judge(question)

"""Gateways that are killed while comparisons come: each that was accepted is answered, and few are paid for twice.

A kill comes at one of four points of the life of a comparison: it was accepted, its call has reached the endpoint, the
endpoint has answered, its callback was published. What the endpoint was asked is counted there.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from itertools import cycle
from random import Random

from gateway_runs.post_box import PostBox
from support.http.fake_endpoint import Asked, FakeEndpoint
from support.installation.fleet import WorkerProcess

POINTS = ("accepted", "called", "judged", "published")
_IN_DOUBT = re.compile(r"calls were under way.*?calls=(?:\x1b\[\d+m)*(\d+)")


@dataclass
class Played:
    """What came of it: how often each was asked about, and how many calls were told to be in doubt."""

    asked: Counter[str] = field(default_factory=Counter)
    kills: list[str] = field(default_factory=list)
    told: int = 0

    @property
    def paid_twice(self) -> int:
        """How many calls were made again."""
        return sum(count - 1 for count in self.asked.values())


class Kills:
    """Kills and starts again a gateway at each of so many points, while so many comparisons are asked for."""

    def __init__(self, box: PostBox, endpoint: FakeEndpoint, random: Random) -> None:
        self._box = box
        self._endpoint = endpoint
        self._random = random
        self._played = Played()
        endpoint.manners.seconds = 0.0
        endpoint.manners.fault = self._take_time

    async def play(self, comparisons: int, kills: int) -> Played:
        """Return what came of it, when all that was accepted is answered."""
        asking = asyncio.create_task(self._ask(comparisons))
        for point in self._points(kills, comparisons):
            await self._reached(*point)
            await self._kill(point[0])
        await asking
        await self._box.fleet.ready()
        await self._box.all_answered(120)
        await self._box.fleet.until(self._box.mailbox.is_all_read, "all is read")
        self._played.asked = Counter(asked.correlation_id for asked in self._endpoint.asked)
        logs = "".join(worker.log for worker in self._box.fleet.workers)
        self._played.told = sum(map(int, _IN_DOUBT.findall(logs)))
        return self._played

    async def _take_time(self, _asked: Asked) -> None:
        await asyncio.sleep(self._random.uniform(0.05, 0.6))

    async def _ask(self, comparisons: int) -> None:
        for number in range(comparisons):
            body = self._box.request(f"batch-{number % 3}", f"essay-{number}")
            # Who gets no answer asks again, as the worker does, and asks any gateway.
            while await self._box.post(self._random.choice(self._running()), body) != 202:  # noqa: ASYNC110 (HTTP)
                await asyncio.sleep(0.1)
            if self._random.random() < 0.1:
                await self._box.post(self._random.choice(self._running()), body)
            await asyncio.sleep(self._random.uniform(0, 0.05))

    def _running(self) -> list[WorkerProcess]:
        return [worker for worker in self._box.fleet.workers if worker.runs]

    def _points(self, kills: int, comparisons: int) -> list[tuple[str, int]]:
        """Return points of each kind, spread over the comparisons in order."""
        at = sorted(self._random.sample(range(5, comparisons - 5), kills))
        return list(zip(cycle(POINTS), at))

    async def _reached(self, point: str, number: int) -> None:
        counted = {
            "accepted": lambda: len(self._box.accepted),
            "called": lambda: len(self._endpoint.asked),
            "judged": lambda: len(self._endpoint.judged),
            "published": lambda: len(self._box.answers()),
        }
        await self._box.fleet.until(lambda: counted[point]() >= number, f"{number} are {point}", 120)

    async def _kill(self, point: str) -> None:
        worker = self._random.choice(self._running())
        worker.kill()
        self._played.kills.append(f"{worker.name} when some were {point}")
        worker.start()
        if self._random.random() < 0.7:
            await self._box.fleet.ready()


def check(box: PostBox, played: Played) -> None:
    """Assert that each is answered once or in equal copies, and that what was paid for twice was told."""
    answers = box.answers()
    assert not box.accepted.keys() - answers.keys()
    assert {len(set(copies)) for copies in answers.values()} == {1}
    most = len(played.kills) * box.settings.calls_at_once
    assert played.paid_twice <= min(played.told, most), (played.paid_twice, played.told, played.kills)

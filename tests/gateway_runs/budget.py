"""A budget that two gateways share: workers that ask for more than it allows, and what the endpoint was asked.

The endpoint counts any 60 seconds, and refuses what is beyond.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from gateway_runs.post_box import post_box
from support.http.fake_endpoint import FakeEndpoint
from support.installation.fleet import Fleet
from support.installation.own_topics import own_topics
from support.installation.stage import new_request
from support.installation.topic_mailbox import Mailbox

from cj_stream.contracts.request_reader import RequestedOverrides
from cj_stream.contracts.request_writer import write_request
from cj_stream.operations.settings import Settings

REQUESTS, TOKENS = 600, 200_000
"""A minute."""
WARM_UP_SECONDS = 10.0
BATCHES = ("alpha", "beta")
ESSAYS = 100
TEXT = "A text of batch {batch}, of some length, with quality {quality}. "


class Used(NamedTuple):
    """What the endpoint answered, a minute, and to whom; how often it was asked too much."""

    requests: float
    tokens: float
    too_many: int
    by_batch: dict[str, int]

    @property
    def of_the_limit(self) -> float:
        """What was used of the limit that binds."""
        return max(self.requests / REQUESTS, self.tokens / TOKENS)

    @property
    def largest_share(self) -> float:
        """How far the share of a batch is from an equal one, at the most."""
        equal = sum(self.by_batch.values()) / len(BATCHES)
        return max(abs(self.by_batch.get(batch, 0) - equal) / equal for batch in BATCHES)


async def use_budget(bootstrap: str, folder: Path, *, seconds: float, workers: int, sentences: int = 4) -> Used:
    """Have two batches use a budget for so long; ``sentences`` is the length of their texts."""
    async with (
        FakeEndpoint(requests_per_minute=REQUESTS, tokens_per_minute=TOKENS, seconds=0.4) as endpoint,
        own_topics(bootstrap, folder, **_asking()) as settings,
    ):
        judge = f"m=openai:model=fake,base_url={endpoint.url}/v1,price_in=1,price_out=1,rpm={REQUESTS},tpm={TOKENS}"
        own = {"judges": (judge,), "callback_topics": (settings.llm_provider_callback_topic,)}
        gateways, fleet_folder = folder / "gateways", folder / "workers"
        gateways.mkdir()
        fleet_folder.mkdir()
        async with post_box(bootstrap, gateways, **own) as box:
            urls = [f"{gateway.url}/api/v1" for gateway in await box.fleet.start(2)]
            content = folder / "content"
            _write_texts(content, sentences)
            placed = settings.model_copy(update={"content_service_url": f"file:{content}"})
            async with Mailbox(placed) as mailbox, Fleet(placed, fleet_folder) as fleet:
                for number in range(workers):
                    fleet.worker(llm_provider_service_url=urls[number % len(urls)]).start()
                await fleet.ready()
                await _ask(mailbox, placed)
                await fleet.until(lambda: bool(endpoint.judged), "the endpoint is asked", 60)
                began = endpoint.judged[0][0] + WARM_UP_SECONDS
                await asyncio.sleep(WARM_UP_SECONDS + seconds + 1)
                return _used(endpoint, began, seconds)


def _asking() -> dict[str, object]:
    """Return settings with which a batch has enough to ask for ten minutes, and does not end before."""
    return {
        "comparisons_per_essay": 80,
        "random_iterations": 5,
        "stop_rules": (),
        "session_timeout_seconds": 6.0,
        "heartbeat_seconds": 1.0,
        "default_llm_model": "m",
    }


def _write_texts(content: Path, sentences: int) -> None:
    content.mkdir()
    for batch in BATCHES:
        for number in range(ESSAYS):
            text = TEXT.format(batch=batch, quality=number) * sentences
            (content / f"essay-{number}-of-{batch}.txt").write_text(text)


async def _ask(mailbox: Mailbox, settings: Settings) -> None:
    for batch in BATCHES:
        request = new_request(batch, ESSAYS, overrides=RequestedOverrides(model="m"))
        value = write_request(request, uuid4())
        await mailbox.send(settings.assessment_request_topic, value, key=batch.encode())


def _used(endpoint: FakeEndpoint, began: float, seconds: float) -> Used:
    batch_of = {
        asked.correlation_id: next(batch for batch in BATCHES if f"batch {batch}" in asked.prompt)
        for asked in endpoint.asked
    }
    counted = [found for found in endpoint.judged if began <= found[0] < began + seconds]
    minutes = seconds / 60
    by_batch = Counter(batch_of[correlation_id] for _, correlation_id, _ in counted)
    tokens = sum(tokens for _, _, tokens in counted)
    return Used(len(counted) / minutes, tokens / minutes, endpoint.too_many, dict(by_batch))

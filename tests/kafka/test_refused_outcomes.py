from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.domain.oracle import expected_batch
from support.installation.counting_provider import CountingProvider, judge_of
from support.installation.stage import Stage, batches_everywhere, document_of, new_request, staged, staged_with
from support.installation.topic_config import configure

from cj_stream.domain.batch import Batch
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

OPERATOR = "an operator"
SMALL = 1_100
"""Bytes, as they are sent: more than the result of two essays has, and less than that of forty."""
FIVE_HOURS = 5 * 3600


class Pages:
    """What the one worker's pages say."""

    def __init__(self, stage: Stage, http: aiohttp.ClientSession) -> None:
        self._http = http
        self._stage = stage

    @property
    def _url(self) -> str:
        return next(worker.url for worker in self._stage.fleet.workers if worker.runs)

    async def get(self, path: str) -> Any:
        async with self._http.get(self._url + path) as response:
            return await response.json()

    async def retry(self, batch_id: str) -> None:
        headers = {"Authorization": f"Bearer {OPERATOR}"}
        async with self._http.post(f"{self._url}/batches/{batch_id}/retry", headers=headers) as response:
            assert response.status == 202, await response.text()

    async def degraded(self) -> dict[str, str]:
        """The conditions by kind and subject, and the words of each."""
        found = (await self.get("/healthz/ready"))["degraded"]
        return {f"{each['kind']} {each['subject']}": each["what"] for each in found}

    async def judged(self, batch_id: str) -> bool:
        return bool((await self.get(f"/batches/{batch_id}")).get("state") == "COMPLETED")


@asynccontextmanager
async def pages(stage: Stage) -> AsyncIterator[Pages]:
    async with aiohttp.ClientSession() as http:
        yield Pages(stage, http)


async def test_an_outcome_that_its_topic_does_not_take_ends_with_its_batch_and_harms_no_other(
    settings: Settings, tmp_path: Path
) -> None:
    topic = settings.assessment_result_topic
    async with staged(settings, tmp_path, operator_token=OPERATOR) as stage, pages(stage) as shown:
        (worker,) = await stage.fleet.start()
        # Nobody can know it when the requests are taken: the topic is changed while the workers run.
        await configure(settings.kafka_bootstrap, topic, max_message_bytes=SMALL)
        home = batches_everywhere(5, stage.settings)
        large, small = home[0], home[4]
        requests = [new_request(large, 40, max_comparisons=40), new_request(small, 2)]
        for request in requests:
            await stage.ask(request)

        async def told() -> bool:
            thin_events = [document_of(record.value) for record in stage.mailbox.outcome_records("completed")]
            thin = {event["data"]["entity_id"] for event in thin_events}
            return {large, small} <= thin and bool(stage.mailbox.outcomes("result", small))

        await stage.fleet.until(told, "both are told of, and the small one has its result")
        stage.check_outcome(await expected_batch(requests[1], stage.settings, judge_of()))
        assert stage.mailbox.outcomes("result", large) == []

        async def recorded() -> bool:
            return bool((await shown.get(f"/batches/{large}/explain"))["unpublishable"])

        await stage.fleet.until(recorded, "the refusal is recorded")
        explained = await shown.get(f"/batches/{large}/explain")
        (refused,) = explained["unpublishable"]
        assert refused["outcome"].startswith("result:")
        assert "max.message.bytes" in refused["why"]
        assert explained["effects_to_do"] == []
        assert "`retry` publishes them again" in explained["hints"][0]
        (outcome,) = [each for each in (await shown.get(f"/batches/{large}"))["outcomes"] if not each["published"]]
        assert (outcome["kind"], topic in outcome["refused"]) == ("result", True)
        assert await stage.fleet.metric("cj_unpublished_total", what="result") == 1.0
        assert "an outcome is not published" in worker.log
        await stage.settled()

        # A dead letter is cut to what its topic takes.
        await configure(
            settings.kafka_bootstrap, settings.dead_letters_topic, max_message_bytes=SMALL, retention_ms=3_600_000
        )
        await stage.mailbox.send(settings.assessment_request_topic, bytes(range(256)) * 400, key=b"no request")
        await stage.fleet.until(lambda: bool(stage.mailbox.dead_letters), "the dead letter is kept")
        (letter,) = stage.mailbox.dead_letters
        assert (letter.size, letter.is_whole) == (256 * 400, False)

        # Put right, an operator has it published after all.
        await configure(settings.kafka_bootstrap, topic, max_message_bytes=1_000_000)
        await shown.retry(large)
        await stage.ended(large)
        stage.check_outcome(await expected_batch(requests[0], stage.settings, judge_of()))

        # A worker that knows the limit refuses what could not be told, before it costs anything.
        await configure(settings.kafka_bootstrap, topic, max_message_bytes=SMALL)
        worker.terminate()
        await stage.fleet.ended(worker)
        worker.start()
        await stage.fleet.ready()
        asked = stage.provider.requests.copy()
        await stage.ask(new_request("too-large", 60))
        await stage.fleet.until(lambda: bool(stage.mailbox.outcomes("failed", "too-large")), "the request is refused")
        (failed,) = stage.mailbox.outcomes("failed", "too-large")
        error = failed["data"]["system_metadata"]["error_info"]
        assert error["details"]["reason"] == "outcome_too_large"
        assert "split the batch" in error["error_message"]
        assert stage.provider.requests == asked


async def test_a_clock_five_hours_ahead_is_told_and_keeps_no_outcome_from_going_out(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOCK_AHEAD", str(FIVE_HOURS))
    # As Kafka 4 has it by default.
    for topic in (settings.assessment_completed_topic, settings.assessment_result_topic):
        await configure(settings.kafka_bootstrap, topic, message_timestamp_after_max_ms=3_600_000)
    provider = CountingProvider(settings)
    async with staged_with(provider, settings, tmp_path, app="support.apps.clock_app") as stage, pages(stage) as shown:
        monkeypatch.setenv("CLOCK_TRUSTED", "yes")
        (worker,) = await stage.fleet.start()
        requests = [new_request(batch_id, 4) for batch_id in batches_everywhere(3, stage.settings)]
        for request in requests:
            await stage.ask(request)

        async def all_judged() -> bool:
            return all([await shown.judged(request.batch_id) for request in requests])

        await stage.fleet.until(all_judged, "every batch is judged, although none can be told")

        async def refused() -> bool:
            return f"topic_refuses {settings.assessment_result_topic}" in await shown.degraded()

        await stage.fleet.until(refused, "the topics refuse")
        degraded = await shown.degraded()
        assert f"{FIVE_HOURS} s ahead of the broker's" in degraded["clock clock"]
        assert f"{FIVE_HOURS} s ahead of the broker's" in degraded[f"topic_refuses {settings.assessment_result_topic}"]
        explained = await shown.get(f"/batches/{requests[0].batch_id}/explain")
        assert "message.timestamp.after.max.ms" in explained["postponed"]
        assert explained["unpublishable"] == []
        assert stage.mailbox.outcome_records("completed") == []

        # The same machine, with the service going by the broker's clock.
        monkeypatch.delenv("CLOCK_TRUSTED")
        worker.terminate()
        assert await stage.fleet.ended(worker) == 0
        worker.start()
        await stage.fleet.ready()
        await stage.ended(*(request.batch_id for request in requests))
        expected: list[Batch] = [await expected_batch(request, stage.settings, judge_of()) for request in requests]
        for batch in expected:
            stage.check_outcome(batch)
        assert list(await shown.degraded()) == ["clock clock"]

"""Keys, and the texts of pupils, are in no log, metric, dead letter, answer, topic or process list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from pydantic import SecretStr
from support.installation.counting_provider import CountingProvider
from support.installation.stage import new_request, staged_with
from support.installation.topics_read import bytes_of

from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

pytestmark = pytest.mark.kafka

TEXT = "canary-text: the smugglers came at night and my brother saw them"
SENT = "canary-body: what somebody sends who has no token"
KEYS = {
    "operator_token": "canary-operator-8f0c",
    "reader_token": "canary-reader-2d7e",
    "correlation_key": "canary-correlation-55a1",
}
PAGES = ("", "/comparisons", "/explain", "/result", "/comparisons?status=nonsense")
OTHER_PAGES = ("/", "/batches", "/metrics", "/partitions", "/healthz/live", "/healthz/ready")


class Quoting(CountingProvider):
    """A provider that never takes the first pair it was asked for, and at times no other: then it quotes the prompt."""

    asked = 0
    unwanted = ""

    @web.middleware
    async def _count(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if request.method == "POST":
            self.asked += 1
            body = await request.json()
            # What is told is short, so the texts come first.
            prompt = body["user_prompt"][body["user_prompt"].index(TEXT) :]
            pair = f"{body['metadata']['essay_a_id']} {body['metadata']['essay_b_id']}"
            self.unwanted = self.unwanted or pair
            if pair == self.unwanted:
                return web.json_response({"error": f"cannot read: {prompt}", "details": prompt}, status=400)
            if self.asked % 6 == 0:
                return web.Response(text=f"<h1>Oops</h1>{prompt}", status=500)
        return await super()._count(request, handler)


async def test_neither_keys_nor_texts_are_where_others_may_look(settings: Settings, tmp_path: Path) -> None:
    keys: dict[str, Any] = {name: SecretStr(key) for name, key in KEYS.items()}
    provider = Quoting(settings)
    async with staged_with(provider, settings, tmp_path, log_level="DEBUG", **keys) as stage:
        (worker,) = await stage.fleet.start(1)
        request = new_request("batch-1", 6)
        for essay in request.essays:
            (stage.content / f"{essay.text_storage_id}.txt").write_text(f"{TEXT}\n\nThis is {essay.essay_id}.")
        await stage.ask(request)
        for topic in (stage.settings.assessment_request_topic, stage.settings.llm_provider_callback_topic):
            await stage.mailbox.send(topic, b"not JSON", key=b"batch-1", partition=0)
        await stage.ended("batch-1")
        assert provider.asked > 6

        answers = await _pages(worker.url)
        assert any("[...]" in answer for answer in answers), "what the provider has said is shown, but for the text"
        topics = [await bytes_of(stage.settings, spec.name) for spec in registry(stage.settings)]
        where = {
            "the log": worker.log.encode(),
            "the answers": "\n".join(answers).encode(),
            "the topics": b"\n".join(topics),
            "the command lines": b"\n".join(_command_lines()),
        }
        for place, found in where.items():
            for secret in (TEXT[:20], SENT, *KEYS.values()):
                assert secret.encode() not in found, f"{secret} is in {place}"


async def _pages(url: str) -> list[str]:
    """Return what the worker answers: to who may read, and to who may not."""
    pages = [
        *(f"/batches/batch-1{page}" for page in PAGES),
        "/",
        "/batches",
        "/metrics",
        "/partitions",
        "/healthz/ready",
    ]
    found = []
    async with aiohttp.ClientSession() as http:
        for page in pages:
            for token in (KEYS["reader_token"], "nonsense"):
                async with http.get(url + page, headers={"Authorization": f"Bearer {token}"}) as answer:
                    found.append(f"{answer.headers} {await answer.text()}")
        async with http.post(f"{url}/batches/batch-1/cancel", data=SENT) as answer:
            found.append(await answer.text())
    return found


def _command_lines() -> Iterator[bytes]:
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield process.read_bytes()
        except OSError:  # it has ended meanwhile
            continue

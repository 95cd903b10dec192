"""What comes over HTTP is read up to a limit, and no redirect is followed: provider, content, workers, commands."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import aiohttp
import pytest
import stamina
from support.http.hostile_http import BOMB_BYTES, HostileServer, bomb

from cj_stream.cli.shared.views_client import ViewError, ViewsClient
from cj_stream.content.client import ContentClient, ContentUnavailable, TextMissing
from cj_stream.contracts.comparison_api import NotAccepted
from cj_stream.engine.foreign_answers import (
    AnswerTooLargeError,
    RedirectedError,
    body_of,
)
from cj_stream.engine.overrides.membership import _answers
from cj_stream.operations.settings import Settings
from cj_stream.provider.client import ProviderClient, Submission

LIMIT = 100_000
MEMORY = 40 * 1024**2
"""Bytes that reading an answer may take at most: the limit of a text or a verdict, and aiohttp's buffers."""
REDIRECTS = ["301", "302", "303", "307", "308"]
VERDICT = json.dumps({"winner": "Essay A", "confidence": 4.0, "justification": "", "provider": "x", "model": "y"})
SUBMISSION = Submission(
    correlation_id=UUID("38f2536d-662e-47cd-8377-48fed20c5b1f"),
    batch_id="batch-1",
    job_id="batch-1-1",
    essay_a_id="a",
    essay_b_id="b",
    text_a="One text.",
    text_b="Another.",
)


@pytest.fixture(autouse=True)
def _no_waiting_between_tries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=2):
        yield


@contextmanager
def little_memory() -> Iterator[None]:
    """Assert that what is done takes little memory at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MEMORY
    finally:
        tracemalloc.stop()


async def body(url: str, limit: int = LIMIT) -> bytes:
    async with aiohttp.ClientSession() as http, http.get(url, allow_redirects=False) as response:
        return await body_of(response, limit)


async def test_a_body_is_read_whole_up_to_its_limit() -> None:
    server = HostileServer("200", body=b"x" * LIMIT)
    async with server.serving() as base:
        assert await body(base) == b"x" * LIMIT
        with pytest.raises(AnswerTooLargeError, match=f"{base} answers with more than {LIMIT - 1} bytes"):
            await body(base, LIMIT - 1)


def test_the_bomb_is_small_and_unpacks_to_two_gigabytes() -> None:
    assert len(bomb()) < 3 * 1024**2
    assert BOMB_BYTES == 2 * 1024**3


@pytest.mark.parametrize("way", ["bomb", "endless"])
async def test_of_a_body_beyond_the_limit_little_more_is_read(way: str) -> None:
    server = HostileServer(way)
    async with server.serving() as base:
        with little_memory(), pytest.raises(AnswerTooLargeError):
            await body(base)
    assert server.sent < 32 * 1024**2


@pytest.mark.parametrize(
    ("location", "named"),
    [
        ("https://user:secret@elsewhere.example:8443/v1?token=secret", "https://elsewhere.example:8443"),
        ("//elsewhere.example/x", "http://elsewhere.example"),
        ("mailto:x@y", "a mailto address"),
        ("http://[::1", "nowhere"),
    ],
)
async def test_a_redirect_is_named_by_its_host_without_what_is_secret_in_it(location: str, named: str) -> None:
    async with HostileServer("302", location=location).serving() as base:
        with pytest.raises(RedirectedError) as caught:
            await body(base)
    assert str(caught.value) == f"{base} answers with a redirect (302) to {named}"


# --- Who asks ---------------------------------------------------------------------------------------------------------


async def submitted(base: str) -> NotAccepted:
    async with ProviderClient(Settings(llm_provider_service_url=base)) as provider:
        answer = await provider.submit(SUBMISSION)
        assert provider.held_up(SUBMISSION.overrides) is None
    assert isinstance(answer, NotAccepted)
    return answer


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_redirect_of_the_provider_is_a_wrong_address_and_never_a_verdict(status: str) -> None:
    server = HostileServer(status, body=VERDICT.encode())
    async with server.serving() as base:
        answer = await submitted(base)
    assert (answer.kind, answer.code) == ("refused", "REDIRECTED")
    assert f"({status}) to {base}" in answer.message
    assert "CJ_LLM_PROVIDER_SERVICE_URL" in answer.message
    assert server.asked == [("POST", "/api/v1/comparison")]


@pytest.mark.parametrize("status", [200, 202, 400])
@pytest.mark.parametrize("way", ["bomb", "endless"])
async def test_an_answer_of_the_provider_beyond_all_measure_is_an_unreadable_one(way: str, status: int) -> None:
    async with HostileServer(way, status=status).serving() as base:
        with little_memory():
            answer = await submitted(base)
    assert (answer.kind, answer.code) == ("refused" if status == 400 else "failed", f"HTTP_{status}")
    assert f"{base} answers with more than 524288 bytes" in answer.message


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_redirect_of_the_content_service_is_a_wrong_address(status: str) -> None:
    server = HostileServer(status, body=b"the text of somebody else")
    async with server.serving() as base, ContentClient(Settings(content_service_url=base)) as content:
        for asking in (content.text("an-id"), content.store("text")):
            with pytest.raises(ContentUnavailable, match="CJ_CONTENT_SERVICE_URL") as caught:
                await asking
            assert f"({status}) to {base}" in str(caught.value)
    assert {path for _, path in server.asked} == {"/v1/content/an-id", "/v1/content"}


@pytest.mark.parametrize("way", ["bomb", "endless"])
async def test_a_text_beyond_all_measure_is_no_usable_text(way: str) -> None:
    async with HostileServer(way).serving() as base, ContentClient(Settings(content_service_url=base)) as content:
        with little_memory(), pytest.raises(TextMissing, match="longer than"):
            await content.text("an-id")


@pytest.mark.parametrize("way", ["bomb", "endless"])
async def test_a_failing_content_service_that_talks_without_end_says_nothing_about_the_text(way: str) -> None:
    server = HostileServer(way, status=500)
    async with server.serving() as base, ContentClient(Settings(content_service_url=base)) as content:
        with little_memory(), pytest.raises(ContentUnavailable, match="answered 500"):
            await content.text("an-id")


@pytest.mark.parametrize("way", ["bomb", "endless", *REDIRECTS])
async def test_a_command_takes_no_bomb_and_follows_no_redirect(way: str) -> None:
    server = HostileServer(way, body=b'{"batches": []}')
    async with server.serving() as base, ViewsClient([base]) as client:
        with pytest.raises(ViewError, match="answers with"):
            await client.batches()
        with pytest.raises(ViewError, match="answers with"):
            await client.command("cancel", "batch-1")
    assert "/elsewhere" not in {path for _, path in server.asked}


@pytest.mark.parametrize("way", ["bomb", "endless", *REDIRECTS])
async def test_who_answers_so_when_asked_for_a_worker_is_none(way: str) -> None:
    health = json.dumps({"worker_id": "worker-1"}).encode()
    async with HostileServer(way, body=health).serving() as base:
        with little_memory():
            assert not await _answers(base, "worker-1")
    async with HostileServer("200", body=health).serving() as base:
        assert await _answers(base, "worker-1")

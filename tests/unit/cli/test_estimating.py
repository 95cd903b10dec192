from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import msgspec
import pytest
from aiohttp import web

from cj_stream.agents.requests import requested
from cj_stream.cli.batches.estimating import Estimate, NoTermsError, estimated, told
from cj_stream.cli.batches.new_request import EssayText, Wishes, not_stored
from cj_stream.contracts.judge_terms import Terms, read_terms
from cj_stream.contracts.refusal import Refused
from cj_stream.domain.rehearsal import rehearsed
from cj_stream.operations.batch_policy import policy_of
from cj_stream.operations.settings import Settings

TERMS = Terms(
    provider="openai", model="m", input_price=1.0, output_price=10.0,
    bytes_per_token=4.0, output_tokens=50.0, overhead_bytes=400, calls=100,
)  # fmt: skip
TEXTS = [EssayText(f"essay-{number}", text="x" * (1000 + 100 * number)) for number in range(10)]
WISHES = Wishes("b", UUID(int=1), model="mini")
Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def gateway(handler: Handler) -> AsyncIterator[Settings]:
    app = web.Application()
    app.router.add_get("/api/v1/judges/mini", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Settings(llm_provider_service_url=f"http://127.0.0.1:{runner.addresses[0][1]}/api/v1")
    finally:
        await runner.cleanup()


def answering(**changes: Any) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(msgspec.to_builtins(TERMS) | changes)

    return answer


async def estimate(wishes: Wishes = WISHES, **changes: Any) -> Estimate:
    async with gateway(answering(**changes)) as settings:
        return await estimated(settings, TEXTS, wishes)


async def test_the_cost_is_that_of_the_comparisons_that_the_policy_plans() -> None:
    found = await estimate(WISHES._replace(max_comparisons=20))
    assert (found.comparisons, found.most_comparisons) == (20, 20)
    assert found.prompt_bytes > 2 * 1450, "two texts, and the rest of the prompt"
    each = (found.prompt_bytes + 400) / 4 * 1e-6 + 50 * 10e-6
    assert found.cost == found.most_cost == pytest.approx(20 * each)


async def test_an_early_end_costs_less_than_the_most() -> None:
    found = await estimate()
    assert 0 < found.comparisons <= found.most_comparisons <= 45, "ten essays have 45 pairs"
    assert "about" in told(found)[0]


async def test_an_unknown_price_is_said_and_not_taken_for_nothing() -> None:
    found = await estimate(input_price=None)
    assert (found.cost, found.most_cost) == (None, None)
    assert "cost: unknown" in told(found)[-1]


async def test_few_calls_make_a_guess() -> None:
    assert "a guess after 3 calls" in told(await estimate(calls=3))[-1]


@pytest.mark.parametrize("status", [404, 500, 302])
async def test_a_provider_without_prices_is_named(status: int) -> None:
    async def other(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": "/"})

    async with gateway(other) as settings:
        with pytest.raises(NoTermsError, match="/judges/mini"):
            await estimated(settings, TEXTS, WISHES)


async def test_a_gateway_that_is_not_there_is_named() -> None:
    async with gateway(answering()) as settings:
        pass
    with pytest.raises(NoTermsError, match="does not answer"):
        await estimated(settings, TEXTS, WISHES)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", msgspec.json.encode(TERMS).replace(b":4.0", b":0"), b'{"calls":' * 99]
)
def test_terms_that_are_none_are_refused(body: bytes) -> None:
    with pytest.raises(Refused):
        read_terms(body)


def test_terms_are_read_as_they_were_written() -> None:
    assert read_terms(msgspec.json.encode(TERMS)) == TERMS


def test_a_play_is_the_same_for_the_same_seed_and_ends_as_batches_do() -> None:
    settings = Settings()
    request = requested(not_stored(settings, TEXTS, WISHES))
    plays = [rehearsed(request, policy_of(settings), seed=seed) for seed in (1, 1, 2)]
    assert [play.finished for play in plays] == [True] * 3
    assert plays[0] == plays[1]
    assert plays[0] != plays[2]

"""A budget in money on a real installation: it ends the batch, the provider hears of it, and more money goes on."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import web
from support.installation.counting_provider import Callback, CountingProvider, Handler
from support.installation.stage import new_request, staged_with

from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

PRICE = 0.01


class PricedProvider(CountingProvider):
    """Says what each verdict costs, and notes what is called off."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.called_off: list[str] = []
        self._app.middlewares.append(self._note)

    async def say(self, value: bytes) -> None:
        metadata = Callback(value).document["data"]["request_metadata"] | {"cost_known": True}
        await super().say(Callback(value).changed(cost_estimate=PRICE, request_metadata=metadata))

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "DELETE":
            self.called_off.append(request.path)
            return web.Response(status=204)
        return await handler(request)


async def test_a_spent_budget_ends_the_batch_calls_the_rest_off_and_more_money_pays_nothing_twice(
    settings: Settings, tmp_path: Path
) -> None:
    provider = PricedProvider(settings)
    async with staged_with(provider, settings, tmp_path) as stage:
        await stage.fleet.start()
        await stage.ask(new_request("essays", 8, max_cost=10 * PRICE + PRICE / 2, priority=3))
        await stage.ended("essays")
        ended = await stage.fleet.batch("essays")
        assert ended is not None
        assert (ended["state"], ended["stop_reason"]) == ("COMPLETED", "money_spent")
        assert ended["cost"] == pytest.approx(10 * PRICE)
        assert ended["cost_known"]
        assert len(provider.submissions) == 10
        assert {body["metadata"]["priority"] for body in provider.requests.values()} == {3}
        assert provider.called_off == ["/api/v1/batch/essays-1"]

        before = {frozenset(pair_of(body)) for body in provider.requests.values()}
        provider.requests.clear()
        more = new_request("essays", 8, max_cost=5.0, correlation_id=uuid4())
        await stage.ask(more)
        await stage.fleet.until(lambda: len(stage.mailbox.outcomes("result", "essays")) == 2, "the second run ends")
        goes_on = await stage.fleet.batch("essays")
        assert goes_on is not None
        assert (goes_on["run"], goes_on["reused_comparisons"]) == (2, 10)
        assert provider.requests
        assert not before & {frozenset(pair_of(body)) for body in provider.requests.values()}
        assert goes_on["cost"] == pytest.approx(len(provider.requests) * PRICE)


def pair_of(body: dict[str, dict[str, str]]) -> tuple[str, str]:
    return body["metadata"]["essay_a_id"], body["metadata"]["essay_b_id"]

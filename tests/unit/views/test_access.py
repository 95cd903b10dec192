from __future__ import annotations

import gzip
import json

import pytest
from pydantic import SecretStr
from support.domain.story import BATCH, Story
from unit.views.served_views import TOKEN, Serve, Served

from cj_stream.engine.address import stays_here
from cj_stream.engine.partitioning import home_partition
from cj_stream.views.access import BODY_LIMIT

HOME = home_partition(BATCH, 8)
READER = "a-reader"
EVERYWHERE = "0.0.0.0"  # noqa: S104 (as in a container)
PAGES = (
    f"/batches/{BATCH}",
    f"/batches/{BATCH}/comparisons",
    f"/batches/{BATCH}/result",
    f"/batches/{BATCH}/explain",
    "/batches",
    "/partitions",
    "/metrics",
)


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(6)
    return story


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def opened(serve: Serve, story: Story, **settings: object) -> Served:
    worker = await serve(**settings)
    worker.open(HOME, story)
    return worker


@pytest.mark.parametrize("path", PAGES)
async def test_beyond_this_machine_a_page_is_for_readers_and_operators_only(
    serve: Serve, story: Story, path: str
) -> None:
    worker = await opened(serve, story, web_host=EVERYWHERE, reader_token=SecretStr(READER))
    refused = [await worker.page(path), await worker.page(path, headers=bearing("nonsense"))]
    assert [json.loads(text)["error"]["code"] for _, text in refused] == ["no_reader", "no_reader"]
    for token in (READER, TOKEN):
        headers, text = await worker.page(path, headers=bearing(token))
        assert "no_reader" not in text, token
        assert "WWW-Authenticate" not in headers


async def test_a_reader_commands_nothing(serve: Serve, story: Story) -> None:
    worker = await opened(serve, story, web_host=EVERYWHERE, reader_token=SecretStr(READER))
    status, found = await worker.ask(f"/batches/{BATCH}/cancel", "POST", headers=bearing(READER))
    assert (status, found["error"]["code"]) == (401, "wrong_token")
    assert worker.commands == []


async def test_beyond_this_machine_nobody_reads_where_no_token_is_set(serve: Serve, story: Story) -> None:
    worker = await opened(serve, story, web_host=EVERYWHERE, operator_token=None)
    status, found = await worker.ask("/batches", headers=bearing(""))
    assert (status, found["error"]["code"]) == (403, "reading_off")
    assert "CJ_READER_TOKEN" in found["error"]["message"]


async def test_on_this_machine_a_token_is_needed_once_it_is_set(serve: Serve, story: Story) -> None:
    without, with_one = await opened(serve, story), await opened(serve, story, reader_token=SecretStr(READER))
    assert (await without.ask("/batches"))[0] == 200
    assert (await with_one.ask("/batches"))[0] == 401
    assert (await with_one.ask("/batches", headers=bearing(READER)))[0] == 200


async def test_health_and_the_page_without_data_stay_open(serve: Serve, story: Story) -> None:
    worker = await opened(serve, story, web_host=EVERYWHERE, operator_token=None)
    assert (await worker.ask("/healthz/live"))[1]["status"] == "live"
    assert (await worker.ask("/healthz/ready"))[1]["status"] in ("ready", "not ready")
    assert BATCH not in (await worker.page("/"))[1]


async def test_workers_read_each_others_pages_with_their_token(serve: Serve, story: Story) -> None:
    needs = {"web_host": EVERYWHERE, "reader_token": SecretStr(READER)}
    owner, other = await opened(serve, story, **needs), await serve(**needs)
    other.knows({owner.url: [HOME]})
    headers = bearing(READER)

    _, listed = await other.ask("/batches", headers=headers)
    status, found = await other.ask(f"/batches/{BATCH}", headers=headers)

    assert [line["batch_id"] for line in listed["batches"]] == [BATCH]
    assert owner.url not in listed["workers_missing"]
    assert (status, found["batch_id"]) == (200, BATCH)


async def test_a_request_that_is_too_large_is_not_read(serve: Serve, story: Story) -> None:
    worker = await opened(serve, story)
    command = f"/batches/{BATCH}/cancel"

    async def endless() -> object:
        for _ in range(BODY_LIMIT // 1000 + 2):
            yield b" " * 1000

    packed = {**bearing(TOKEN), "Content-Encoding": "gzip"}
    for sent in (
        {"data": b" " * (BODY_LIMIT + 1), "headers": bearing(TOKEN)},
        {"data": endless(), "headers": bearing(TOKEN)},
        {"data": gzip.compress(b" " * 100 * BODY_LIMIT), "headers": packed},
    ):
        status, found = await worker.ask(command, "POST", **sent)
        assert (status, found["error"]["code"]) == (413, "request_entity_too_large")
    assert worker.commands == []
    assert (await worker.ask(command, "POST", data=b" " * BODY_LIMIT, headers=bearing(TOKEN)))[0] == 202


def test_only_loopback_stays_on_this_machine() -> None:
    assert [stays_here(host) for host in ("127.0.0.1", "::1", "localhost")] == [True] * 3
    assert [stays_here(host) for host in (EVERYWHERE, "::", "192.0.2.7", "no-such-host.invalid")] == [False] * 4

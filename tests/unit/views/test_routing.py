from __future__ import annotations

from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, Story, requested
from support.http.hostile_http import HostileServer
from unit.views.served_views import Serve, Served

from cj_stream.domain.events import OperatorCommand
from cj_stream.engine.partitioning import home_partition
from cj_stream.views.routing import ROUTED

HOME = home_partition(BATCH, 8)
HOSTILE = ["a/b", "a/result", "..", "../../etc/passwd", "%2F", "a?b#c", "<script>", "{x}", "a b+c&d=e", "å漢\n", "\\"]


@pytest.fixture
def story() -> Story:
    story = Story()
    story.start(6)
    return story


@pytest.fixture
async def owner(serve: Serve, story: Story) -> Served:
    served = await serve()
    served.open(HOME, story)
    return served


@pytest.fixture
async def other(serve: Serve, owner: Served) -> Served:
    served = await serve()
    group = {owner.url: [HOME], served.url: []}
    served.knows(group)
    owner.knows(group)
    return served


async def test_any_worker_answers_for_any_batch(owner: Served, other: Served, story: Story) -> None:
    story.play(judges)
    for page in ("", "/comparisons?limit=2&offset=1", "/result?run=1", "/explain"):
        assert await other.ask(f"/batches/{BATCH}{page}") == await owner.ask(f"/batches/{BATCH}{page}"), page


async def test_an_error_of_the_owner_comes_back_as_it_is(other: Served) -> None:
    status, found = await other.ask(f"/batches/{BATCH}/result")
    assert (status, found["error"]["code"]) == (409, "no_scores")


async def test_a_command_is_routed_with_its_body_and_token(owner: Served, other: Served) -> None:
    status, _ = await other.command(f"/batches/{BATCH}/cancel", data=b'{"reason": "enough"}')
    assert status == 202
    assert other.commands == []
    (command,) = (event for _, event in owner.commands)
    assert isinstance(command, OperatorCommand)
    assert command.reason == "enough"


async def test_a_command_without_the_token_does_not_even_make_the_hop(owner: Served, other: Served) -> None:
    owner.knows({})
    assert (await other.ask(f"/batches/{BATCH}/cancel", "POST"))[0] == 401


async def test_the_owner_checks_the_token_too(serve: Serve, story: Story) -> None:
    owner, other = await serve(operator_token=None), await serve()
    owner.open(HOME, story)
    other.knows({owner.url: [HOME]})
    assert (await other.command(f"/batches/{BATCH}/cancel"))[0] == 403


async def test_a_routed_request_is_never_routed_again(other: Served) -> None:
    status, found = await other.ask(f"/batches/{BATCH}", headers={ROUTED: "1"})
    assert (status, found["error"]["code"]) == (503, "partition_not_open")


async def test_two_workers_that_each_think_the_other_owns_it_give_up_after_one_hop(serve: Serve) -> None:
    first, second = await serve(), await serve()
    first.knows({second.url: [HOME]})
    second.knows({first.url: [HOME]})
    status, found = await first.ask(f"/batches/{BATCH}")
    assert (status, found["error"]["code"]) == (503, "partition_not_open")
    assert second.url in found["error"]["message"]


async def test_a_partition_of_its_own_that_is_not_open_yet_is_503(serve: Serve) -> None:
    worker = await serve()
    worker.assign(HOME)
    worker.knows({worker.url: [HOME]})
    status, found = await worker.ask(f"/batches/{BATCH}")
    assert (status, found["error"]["code"]) == (503, "partition_not_open")


async def test_an_unknown_owner_is_503(serve: Serve) -> None:
    status, found = await (await serve()).ask(f"/batches/{BATCH}")
    assert (status, found["error"]["code"]) == (503, "owner_unknown")


async def test_an_owner_that_does_not_answer_is_503_and_named(serve: Serve, unused_tcp_port: int) -> None:
    worker, gone = await serve(), f"http://127.0.0.1:{unused_tcp_port}"
    worker.knows({gone: [HOME]})
    read, told = await worker.ask(f"/batches/{BATCH}"), await worker.command(f"/batches/{BATCH}/cancel")
    assert (read[0], read[1]["error"]["code"]) == (503, "owner_not_reached")
    assert gone in read[1]["error"]["message"]
    assert "may have taken the command" in told[1]["error"]["message"]


@pytest.mark.parametrize("batch_id", HOSTILE)
async def test_any_batch_id_is_found_directly_and_over_a_hop(serve: Serve, batch_id: str) -> None:
    home, story = home_partition(batch_id, 8), Story()
    story.tell(requested(4, batch_id=batch_id))
    owner, other = await serve(), await serve()
    owner.open(home, story)
    other.knows({owner.url: [home]})
    for page in ("", "/explain"):
        path = f"/batches/{quote(batch_id, safe='')}{page}"
        for worker in (owner, other):
            status, found = await worker.ask(path)
            assert (status, found["batch_id"]) == (200, batch_id)
    assert (await other.command(f"/batches/{quote(batch_id, safe='')}/cancel"))[1]["batch_id"] == batch_id


async def test_nothing_but_the_token_and_the_type_of_the_body_is_passed_on(serve: Serve) -> None:
    seen: list[web.Request] = []

    async def owner(request: web.Request) -> web.Response:
        seen.append(request)
        return web.json_response({}, status=503, headers={"Retry-After": "1", "Set-Cookie": "a=b", "X-Inner": "c"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", owner)
    async with TestServer(app) as server:
        worker = await serve()
        worker.knows({str(server.make_url("")): [HOME]})
        sent = {"Authorization": "Bearer x", "Cookie": "session=1", "X-Forwarded-For": "1.2.3.4", "Host": "evil"}
        back, _ = await worker.page(f"/batches/{BATCH}", headers=sent)

    assert seen[0].headers["Authorization"] == "Bearer x"
    assert seen[0].headers[ROUTED] == "1"
    assert not {"Cookie", "X-Forwarded-For"} & set(seen[0].headers)
    assert seen[0].headers["Host"] != "evil"
    assert back["Retry-After"] == "1"
    assert not {"Set-Cookie", "X-Inner"} & set(back)


async def test_what_cannot_be_answered_now_says_when_to_ask_again(serve: Serve) -> None:
    headers, _ = await (await serve()).page(f"/batches/{BATCH}")
    assert headers["Retry-After"] == "1"


@pytest.mark.parametrize("way", ["bomb", "endless", "302", "308"])
async def test_what_another_worker_answers_beyond_all_measure_or_with_a_redirect_is_not_passed_on(
    other: Served, way: str
) -> None:
    hostile = HostileServer(way)
    async with hostile.serving() as base:
        other.knows({base: [HOME]})
        status, found = await other.ask(f"/batches/{BATCH}")
    assert (status, found["error"]["code"]) == (503, "owner_not_reached")
    assert f"{base} answers with" in found["error"]["message"]
    assert ("CJ_ADVERTISED_HOST" in found["error"]["message"]) == way.isdecimal()
    assert "/elsewhere" not in {path for _, path in hostile.asked}


@pytest.mark.parametrize("way", ["bomb", "endless", "302", "308"])
async def test_a_list_does_without_a_worker_that_answers_so(other: Served, way: str) -> None:
    async with HostileServer(way).serving() as base:
        other.knows({base: [HOME], other.url: []})
        status, found = await other.ask("/batches")
    assert (status, found["batches"]) == (200, [])

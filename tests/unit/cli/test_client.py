from __future__ import annotations

import socket

import pytest
from unit.cli.fake_views import FakeViews, detail

from cj_stream.cli.shared.views_client import ViewError, ViewsClient

OPENING = (503, {"error": {"code": "opening", "message": "partition 3 is not open yet"}})


def closed_url() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    ("batch_id", "path"),
    [
        ("plain", "/batches/plain"),
        ("a/b c?d=1#e%2F", "/batches/a%2Fb%20c%3Fd%3D1%23e%252F"),
        ("..", "/batches/%2E%2E"),
        ("prøve", "/batches/pr%C3%B8ve"),
    ],
)
async def test_whatever_a_batch_is_called_its_id_is_one_segment_of_the_path(
    views: FakeViews, batch_id: str, path: str
) -> None:
    views.answer(path, (200, detail(batch_id)))
    async with ViewsClient([views.url]) as client:
        assert (await client.batch(batch_id))["batch_id"] == batch_id
    assert views.asked == [("GET", path)]


async def test_a_partition_that_is_being_opened_is_waited_for(views: FakeViews) -> None:
    views.answer("/batches/b1", OPENING, OPENING, (200, detail()))
    async with ViewsClient([views.url]) as client:
        assert (await client.batch("b1"))["state"] == "WAITING_CALLBACKS"
    assert len(views.asked) == 3


async def test_a_partition_that_does_not_open_is_not_waited_for_forever(views: FakeViews) -> None:
    views.answer("/batches/b1", OPENING)
    async with ViewsClient([views.url], opening_seconds=0.05) as client:
        with pytest.raises(ViewError, match="partition 3 is not open yet") as caught:
            await client.batch("b1")
    assert caught.value.status == 503


async def test_another_worker_is_asked_when_the_first_is_down(views: FakeViews) -> None:
    views.answer("/batches/b1", (200, detail()))
    async with ViewsClient([closed_url(), views.url + "/"]) as client:
        assert (await client.batch("b1"))["batch_id"] == "b1"


async def test_when_no_worker_answers_the_error_names_them_and_what_to_do() -> None:
    url = closed_url()
    async with ViewsClient([url]) as client:
        with pytest.raises(ViewError, match="no worker answers") as caught:
            await client.batch("b1")
    assert url in str(caught.value)
    assert "cj-stream dev" in str(caught.value)
    assert caught.value.status is None


async def test_an_unknown_batch_is_told_in_the_words_of_the_view(views: FakeViews) -> None:
    views.answer("/batches/b1", (404, {"error": {"code": "unknown_batch", "message": "There is no batch 'b1'."}}))
    async with ViewsClient([views.url]) as client:
        with pytest.raises(ViewError, match="There is no batch") as caught:
            await client.batch("b1")
    assert caught.value.is_unknown_batch
    assert caught.value.code == "unknown_batch"


async def test_something_else_that_listens_there_is_not_taken_for_a_worker(views: FakeViews) -> None:
    views.answer("/batches/b1", (500, "<h1>Oops</h1>"))
    async with ViewsClient([views.url]) as client:
        with pytest.raises(ViewError, match="is this the address of a worker"):
            await client.batch("b1")


async def test_the_operators_token_goes_out_with_commands_only_and_the_readers_with_what_is_read(
    views: FakeViews,
) -> None:
    views.answer("/batches/b1", (200, detail()))
    views.answer("/batches/b1/cancel", (202, {"accepted": "cancel", "batch_id": "b1"}))
    async with ViewsClient([views.url], token="secret", reader="read") as client:  # noqa: S106 - no secrets of anybody
        await client.batch("b1")
        await client.command("cancel", "b1", "a reason")
    assert views.headers[0]["Authorization"] == "Bearer read"
    assert views.headers[1]["Authorization"] == "Bearer secret"
    assert views.bodies[1] == '{"reason": "a reason"}'


async def test_errors_are_counted_by_their_code(views: FakeViews) -> None:
    rows = [{"error_code": code} for code in ("TIMEOUT", "RATE_LIMIT", "TIMEOUT")]
    views.answer("/batches/b1/comparisons?status=FAILED&limit=1000", (200, {"comparisons": rows}))
    async with ViewsClient([views.url]) as client:
        assert list((await client.error_counts("b1")).items()) == [("TIMEOUT", 2), ("RATE_LIMIT", 1)]

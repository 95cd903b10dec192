from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import stamina
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from cj_stream.content.client import ContentClient, ContentUnavailable, TextMissing
from cj_stream.content.stores import MAX_TEXT_BYTES
from cj_stream.operations.settings import Settings

SAMPLES = Path(__file__).parents[2] / "contracts" / "samples"
ID = "240525e75a9346afa89ab864586782f4"


@pytest.fixture(autouse=True)
def _no_waiting_between_tries() -> Iterator[None]:
    with stamina.set_testing(True, attempts=3):
        yield


class FakeContentService:
    """Answers with the queued (status, body) pairs, the last one for ever, and remembers the raw paths asked for."""

    def __init__(self, *answers: tuple[int, bytes], content_type: str = "text/plain") -> None:
        self.answers = list(answers)
        self.content_type = content_type
        self.paths: list[str] = []
        self.bodies: list[bytes] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.paths.append(request.raw_path)
        self.bodies.append(await request.read())
        status, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return web.Response(status=status, body=body, headers={"Content-Type": self.content_type})

    @asynccontextmanager
    async def client(self) -> AsyncIterator[ContentClient]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        async with TestServer(app) as server, client_of(str(server.make_url("/"))) as client:
            yield client


def client_of(url: str) -> ContentClient:
    return ContentClient(Settings(content_service_url=url))


def sample(name: str) -> bytes:
    return (SAMPLES / name).read_bytes()


async def test_a_text_is_read_by_its_storage_id() -> None:
    service = FakeContentService((200, sample("http_content_get_200.txt")))
    async with service.client() as content:
        text = await content.text(ID)
    assert text == sample("http_content_get_200.txt").decode()
    assert service.paths == [f"/v1/content/{ID}"]


async def test_a_text_is_asked_for_once_and_then_cached() -> None:
    service = FakeContentService((200, b"text"))
    async with service.client() as content:
        assert [await content.text(ID), await content.text(ID)] == ["text", "text"]
    assert len(service.paths) == 1


@pytest.mark.parametrize("content_type", ["text/plain; charset=latin-1", "application/octet-stream", "text/html"])
async def test_the_text_is_utf8_whatever_the_content_type_says(content_type: str) -> None:
    service = FakeContentService((200, "\ufeffMobiltelefoner på skolan".encode()), content_type=content_type)
    async with service.client() as content:
        assert await content.text(ID) == "Mobiltelefoner på skolan"


async def test_wrong_bytes_are_replaced_and_the_rest_is_kept() -> None:
    service = FakeContentService((200, b"sm\xf6rg\xe5s"))
    async with service.client() as content:
        assert await content.text(ID) == "sm\ufffdrg\ufffds"


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "http_content_get_404.json"), (400, "http_content_get_400.json")],
)
async def test_an_unknown_or_malformed_id_is_a_missing_text(status: int, body: str) -> None:
    service = FakeContentService((status, sample(body)))
    async with service.client() as content:
        with pytest.raises(TextMissing, match=str(status)) as missing:
            await content.text(ID)
    assert missing.value.storage_id == ID
    assert len(service.paths) == 1


@pytest.mark.parametrize("body", [b"", b" \n\t\r\n", "\ufeff \u00a0".encode()])
async def test_a_blank_text_counts_as_missing(body: bytes) -> None:
    async with FakeContentService((200, body)).client() as content:
        with pytest.raises(TextMissing, match="blank"):
            await content.text(ID)


async def test_a_text_beyond_all_measure_counts_as_missing() -> None:
    async with FakeContentService((200, b"x" * (MAX_TEXT_BYTES + 1))).client() as content:
        with pytest.raises(TextMissing, match="longer than"):
            await content.text(ID)


async def test_a_passing_error_is_tried_again() -> None:
    service = FakeContentService((500, b""), (503, b""), (200, b"text"))
    async with service.client() as content:
        assert await content.text(ID) == "text"
    assert len(service.paths) == 3


@pytest.mark.parametrize("status", [401, 429, 500, 503])
async def test_a_service_that_goes_on_failing_is_unavailable(status: int) -> None:
    service = FakeContentService((status, b"no"))
    async with service.client() as content:
        with pytest.raises(ContentUnavailable, match=str(status)):
            await content.text(ID)
    assert len(service.paths) == 3


async def test_a_service_that_is_not_there_is_unavailable() -> None:
    async with client_of(f"http://127.0.0.1:{unused_port()}") as content:
        with pytest.raises(ContentUnavailable, match="ClientConnectorError"):
            await content.text(ID)


async def test_a_hostile_id_stays_one_segment_of_the_path() -> None:
    service = FakeContentService((200, b"text"))
    async with service.client() as content:
        await content.text("../../admin?x=1#y")
    assert service.paths == ["/v1/content/..%2F..%2Fadmin%3Fx%3D1%23y"]


@pytest.mark.parametrize("storage_id", ["", ".", ".."])
async def test_an_id_that_would_change_the_path_is_never_asked_for(storage_id: str) -> None:
    service = FakeContentService((200, b"text"))
    async with service.client() as content:
        with pytest.raises(TextMissing):
            await content.text(storage_id)
    assert service.paths == []


async def test_storing_posts_the_text_and_returns_the_id_of_the_service() -> None:
    service = FakeContentService((201, sample("http_content_post_201.json")))
    async with service.client() as content:
        assert await content.store("Skriv på svenska") == ID
    assert service.bodies == ["Skriv på svenska".encode()]
    assert service.paths == ["/v1/content"]


async def test_a_text_that_was_not_stored_is_an_error_and_is_not_posted_again() -> None:
    service = FakeContentService((400, sample("http_content_post_400.json")))
    async with service.client() as content:
        with pytest.raises(ContentUnavailable, match="No data provided"):
            await content.store("text")
    assert len(service.paths) == 1


@pytest.mark.parametrize("answer", [b"created", b"[]", b"{}"])
async def test_an_answer_without_a_storage_id_is_an_error(answer: bytes) -> None:
    async with FakeContentService((201, answer)).client() as content:
        with pytest.raises(ContentUnavailable, match="storage_id"):
            await content.store("text")


async def test_a_blank_text_is_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="blank"):
        await client_of(f"file:{tmp_path}/texts").store("  \n")
    assert not (tmp_path / "texts").exists()


@pytest.mark.parametrize("prefix", ["file:", "file://"])
async def test_a_folder_serves_what_was_stored_in_it(tmp_path: Path, prefix: str) -> None:
    content = client_of(f"{prefix}{tmp_path}/texts")
    storage_id = await content.store("Skriv på svenska")
    assert len(storage_id) == 32
    assert await client_of(f"{prefix}{tmp_path}/texts").text(storage_id) == "Skriv på svenska"
    assert await content.store("Skriv på svenska") == storage_id


async def test_a_relative_folder_is_meant_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "essay-1.txt").write_text("text")
    assert await client_of("file:.").text("essay-1") == "text"


@pytest.mark.parametrize(
    "storage_id",
    ["../secret", "..", ".", "", "a/b", "a\\b", "/etc/passwd", "secret\0", "secret\n", "x" * 129, "ä", "\ud800"],
)
async def test_no_id_leads_out_of_the_folder(tmp_path: Path, storage_id: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "texts").mkdir()
    with pytest.raises(TextMissing, match="plain file name"):
        await client_of(f"file:{tmp_path}/texts").text(storage_id)


async def test_a_file_that_is_not_there_is_a_missing_text(tmp_path: Path) -> None:
    (tmp_path / "folder.txt").mkdir()
    for storage_id in ("unknown", "folder"):
        with pytest.raises(TextMissing, match=f"{storage_id}.txt"):
            await client_of(f"file:{tmp_path}").text(storage_id)


async def test_what_is_no_regular_file_is_no_text_and_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    (tmp_path / "folder.txt").mkdir()
    (tmp_path / "gone.txt").symlink_to(tmp_path / "nowhere")
    for storage_id in ("pipe", "zero", "folder", "gone"):
        async with asyncio.timeout(5):
            with pytest.raises(TextMissing, match=f"{storage_id}.txt"):
                await client_of(f"file:{tmp_path}").text(storage_id)


async def test_of_a_huge_file_little_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge.txt").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(TextMissing, match="longer than"):
        await client_of(f"file:{tmp_path}").text("huge")


async def test_a_folder_that_is_away_says_nothing_about_its_texts(tmp_path: Path) -> None:
    with pytest.raises(ContentUnavailable, match="cannot read"):
        await client_of(f"file:{tmp_path}/not-mounted").text(ID)


async def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("a file where the folder should be")
    with pytest.raises(ContentUnavailable, match="cannot write"):
        await client_of(f"file:{tmp_path}/texts").store("text")


@pytest.mark.parametrize("url", ["", "localhost:8001", "http:", "file:", "ftp://host/x"])
def test_an_address_of_another_kind_is_refused_at_once(url: str) -> None:
    settings: dict[str, Any] = {"content_service_url": url}
    with pytest.raises(ValueError, match="content_service_url"):
        ContentClient(Settings(**settings))

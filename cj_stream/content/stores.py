"""Where texts lie: a content service over HTTP, or a local folder. Both give raw bytes and know nothing of retries."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import aiohttp
from yarl import URL

from cj_stream.content.errors import ContentUnavailable, TextMissing
from cj_stream.engine.foreign_answers import (
    AnswerTooLargeError,
    RedirectedError,
    body_of,
    refuse_redirect,
)
from cj_stream.operations.troubles import remedy_for, remedy_of

SETTING = "CJ_CONTENT_SERVICE_URL"
MAX_TEXT_BYTES = 256 * 1024
"""About 45 000 words. What is longer is no essay, and reading it whole could starve a worker of memory."""
STORED_ANSWER_LIMIT = 64 * 1024
"""Bytes of the answer to a stored text."""

_FILE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_NOT_THERE = frozenset({400, 404, 410})
_OK, _CREATED = 200, 201


class TextStore(Protocol):
    """Raw texts by storage id."""

    async def read(self, storage_id: str) -> bytes:
        """Return the bytes; raises TextMissing or ContentUnavailable."""

    async def write(self, text: bytes) -> str:
        """Keep the bytes and return their storage id; raises ContentUnavailable."""

    async def close(self) -> None:
        """Let go of connections."""


class FolderStore:
    """A folder with one file ``{storage id}.txt`` per text."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def read(self, storage_id: str) -> bytes:
        """Return the file's bytes. The id is hostile input: only plain names are looked up at all."""
        if _FILE_ID.fullmatch(storage_id) is None:
            raise TextMissing(storage_id, "not a plain file name (letters, digits, _ . -, at most 128)")
        return await asyncio.to_thread(self._read, storage_id)

    def _read(self, storage_id: str) -> bytes:
        path = self._folder / f"{storage_id}.txt"
        try:
            # Not blocking: opening a named pipe would wait for somebody who writes to it.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 (a descriptor)
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise TextMissing(storage_id, f"{path.name} is no regular file")
                return file.read(MAX_TEXT_BYTES + 1)
        except OSError as error:
            # A folder that is away (not mounted yet) says nothing about the text.
            if self._folder.is_dir() and isinstance(error, (FileNotFoundError, IsADirectoryError)):
                raise TextMissing(storage_id, f"no file {path.name} in {self._folder}") from error
            raise ContentUnavailable(f"cannot read {path}: {error.strerror}") from error

    async def write(self, text: bytes) -> str:
        """Keep the bytes under the first 32 hex digits of their SHA-256; the same text keeps its id."""
        return await asyncio.to_thread(self._write, text)

    def _write(self, text: bytes) -> str:
        storage_id = hashlib.sha256(text).hexdigest()[:32]
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = self._folder / f"{storage_id}.txt"
            path.write_bytes(text)
            # Who may look into the folder may read the text: workers of another user, if its owner lets them.
            with suppress(PermissionError):  # the same text, stored by another user
                path.chmod(self._folder.stat().st_mode & 0o644)
        except OSError as error:
            raise ContentUnavailable(f"cannot write to {self._folder}: {error.strerror}") from error
        return storage_id

    async def close(self) -> None:
        """Nothing is held open."""


class HttpStore:
    """The content service: ``GET {base}/v1/content/{id}`` and ``POST {base}/v1/content``."""

    def __init__(self, base_url: str, timeout_seconds: float) -> None:
        self._url = base_url.rstrip("/").removesuffix("/v1") + "/v1/content"
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        # aiohttp binds a session to the running loop, so it cannot be made in the constructor.
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    async def read(self, storage_id: str) -> bytes:
        """Return the body of the answer. The id is quoted whole, so that it stays one segment of the path."""
        if storage_id.strip(".") == "":
            raise TextMissing(storage_id, "not a storage id")
        url = URL(f"{self._url}/{quote(storage_id, safe='', errors='replace')}", encoded=True)
        try:
            async with self._open().get(url, allow_redirects=False) as response:
                if response.status in _NOT_THERE:
                    raise TextMissing(storage_id, f"the content service answered {response.status}")
                refuse_redirect(response)
                if response.status != _OK:
                    raise ContentUnavailable(
                        f"GET {url} answered {response.status}", remedy_for(response.status, SETTING)
                    )
                return await body_of(response, MAX_TEXT_BYTES)
        except AnswerTooLargeError as error:
            raise TextMissing(storage_id, f"the text is longer than {MAX_TEXT_BYTES} bytes") from error
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable("GET", url, error) from error

    async def write(self, text: bytes) -> str:
        """Post the bytes and return the id that the service gave them."""
        url = URL(self._url)
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        try:
            async with self._open().post(url, data=text, headers=headers, allow_redirects=False) as response:
                body = await body_of(response, STORED_ANSWER_LIMIT)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise _unreachable("POST", url, error) from error
        if response.status != _CREATED:
            raise ContentUnavailable(f"POST {url} answered {response.status}: {body[:500]!r}")
        return _storage_id(body)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _storage_id(body: bytes) -> str:
    try:
        return str(json.loads(body)["storage_id"])
    except (ValueError, TypeError, KeyError) as error:
        raise ContentUnavailable(f"the answer to a stored text has no storage_id: {body[:200]!r}") from error


def _unreachable(method: str, url: URL, error: Exception) -> ContentUnavailable:
    remedy = remedy_of(error, SETTING)
    if isinstance(error, RedirectedError):
        return ContentUnavailable(f"{error}. Redirects are not followed", remedy)
    return ContentUnavailable(f"{method} {url} failed: {type(error).__name__} {error}".rstrip(), remedy)

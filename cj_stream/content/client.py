"""Reads the texts of essays by storage id, from the content service or from a local folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import stamina

from cj_stream.content.cache import TextCache
from cj_stream.content.errors import ContentUnavailable, TextMissing
from cj_stream.content.stores import MAX_TEXT_BYTES, FolderStore, HttpStore, TextStore
from cj_stream.operations.settings import Settings
from cj_stream.operations.troubles import LastTrouble, Trouble

__all__ = ["ContentClient", "ContentUnavailable", "TextMissing"]

TIMEOUT_SECONDS = 15.0
"""Longest wait for one answer of the content service."""


class ContentClient:
    """Texts by storage id, from ``settings.content_service_url``, through a byte-bounded cache.

    ``http://host`` and ``https://host`` name a content service, ``file:/folder`` a folder with ``{id}.txt`` files.
    Use it as ``async with ContentClient(settings) as content``, or call ``close()``.
    ``told`` hears of troubles with the service, and with None of their end. Raises ValueError for any other address.
    """

    def __init__(self, settings: Settings, told: Callable[[Trouble | None], None] = lambda _: None) -> None:
        self._store = _store(settings.content_service_url)
        self._trouble = LastTrouble(time.time, told)
        self._cache = TextCache(settings.content_cache_megabytes * 1024 * 1024)

    @property
    def trouble(self) -> Trouble | None:
        """Return the last trouble with the service, None when it answered as it should since."""
        return self._trouble.current

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections to the content service."""
        await self._store.close()

    async def text(self, storage_id: str) -> str:
        """Return the text, decoded as UTF-8 whatever the service calls it; wrong bytes become U+FFFD.

        Raises TextMissing when there is no usable text, and ContentUnavailable when the service did not answer
        in three tries.
        """
        cached = self._cache.get(storage_id)
        if cached is not None:
            return cached
        try:
            text = _usable(storage_id, await self._read(storage_id))
        except ContentUnavailable as unavailable:
            self._trouble.note(unavailable.why, unavailable.remedy)
            raise
        except TextMissing:
            self._trouble.over()
            raise
        self._trouble.over()
        self._cache.put(storage_id, text)
        return text

    def forget(self, unused_seconds: float = 0.0) -> None:
        """Let go of the texts in memory that were not used for so long: by default of all."""
        self._cache.forget(unused_seconds)

    async def store(self, text: str) -> str:
        """Store the text and return its storage id.

        Raises ValueError for a blank text, ContentUnavailable when it could not be stored. Posting is not repeated
        on failure: the service gives every post a new id.
        """
        if not text.strip():
            raise ValueError("a blank text cannot be stored: it would count as missing when read")
        return await self._store.write(text.encode("utf-8", "replace"))

    @stamina.retry(on=ContentUnavailable, attempts=3, wait_initial=0.2, wait_max=2.0, wait_jitter=0.2)
    async def _read(self, storage_id: str) -> bytes:
        return await self._store.read(storage_id)


def _usable(storage_id: str, raw: bytes) -> str:
    if len(raw) > MAX_TEXT_BYTES:
        raise TextMissing(storage_id, f"the text is longer than {MAX_TEXT_BYTES} bytes")
    text = raw.decode("utf-8-sig", "replace")  # a byte order mark is not part of an essay
    if not text.strip():
        raise TextMissing(storage_id, "the text is blank")
    return text


def _store(url: str) -> TextStore:
    scheme, _, rest = url.partition(":")
    if scheme == "file" and rest:
        # Both file:/folder and file:///folder are written in practice.
        return FolderStore(Path("/" + rest.lstrip("/") if rest.startswith("/") else rest))
    if scheme in {"http", "https"} and rest.startswith("//"):
        return HttpStore(url, TIMEOUT_SECONDS)
    raise ValueError(f"CJ_CONTENT_SERVICE_URL must be http(s)://host or file:/folder, not {url!r}")

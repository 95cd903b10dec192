"""A cache of essay texts that is bounded by bytes, not by entries, and by time."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple


class _Held(NamedTuple):
    text: str
    size: int
    used_at: float


class TextCache:
    """Keeps the texts used last, at most ``max_bytes`` of them, counted as UTF-8.

    A text larger than the whole cache is not kept. Not thread-safe: it belongs to one event loop. ``clock`` returns
    seconds.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._texts: OrderedDict[str, _Held] = OrderedDict()
        """The one used longest ago comes first."""
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the texts held now."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._texts)

    def get(self, storage_id: str) -> str | None:
        """Return the text and mark it as used, or None when it is not held."""
        held = self._texts.get(storage_id)
        if held is None:
            return None
        self._texts[storage_id] = held._replace(used_at=self._clock())
        self._texts.move_to_end(storage_id)
        return held.text

    def put(self, storage_id: str, text: str) -> None:
        """Keep the text, and drop those not used for longest until the bound holds again."""
        self._drop(storage_id)
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > self._max_bytes:
            return
        self._texts[storage_id] = _Held(text, size, self._clock())
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._texts)))

    def forget(self, unused_seconds: float) -> None:
        """Drop the texts that were not used for so long; 0 drops all."""
        since = self._clock() - unused_seconds
        while self._texts and next(iter(self._texts.values())).used_at <= since:
            self._drop(next(iter(self._texts)))

    def _drop(self, storage_id: str) -> None:
        held = self._texts.pop(storage_id, None)
        if held is not None:
            self._bytes -= held.size

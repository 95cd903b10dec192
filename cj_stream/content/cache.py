"""A cache of essay texts that is bounded by bytes, not by entries."""

from __future__ import annotations

from collections import OrderedDict


class TextCache:
    """Keeps the texts used last, at most ``max_bytes`` of them, counted as UTF-8.

    A text larger than the whole cache is not kept. Not thread-safe: it belongs to one event loop.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._texts: OrderedDict[str, tuple[str, int]] = OrderedDict()
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
        self._texts.move_to_end(storage_id)
        return held[0]

    def put(self, storage_id: str, text: str) -> None:
        """Keep the text, and drop those not used for longest until the bound holds again."""
        self._drop(storage_id)
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > self._max_bytes:
            return
        self._texts[storage_id] = (text, size)
        self._bytes += size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._texts)))

    def _drop(self, storage_id: str) -> None:
        held = self._texts.pop(storage_id, None)
        if held is not None:
            self._bytes -= held[1]

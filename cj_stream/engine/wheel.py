"""A wheel of time windows: which subjects fall due in which window, and what is due when a window closes."""

from __future__ import annotations

from collections.abc import Hashable
from math import floor

Key = Hashable


class Wheel:
    """Windows of ``width`` seconds. A subject is in one window at a time, the one its next deadline falls into."""

    def __init__(self, width: float) -> None:
        self._width = width
        self._due: dict[Key, float] = {}
        self._windows: dict[int, set[Key]] = {}

    def __len__(self) -> int:
        return len(self._due)

    def due(self, key: Key) -> float | None:
        """Return when ``key`` falls due, or None when it is not on the wheel."""
        return self._due.get(key)

    def keys(self) -> list[Key]:
        """Return the keys on the wheel."""
        return list(self._due)

    def put(self, key: Key, due: float) -> None:
        """Note that ``key`` falls due at ``due`` (seconds since the epoch), and no longer when it did before."""
        self.remove(key)
        self._due[key] = due
        self._windows.setdefault(floor(due / self._width), set()).add(key)

    def remove(self, key: Key) -> None:
        """Forget ``key``."""
        due = self._due.pop(key, None)
        if due is not None:
            window = floor(due / self._width)
            self._windows[window].discard(key)
            if not self._windows[window]:
                del self._windows[window]

    def closed(self, now: float) -> list[tuple[Key, float]]:
        """Return the keys and deadlines in windows that have closed by ``now``, earliest first. They stay there."""
        ended = (keys for window, keys in self._windows.items() if (window + 1) * self._width <= now)
        return sorted(
            ((key, self._due[key]) for keys in ended for key in keys), key=lambda item: (item[1], repr(item[0]))
        )

"""What is not as it should be, as the views tell it beside their answers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Answer = dict[str, Any]


def without_repeats(found: Iterable[Answer]) -> list[Answer]:
    """Return the conditions of several workers, the oldest first, each once: as it was seen first."""
    first: dict[tuple[str, str], Answer] = {}
    for condition in sorted(found, key=lambda condition: str(condition["since"])):
        first.setdefault((condition["kind"], condition["subject"]), condition)
    return list(first.values())

"""Input that an app does not take, and the letter that keeps it: what every app's dead letters have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import NamedTuple


class Refusal(Exception):  # noqa: N818 - it names an outcome: the input goes to the dead letters, nothing is broken
    """Input that is not taken: ``reason`` is a short machine code, ``detail`` a sentence for people."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class RefusedInput(NamedTuple):
    """A record that was refused, or a part of one, where it stood, and why."""

    key: bytes | None
    value: bytes | None
    topic: str
    partition: int
    offset: int
    at: datetime
    refusal: Refusal


class Letter(NamedTuple):
    """One record for the dead-letter topic."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


Envelope = Callable[[RefusedInput], Iterator[Letter]]
"""Makes a dead letter, and then smaller and smaller ones for a topic that takes it in no larger form."""

NOT_READ_REASON = "not_read"
"""Why a record stands for records that could not be read."""

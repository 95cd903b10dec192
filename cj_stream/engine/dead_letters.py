"""Where refused input goes: to the dead-letter topic, with its reason, before its offset moves on. Within limits.

A dead letter that the topic does not take is cut, further and further. One that it takes in no form is told in the log:
the input lies in its own topic still, and the offset moves on, since one record stops nobody.

A record may stand for records that could not be read (`record_batches`): it is refused before anybody handles it.

Test: ``test_dead_letters.py``, ``test_shortened_letters.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from typing import NamedTuple

import structlog

from cj_stream.engine.publisher import Deliveries, Publisher, RecordRefusedError
from cj_stream.engine.record_batches import NOT_READ
from cj_stream.engine.runs import Record, Run
from cj_stream.engine.texts import moment

log = structlog.get_logger(__name__)

Handle = Callable[[Run], Awaitable[None]]
"""Handles a run of records."""


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


LetterMaker = Callable[[RefusedInput], Iterator[Letter]]
"""Makes a dead letter, and then smaller and smaller ones for a topic that takes it in no larger form."""

CUT_LIMITS = (64 * 1024, 4096, 0)
"""Bytes kept of a value, one after the other, where the topic takes no more."""


def plain_letter(found: RefusedInput) -> Iterator[Letter]:
    """Yield the letter of refused input with its reason and its place in headers, and then ones with less of it."""
    told = {
        "reason": found.refusal.reason,
        "detail": found.refusal.detail,
        "topic": found.topic,
        "partition": str(found.partition),
        "offset": str(found.offset),
        "size": str(-1 if found.value is None else len(found.value)),
    }
    headers = [(name, text.encode(errors="backslashreplace")) for name, text in told.items()]
    # aiokafka sends no record without both.
    value = b"" if found.key is None and found.value is None else found.value
    yield Letter(found.key, value, headers)
    for limit in CUT_LIMITS:
        yield Letter(None, (found.value or b"")[:limit], headers)


NOT_READ_REASON = "not_read"
"""Why a record stands for records that could not be read."""


class Watch:
    """Told what becomes of input: an app counts it, or ends the process when too much of it is bad."""

    def accepted(self, topic: str) -> None:
        """Take note that an input of ``topic`` was valid."""

    def refused(self, record: Record, refusal: Refusal) -> None:
        """Take note that an input is refused, before anything is written of it."""

    def written(self, refusal: Refusal) -> None:
        """Take note that its letter is on its way."""

    def lost(self) -> None:
        """Take note that the topic takes a letter in no form."""


class DeadLetters:
    """Writes dead letters. What is written is outstanding, so the commit of the bad input waits for it."""

    def __init__(
        self,
        publisher: Publisher,
        deliveries: Deliveries,
        topic: str,
        envelope: LetterMaker = plain_letter,
        watch: Watch | None = None,
    ) -> None:
        self._publisher = publisher
        self._deliveries = deliveries
        self._topic = topic
        self._envelope = envelope
        self._watch = watch or Watch()

    def accepted(self, topic: str) -> None:
        """Take note that an input of ``topic`` was valid."""
        self._watch.accepted(topic)

    def read_by(self, handle: Handle) -> Handle:
        """Return ``handle`` so that it gets what was read, and the dead letters what stands for the rest."""

        async def handled(run: Run) -> None:
            read = []
            for record in run.records:
                refusal = _not_read(record)
                if refusal is None:
                    read.append(record)
                else:
                    await self.put(record, refusal)
            await handle(run._replace(records=read))

        return handled

    async def put(self, record: Record, refusal: Refusal, value: bytes | None = None) -> None:
        """Write ``record`` as a dead letter; ``value`` when only a part of it was refused."""
        self._watch.refused(record, refusal)
        found = RefusedInput(
            record.key,
            record.value if value is None else value,
            record.topic,
            record.partition,
            record.offset,
            moment(record.timestamp),
            refusal,
        )
        await self._deliveries.begin("a dead letter", self._write(found))
        self._watch.written(refusal)
        log.warning(
            "input refused",
            reason=refusal.reason,
            detail=refusal.detail,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
        )

    async def _write(self, found: RefusedInput) -> None:
        why, whole = "", None
        for letter in self._envelope(found):
            whole = whole or letter
            try:
                await self._publisher.deliver(self._topic, key=letter.key, value=letter.value, headers=letter.headers)
            except RecordRefusedError as refused:
                why = str(refused)
                log.warning("a dead letter is shortened", why=why)
            else:
                return
        self._watch.lost()
        told = {name: content.decode(errors="replace") for name, content in whole.headers} if whole else {}
        log.error("a dead letter could not be kept: its input lies in its own topic still", why=why, **told)


def _not_read(record: Record) -> Refusal | None:
    for name, content in record.headers:
        if name == NOT_READ:
            return Refusal(NOT_READ_REASON, bytes(content).decode(errors="replace"))
    return None

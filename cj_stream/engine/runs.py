"""A run: up to 500 records of one partition, in order, which an agent gets and acknowledges as one.

Faust 0.15.3 hands its agents one record at a time, and that hop costs many times what the work on a record does. So one
message of Faust's stands for a run of records here, see `overrides.drain`.

A run is in hand until its last record is handled. Each record fails alone: who handles a run goes on behind a record
that it refuses.

Test: ``test_runs.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

RUN_RECORDS = 500
RUN_BYTES = 1024 * 1024
"""A run ends with the record that takes it to this many bytes: what lies in memory, and is done again, is bounded."""
PORTION_BYTES = 16 * 1024
"""Bytes of records that are handled before the event loop gets to turn."""
_RECORD_BYTES = 64
"""What an empty record counts for in a portion."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as it was read. ``timestamp`` is in seconds since the epoch; headers are pairs of name and bytes."""

    topic: str
    partition: int
    offset: int
    timestamp: float
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


class Run(NamedTuple):
    """Records of one partition, in order. ``first`` and ``last`` are offsets; between them some may be missing."""

    topic: str
    partition: int
    first: int
    last: int
    records: Sequence[Record]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Run:
        """Return the run of these records, of which there is at least one."""
        return cls(records[0].topic, records[0].partition, records[0].offset, records[-1].offset, records)

    @property
    def behind(self) -> int:
        """The offset behind the run: what is committed once it is handled."""
        return self.last + 1


def runs_of(fetched: Iterable[Any]) -> Iterator[Run]:
    """Cut the records of one partition, as aiokafka fetched them, into runs."""
    records: list[Record] = []
    size = 0
    for found in fetched:
        records.append(record_of(found))
        size += _size(found)
        if len(records) == RUN_RECORDS or size >= RUN_BYTES:
            yield Run.of(records)
            records, size = [], 0
    if records:
        yield Run.of(records)


def record_of(found: Any) -> Record:
    """Return a record of aiokafka's, whose timestamp is in milliseconds, as one of ours."""
    return Record(
        found.topic, found.partition, found.offset, found.timestamp / 1000, found.key, found.value, found.headers
    )


async def in_portions(records: Iterable[Record]) -> AsyncIterator[Record]:
    """Yield the records, and let the event loop turn after every `PORTION_BYTES` of them."""
    handled = 0
    for record in records:
        yield record
        handled += _size(record) + _RECORD_BYTES
        if handled >= PORTION_BYTES:
            await asyncio.sleep(0)
            handled = 0


def _size(record: Any) -> int:
    return len(record.key or b"") + len(record.value or b"")

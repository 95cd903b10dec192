"""Record batches for tests: as a producer makes them, and as only damage or malice does."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from cj_stream.engine.record_format import HEADER_BYTES, checksum

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
CODECS = (NONE, GZIP, SNAPPY, LZ4, ZSTD)
LENGTH_AT, CRC_AT, ATTRIBUTES_AT, LAST_DELTA_AT, COUNT_AT = 8, 17, 21, 23, 57

Entry = tuple[int, bytes | None, bytes | None]
"""Offset, key and value of a record."""


def batch(values: Sequence[bytes], *, base: int = 0, codec: int = NONE, headers: Any = ()) -> bytes:
    """Return a batch of records with these values, which begins at the offset ``base``."""
    builder = DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 2**30)
    for number, value in enumerate(values):
        builder.append(number, 1_700_000_000_000 + number, b"key", value, list(headers))
    built = bytearray(builder.build())
    struct.pack_into(">q", built, 0, base)
    return bytes(built)


def changed(packed: bytes, change: Callable[[bytearray], None]) -> bytes:
    """Return a batch that was changed by somebody who keeps its length and checksum right."""
    buffer = bytearray(packed)
    change(buffer)
    struct.pack_into(">i", buffer, LENGTH_AT, len(buffer) - 12)
    struct.pack_into(">I", buffer, CRC_AT, checksum(memoryview(buffer)))
    return bytes(buffer)


def with_content(packed: bytes, content: bytes, *, records: int | None = None, codec: int | None = None) -> bytes:
    """Return a batch with other records, as bytes, behind its header."""

    def change(buffer: bytearray) -> None:
        buffer[HEADER_BYTES:] = content
        if records is not None:
            struct.pack_into(">i", buffer, COUNT_AT, records)
            struct.pack_into(">i", buffer, LAST_DELTA_AT, records - 1)
        if codec is not None:
            struct.pack_into(">h", buffer, ATTRIBUTES_AT, codec)

    return changed(packed, change)


def entries(records: bytes) -> list[Entry]:
    """Return what aiokafka reads in batches."""
    memory = MemoryRecords(records)
    found: list[Entry] = []
    while memory.has_next():
        read = memory.next_batch()
        assert read is not None
        assert read.validate_crc()
        found += [(record.offset, record.key, record.value) for record in read]
    return found

"""Kafka's format of record batches, version 2: headers and records, read without any trust and written.

Test: ``test_record_batches.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import NamedTuple

from aiokafka.record.util import calc_crc32c, encode_varint

MAGIC = 2
CODEC = 0x07
CONTROL = 0x20
NO_EPOCH = NO_PRODUCER = -1

_HEADER = struct.Struct(">qiibIhiqqqhii")
HEADER_BYTES = _HEADER.size
_START = struct.Struct(">qi")
START_BYTES = _START.size
"""Bytes of a batch that all versions of the format have in common, and that its length does not count."""
_CHECKED_AT = struct.calcsize(">qiibI")
_VARINT_BYTES = 10


class FormatError(Exception):
    """Something is not as the format has it; the text says what."""


class Header(NamedTuple):
    """The header of a batch. ``base`` is the offset that the others count from."""

    base: int
    length: int
    epoch: int
    magic: int
    crc: int
    attributes: int
    last_delta: int
    first_timestamp: int
    max_timestamp: int
    producer: int
    producer_epoch: int
    sequence: int
    records: int

    @property
    def size(self) -> int:
        """Return how many bytes the batch has."""
        return START_BYTES + self.length

    @property
    def behind(self) -> int:
        """Return the first offset behind the batch."""
        return self.base + self.last_delta + 1

    @property
    def codec(self) -> int:
        """Return the number of the codec, 0 for none."""
        return self.attributes & CODEC


class ParsedRecord(NamedTuple):
    """A record, and where in its batch it is."""

    start: int
    end: int
    timestamp_delta: int
    offset_delta: int
    key: memoryview | None
    value: memoryview | None
    plain: bool
    """Whether aiokafka can read its attributes and the names of its headers."""


def read_start(view: memoryview) -> tuple[int, int]:
    """Return the offset that a batch of any version begins at, and how many bytes it says to have."""
    base, length = _START.unpack_from(view)
    return base, START_BYTES + length


def read_header(view: memoryview) -> Header:
    """Return the header of the batch that ``view`` begins with, whether or not it makes sense."""
    return Header(*_HEADER.unpack_from(view))


def checksum(batch: memoryview) -> int:
    """Return what the checksum of a whole batch has to be."""
    return int(calc_crc32c(batch[_CHECKED_AT:]))


def read_record(view: memoryview, at: int) -> ParsedRecord:
    """Return the record that begins at ``at``. Raises `FormatError` when it does not keep to its own lengths."""
    try:
        return _read_record(view, at)
    except IndexError:
        raise FormatError("it ends in the middle") from None


def write_record(
    timestamp_delta: int,
    offset_delta: int,
    key: memoryview | None,
    value: memoryview | bytes | None,
    headers: Collection[tuple[str, str]] = (),
) -> bytes:
    """Return a record."""
    out = bytearray(1)
    encode_varint(timestamp_delta, out.append)
    encode_varint(offset_delta, out.append)
    _write_bytes(out, key)
    _write_bytes(out, value)
    encode_varint(len(headers), out.append)
    for name, content in headers:
        _write_bytes(out, name.encode())
        _write_bytes(out, content.encode())
    length = bytearray()
    encode_varint(len(out), length.append)
    return bytes(length + out)


def write_batch(header: Header, records: Sequence[memoryview | bytes], last_delta: int) -> bytes:
    """Return ``records`` as an uncompressed batch with the other values of ``header``."""
    content = b"".join(records)
    new = header._replace(
        length=HEADER_BYTES - START_BYTES + len(content),
        attributes=header.attributes & ~CODEC,
        last_delta=last_delta,
        records=len(records),
    )
    batch = bytearray(_HEADER.pack(*new) + content)
    crc = checksum(memoryview(batch))
    batch[:HEADER_BYTES] = _HEADER.pack(*new._replace(crc=crc))
    return bytes(batch)


def _read_record(view: memoryview, at: int) -> ParsedRecord:
    length, at_attributes = _varint(view, at)
    end = at_attributes + length
    if length < 0 or end > len(view):
        raise FormatError(f"it tells of {length} bytes, where {len(view) - at_attributes} follow")
    plain = view[at_attributes] < 0x80  # noqa: PLR2004 (aiokafka takes a single byte for a varint)
    timestamp_delta, position = _varint(view, at_attributes + 1)
    offset_delta, position = _varint(view, position)
    key, position = _bytes(view, position, end)
    value, position = _bytes(view, position, end)
    count, position = _varint(view, position)
    if count < 0:
        raise FormatError(f"it tells of {count} headers")
    for _ in range(count):
        name, position = _bytes(view, position, end)
        if name is None:
            raise FormatError("a header has no name")
        plain = plain and _is_text(name)
        _, position = _bytes(view, position, end)
    if position != end:
        raise FormatError(f"it tells of {length} bytes, and has {position - at_attributes}")
    return ParsedRecord(at, end, timestamp_delta, offset_delta, key, value, plain)


def _bytes(view: memoryview, at: int, end: int) -> tuple[memoryview | None, int]:
    size, at = _varint(view, at)
    if size < 0:
        return None, at
    if at + size > end:
        raise FormatError(f"a part of it tells of {size} bytes, where {end - at} follow")
    return view[at : at + size], at + size


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    byte = view[at]
    if byte < 0x80:  # noqa: PLR2004 (the usual case: one byte)
        return (byte >> 1) ^ -(byte & 1), at + 1
    value, shift = byte & 0x7F, 7
    for position in range(at + 1, at + _VARINT_BYTES):
        byte = view[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 (the last byte)
            return (value >> 1) ^ -(value & 1), position + 1
        shift += 7
    raise FormatError("a number in it does not end")


def _is_text(name: memoryview) -> bool:
    try:
        str(name, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _write_bytes(out: bytearray, content: memoryview | bytes | None) -> None:
    encode_varint(-1 if content is None else len(content), out.append)
    if content is not None:
        out += content

"""Record batches as they come from a broker: what of them can be read, and why the rest cannot.

Hazard in aiokafka 0.14.0: it reads a batch while it hands out its records (``consumer/fetcher.py`` 217-283), and
whatever it finds there is raised to whoever asked for records of any partition: a wrong checksum, a codec that it does
not know, a header whose name is not UTF-8. It takes the version of all batches from the first of them, and reads
header values beyond the end of the batch (``record/_crecords``). It unpacks without a limit (`codecs`). So batches are
looked at before aiokafka gets them, and it gets none that it would stumble over.

What is looked at here is not trusted at all. A checksum does not cover the offset that a batch begins at, nor its
length; a producer may have written anything behind a right one.

Test: ``test_record_batches.py``: any byte of a batch is changed, and its records are read or it is said that they
cannot be, never left out.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from cj_stream.engine.overrides import codecs
from cj_stream.engine.overrides.codecs import CodecError
from cj_stream.engine.record_format import (
    CONTROL,
    HEADER_BYTES,
    MAGIC,
    NO_EPOCH,
    NO_PRODUCER,
    START_BYTES,
    FormatError,
    Header,
    ParsedRecord,
    checksum,
    read_header,
    read_record,
    read_start,
    write_batch,
    write_record,
)

UNPACKED_LIMIT = 64 * 1024 * 1024
"""Bytes of a compressed batch that are unpacked at most. Nobody makes a larger one but to do harm: by default a
producer takes no record of more than 1 MB, and ends a batch at 16 kB."""
UNPACKED_RECORD_LIMIT = 8 * 1024 * 1024
"""Bytes up to which a record that came compressed is handed on: far above what any reader of ours takes."""
KEPT_KEY_BYTES = 1024
"""Bytes of the key that is kept of a larger record."""
NOT_READ = "cj-not-read"
"""The header of a record that stands for what was not read: a sentence that says why."""
_CONTROL_KEY_BYTES = 4


@dataclass(frozen=True)
class Damage:
    """A batch that cannot be read, and why."""

    offset: int
    """The first offset that is not handed on: reading stands there."""
    why: str
    behind: int | None
    """The offset behind the batch, None when that cannot be told."""
    batch: bytes
    """The batch as it is stored."""


class Readable(NamedTuple):
    """Uncompressed batches that can be read, up to where one is damaged, there is no room left, or there are none."""

    records: bytes
    damage: Damage | None


def readable(data: bytes, at: int, end: int, room: int, *, replace: bool) -> Readable:
    """Return what can be read of what a fetch at the offset ``at`` brought.

    ``end`` is the offset behind the last of the partition, as it was just before the broker read: what was appended in
    between may come too. When about ``room`` bytes are unpacked, no more are: what is
    left over comes with the next fetch. With ``replace`` a record that is too large is replaced by one without its
    value, which says so in its header `NOT_READ`; without, it is damage.
    """
    given: list[bytes | memoryview] = []
    view, position = memoryview(data), at
    while len(view) >= START_BYTES and room > 0:
        size = read_start(view)[1]
        if size > len(view) and given:
            break  # the answer was full, and the next one begins with this batch
        batch = view[: max(size, START_BYTES)]
        try:
            reader = _BatchReader(_checked(view, position, end), batch, position, room, replace=replace)
        except FormatError as error:
            return Readable(b"".join(given), Damage(position, str(error), _behind(view, position, end), bytes(batch)))
        given += reader.read()
        if reader.error is not None:
            damage = Damage(reader.position, reader.error, reader.header.behind, bytes(batch))
            return Readable(b"".join(given), damage)
        if not reader.finished:
            break
        position, room, view = reader.position, room - reader.unpacked, view[size:]
    return Readable(b"".join(given), None)


def stand_in(base: int, behind: int, why: str, value: bytes | None) -> bytes:
    """Return a batch of one record that stands for all from ``base`` up to ``behind``, without it."""
    none = Header(base, 0, NO_EPOCH, MAGIC, 0, 0, 0, 0, 0, NO_PRODUCER, NO_EPOCH, -1, 0)
    return write_batch(none, [write_record(0, 0, None, value, [(NOT_READ, why)])], behind - 1 - base)


def salvaged_keys(batch: bytes) -> list[bytes]:
    """Return the keys of records in a batch that cannot be trusted, as far as there are any to be seen."""
    view, keys = memoryview(batch), []
    with suppress(FormatError, CodecError, struct.error):
        header, content, at = read_header(view), view[HEADER_BYTES:], 0
        if header.codec:
            content = codecs.unpack(header.codec, content, UNPACKED_LIMIT).data
        for _ in range(max(header.records, 0)):
            record = read_record(content, at)
            keys.append(bytes(record.key or b""))
            at = record.end
    return keys


def is_compressed(data: bytes) -> bool:
    """Return whether a batch in ``data`` is compressed, so that it may take a while to read."""
    view = memoryview(data)
    while len(view) >= HEADER_BYTES:
        if read_header(view).codec:
            return True
        view = view[max(read_start(view)[1], HEADER_BYTES) :]
    return False


def _checked(view: memoryview, position: int, end: int) -> Header:
    size = read_start(view)[1]
    if size > len(view) or size < HEADER_BYTES:
        raise FormatError(f"its header tells of {size} bytes, where {len(view)} follow")
    batch, header = view[:size], read_header(view)
    if header.magic != MAGIC:
        raise FormatError(f"its format has version {header.magic}, and this version knows {MAGIC} only")
    if header.crc != checksum(batch):
        raise FormatError("its checksum is wrong")
    if header.last_delta < 0 or header.records < 0:
        raise FormatError(f"its header tells of {header.records} records, the last one {header.last_delta} behind")
    overlaps = header.base > position and len(view) >= size + START_BYTES and read_start(view[size:])[0] < header.behind
    # Beyond the end there is only what was appended just now, as its producer wrote it: without a gap in or before it.
    is_new = header.base <= position and header.records == header.last_delta + 1
    if not position < header.behind or not (header.behind <= end or is_new) or overlaps:
        told = f"{header.base} to {header.behind - 1}"
        raise FormatError(f"its header tells of offsets {told}, which cannot be where {position} is read")
    return header


def _behind(view: memoryview, position: int, end: int) -> int | None:
    """Return where the batch behind a damaged one begins: as it tells itself, else as the damaged one tells."""
    base, size = read_start(view)
    following = view[max(size, START_BYTES) :]
    if len(following) >= HEADER_BYTES:
        header = read_header(following)
        is_whole = HEADER_BYTES <= header.size <= len(following)
        if is_whole and position < header.base < end and header.crc == checksum(following[: header.size]):
            return header.base
    if len(view) < HEADER_BYTES or not base <= position < read_header(view).behind <= end:
        return None
    return read_header(view).behind


class _BatchReader:
    """Reads one batch whose header is right, from ``position`` on. Raises `FormatError` when it cannot be unpacked."""

    def __init__(self, header: Header, batch: memoryview, position: int, room: int, *, replace: bool) -> None:
        self.header = header
        self.position = position
        """The first offset that was not read."""
        self.error: str | None = None
        """Why it could not be read to its end."""
        self.finished = False
        self.unpacked = 0
        """Bytes of what was read and had been compressed."""
        self._batch = batch
        self._room = room
        self._replace = replace
        self._content, self._whole = batch[HEADER_BYTES:], True
        if header.codec:
            try:
                self._content, self._whole = codecs.unpack(header.codec, self._content, UNPACKED_LIMIT)
            except CodecError as error:
                raise FormatError(f"it cannot be unpacked: {error}") from error

    def read(self) -> Iterator[bytes | memoryview]:
        """Yield the batch as it was, or what there is of it to read."""
        first = self.position
        records: list[bytes | memoryview] = []
        try:
            records += self._records()
        except FormatError as error:
            self.error = f"record {len(records) + 1} of the {self.header.records} in it is damaged: {error}"
        last = self.header.last_delta if self.finished else self.position - 1 - self.header.base
        if self.finished and not self.header.codec and all(isinstance(record, memoryview) for record in records):
            yield self._batch
        elif self.position > first:
            yield write_batch(self.header, records, last)

    def _records(self) -> Iterator[bytes | memoryview]:
        at, previous = 0, self.header.base - 1
        for number in range(1, self.header.records + 1):
            try:
                record = read_record(self._content, at)
            except FormatError as error:
                if self._whole or not self._replace:
                    raise
                yield self._in_place_of_the_rest(previous, str(error))
                return
            offset = self.header.base + record.offset_delta
            if not previous < offset < self.header.behind:
                raise FormatError(f"it tells of offset {offset}")
            at, previous = record.end, offset
            if offset < self.position:
                continue  # a batch may begin before the offset that was asked for
            yield self._kept(record)
            self.position = offset + 1
            self.unpacked += record.end - record.start if self.header.codec else 0
            if self.unpacked >= self._room and number < self.header.records:
                return
        if at != len(self._content) or not self._whole:
            raise FormatError(f"it is the last one, and {len(self._content) - at} bytes follow")
        self.position, self.finished = self.header.behind, True

    def _kept(self, record: ParsedRecord) -> bytes | memoryview:
        if self.header.attributes & CONTROL and len(record.key or b"") < _CONTROL_KEY_BYTES:
            raise FormatError("it ends a transaction, and does not say how")
        size = record.end - record.start
        if self.header.codec and size > UNPACKED_RECORD_LIMIT:
            why = f"it has {size} bytes unpacked, and {UNPACKED_RECORD_LIMIT} are read at most"
            return self._without_value(record, why)
        if not record.plain:
            return write_record(record.timestamp_delta, record.offset_delta, record.key, record.value)
        return self._content[record.start : record.end]

    def _without_value(self, record: ParsedRecord, why: str) -> bytes:
        if not self._replace:
            raise FormatError(why)
        key = None if record.key is None else record.key[:KEPT_KEY_BYTES]
        return write_record(record.timestamp_delta, record.offset_delta, key, None, [(NOT_READ, why)])

    def _in_place_of_the_rest(self, previous: int, why: str) -> bytes:
        first, last = max(previous + 1, self.position), self.header.behind - 1
        if first > last:
            raise FormatError("it is more than there are offsets for")
        why = f"its batch is unpacked up to {UNPACKED_LIMIT} bytes, and of the record there {why}"
        if first < last:
            why += f"; neither are the records behind it in the same batch read, up to offset {last}"
        self.position, self.finished = self.header.behind, True
        return write_record(0, first - self.header.base, None, None, [(NOT_READ, why)])

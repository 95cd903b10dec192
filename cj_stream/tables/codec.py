"""How rows look in the table: keys that sort by kind and batch, values with a version and a position.

A key is the kind (1 byte), the batch id (UTF-8), a zero byte, the run and the row's number (4 bytes each, big-endian).
A value is the version of its encoding (1 byte), its position (8 bytes, big-endian) and the row as msgpack.

The *position* is the offset, in the partition's log of events, of the message that caused the row, or the position of
the row before it if that is higher. It only grows along the log, whoever writes. So of two records for one key, the one
with the higher position is the newer one, even if a worker that had lost the partition wrote the other one later.

A log that was made anew begins at offset 0 again. So that positions grow all the same, the heartbeat row has a *base*,
which is added to every offset: 0 until that happens, and then beyond all positions there are.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from cj_stream.domain.records import Comparison, Content, Control, Plan, Roster, Row, Scores

VERSION = 1
KINDS: dict[type[Row], bytes] = {
    Control: b"c",
    Roster: b"r",
    Content: b"t",
    Plan: b"p",
    Comparison: b"m",
    Scores: b"s",
}
HEARTBEAT_KEY = b"h"
"""The row that keeps a changelog partition from ending in a tombstone, on which recovery would hang."""

LOCAL_PREFIX = b"__"
"""What the keys begin with that are in a local database and not in the changelog: ours and Faust's. No kind does."""

_HEADER = struct.Struct(">BQ")
_BASE = struct.Struct(">Q")
_KEY_END = struct.Struct(">BII")
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[bytes, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(row_type) for row_type, kind in KINDS.items()
}


class NewerRowError(Exception):
    """The row was written by a newer version of the service: this worker must not touch it."""


def row_key(batch_id: str, run: int, row: Row) -> bytes:
    """Return the key of a row."""
    return KINDS[type(row)] + batch_id.encode() + _KEY_END.pack(0, run, row.number)


def prefix(row_type: type[Row], batch_id: str | None = None, run: int | None = None) -> bytes:
    """Return what the keys of these rows begin with: a kind, a batch of it, a run of that."""
    if batch_id is None:
        return KINDS[row_type]
    end = b"\0" if run is None else _KEY_END.pack(0, run, 0)[:5]
    return KINDS[row_type] + batch_id.encode() + end


def read_key(key: bytes) -> tuple[str, int]:
    """Return the batch id and run of a row's key."""
    _, run, _ = _KEY_END.unpack(key[-_KEY_END.size :])
    return key[1 : -_KEY_END.size].decode(), run


def encode_row(row: Row, position: int) -> bytes:
    """Return a row as bytes."""
    return _HEADER.pack(VERSION, position) + _encoder.encode(row)


def encode_heartbeat(position: int, base: int = 0) -> bytes:
    """Return the value of a heartbeat row."""
    return _HEADER.pack(VERSION, position) + (_BASE.pack(base) if base else b"")


def heartbeat_base(value: bytes) -> int:
    """Return the base in a heartbeat row."""
    base = value[_HEADER.size :]
    return int(_BASE.unpack(base)[0]) if base else 0


def decode_row(key: bytes, value: bytes) -> Row:
    """Return the row. Raises `NewerRowError` for one of a newer version."""
    version, _ = _HEADER.unpack_from(value)
    if version > VERSION:
        raise NewerRowError(f"a table row has version {version}, this worker reads up to {VERSION}: upgrade it")
    row: Row = _decoders[key[:1]].decode(value[_HEADER.size :])
    return row


def is_row(key: bytes | None, value: bytes | None) -> bool:
    """Return whether a record can be a row of ours, or the deletion of one: nobody else's key has a zero byte there."""
    known = key is not None and (key == HEARTBEAT_KEY or (key[:1] in _decoders and b"\0" in key[1:]))
    return known and (value is None or len(value) >= _HEADER.size)


def row_position(value: bytes) -> int:
    """Return the position of an encoded row."""
    position: int = _HEADER.unpack_from(value)[1]
    return position

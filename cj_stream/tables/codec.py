"""How rows look in the table: keys that sort by kind and batch, values with a version and a position.

A key is the kind (1 byte), the batch id (UTF-8), a zero byte, the run and the row's number (4 bytes each, big-endian).
A value is what every row has (`engine.rows`), and the row as msgpack.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from cj_stream.domain.records import Comparison, Content, Control, Plan, Roster, Row, Scores
from cj_stream.engine.rows import RowKeys, encode_value, row_content

VERSION = 1
KINDS: dict[type[Row], bytes] = {
    Control: b"c",
    Roster: b"r",
    Content: b"t",
    Plan: b"p",
    Comparison: b"m",
    Scores: b"s",
}
_KEY_END = struct.Struct(">BII")
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[bytes, msgspec.msgpack.Decoder[Any]] = {
    kind: msgspec.msgpack.Decoder(row_type) for row_type, kind in KINDS.items()
}


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
    return encode_value(VERSION, position, _encoder.encode(row))


def decode_row(key: bytes, value: bytes) -> Row:
    """Return the row. Raises `NewerRowError` for one of a newer version."""
    row: Row = _decoders[key[:1]].decode(row_content(value, VERSION))
    return row


def _is_key(key: bytes) -> bool:
    # Nobody else's key has a zero byte there.
    return key[:1] in _decoders and b"\0" in key[1:]


ROW_KEYS = RowKeys(_is_key, vouches=lambda key: key.startswith(KINDS[Control]))
"""Of a batch's rows the control row vouches for the others."""

"""What every row of the table has, whatever an app keeps in it: a version and a position before its content.

A value is the version of its encoding (1 byte), its position (8 bytes, big-endian) and the content.

The *position* is the offset, in the partition's log of events, of the message that caused the row, or the position of
the row before it if that is higher. It only grows along the log, whoever writes. So of two records for one key, the one
with the higher position is the newer one, even if a worker that had lost the partition wrote the other one later.

A log that was made anew begins at offset 0 again. So that positions grow all the same, the heartbeat row has a *base*,
which is added to every offset: 0 until that happens, and then beyond all positions there are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

HEARTBEAT_KEY = b"h"
"""The row that keeps a changelog partition from ending in a tombstone, on which recovery would hang."""

LOCAL_PREFIX = b"__"
"""What the keys begin with that are in a local database and not in the changelog: ours and Faust's. No key of an app
does."""

POSITIONS_APART = 1_000_000
"""How far the positions of a log that begins again are from those of the one before: more than is ever under way."""

_HEADER = struct.Struct(">BQ")
_BASE = struct.Struct(">Q")
_HEARTBEAT_VERSION = 1


class NewerRowError(Exception):
    """The row was written by a newer version of the app: this worker must not touch it."""


def _none(_key: bytes) -> bool:
    return False


@dataclass(frozen=True)
class RowKeys:
    """What the keys of an app's rows look like.

    ``is_key`` tells whether somebody's key can be one of them: what is none is passed over in the changelog.
    ``vouches`` tells whether a row is one that vouches for others: those are copied before it.
    """

    is_key: Callable[[bytes], bool]
    vouches: Callable[[bytes], bool] = _none

    def is_row(self, key: bytes | None, value: bytes | None) -> bool:
        """Return whether a record can be a row of ours, or the deletion of one."""
        known = key is not None and (key == HEARTBEAT_KEY or self.is_key(key))
        return known and (value is None or len(value) >= _HEADER.size)


def encode_value(version: int, position: int, content: bytes) -> bytes:
    """Return the value of a row."""
    return _HEADER.pack(version, position) + content


def row_content(value: bytes, version: int) -> bytes:
    """Return the content of a row. Raises `NewerRowError` for one that is newer than ``version``."""
    found, _ = _HEADER.unpack_from(value)
    if found > version:
        raise NewerRowError(f"a table row has version {found}, this worker reads up to {version}: upgrade it")
    return value[_HEADER.size :]


def row_position(value: bytes) -> int:
    """Return the position of an encoded row."""
    position: int = _HEADER.unpack_from(value)[1]
    return position


def encode_heartbeat(position: int, base: int = 0) -> bytes:
    """Return the value of a heartbeat row."""
    return encode_value(_HEARTBEAT_VERSION, position, _BASE.pack(base) if base else b"")


def heartbeat_base(value: bytes) -> int:
    """Return the base in a heartbeat row."""
    base = value[_HEADER.size :]
    return int(_BASE.unpack(base)[0]) if base else 0

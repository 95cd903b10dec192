"""One number for all rows of a partition, by which two copies are found to be the same without a look at the other.

It is the sum, modulo 2^64, of an 8-byte hash of each row. The order of the rows does not matter, so the number can be
kept up to date row by row, and a lost update changes it as a lost row does. A plain CRC would not do: rows that were
written together differ from what they were in the same bytes, and the differences of their CRCs can cancel out.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

HEADER = "cj-checksum"
"""The header of a changelog record: the checksum of its writer's rows after this record, 8 bytes, big-endian."""
_BYTES = 8
_MODULUS = 1 << 8 * _BYTES


def of_row(key: bytes, value: bytes | None) -> int:
    """Return what a row adds to the checksum; 0 for one that is not there."""
    if value is None:
        return 0
    return int.from_bytes(blake2b(key + value, digest_size=_BYTES).digest(), "big")


def of_rows(rows: Iterable[tuple[bytes, bytes]], others: int = 0) -> int:
    """Return the checksum of rows together with others, whose checksum is given."""
    return sum((of_row(key, value) for key, value in rows), start=others) % _MODULUS


def replaced(checksum: int, key: bytes, old: bytes | None, new: bytes | None) -> int:
    """Return the checksum after a row has become another one; None is no row."""
    return (checksum - of_row(key, old) + of_row(key, new)) % _MODULUS


def encode(checksum: int) -> bytes:
    """Return a checksum as it is in the header and in the database."""
    return checksum.to_bytes(_BYTES, "big")

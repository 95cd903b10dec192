"""Identifiers: which partition a batch lives in, and ids that need no lookup table and cannot be confused.

A comparison attempt's correlation id is a UUID of version 8 (RFC 9562, section 5.8). Its 122 free bits hold, from the
top: home partition (12), tag of batch and run (24), comparison index (20), attempt (6), and a keyed check (60) over
partition, batch, run, index, attempt and both essays in presented order. The partition brings a callback home; the
check refuses an id that was forged, damaged, or made for another pair.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from uuid import UUID, uuid5

import msgspec

MAX_PARTITIONS = 1 << 12
MAX_COMPARISONS = 1 << 20
MAX_ATTEMPTS = (1 << 6) - 1

_NAMESPACE = UUID("5f0d3a52-8f0e-5c3e-9a4e-3f5b0c6f1e77")
_VERSION = 8
_VARIANT = 0b10
_pack_length = Struct(">I").pack


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """What a correlation id says of itself, before its check has been verified."""

    partition: int
    tag: int
    index: int
    attempt: int
    check: int


def _joined(*parts: str | int) -> bytes:
    # Every part goes in with its length, so that no two lists of parts read the same.
    return b"".join(map(_with_length, parts))


# Each callback has the ids of two essays checked, and an essay is compared again and again.
@lru_cache(maxsize=1 << 15)
def _with_length(part: str | int) -> bytes:
    data = str(part).encode("utf-8", "surrogatepass")
    return _pack_length(len(data)) + data


def _top_bits(bits: int, digest: bytes) -> int:
    return int.from_bytes(digest, "big") >> (128 - bits)


def _hash_bits(bits: int, *parts: str | int) -> int:
    return _top_bits(bits, blake2b(_joined(*parts), digest_size=16).digest())


def batch_tag(batch_id: str, run: int) -> int:
    """Return the 24-bit tag under which a correlation id names its batch and run."""
    return _hash_bits(24, batch_id, run)


def batch_seed(batch_id: str, run: int) -> int:
    """Return the 63-bit seed of everything random in a batch."""
    return _hash_bits(63, "seed", batch_id, run)


def outcome_event_id(batch_id: str, run: int, kind: str, correlation_id: str) -> UUID:
    """Return the event id of an outcome: the same at every publication, so that a reader can drop repeats."""
    return uuid5(_NAMESPACE, f"{kind}\n{correlation_id}\n{run}\n{batch_id}")


def timeout_event_id(batch_id: str, run: int, due_at: float) -> UUID:
    """Return the event id of a timeout recovery event: the same from whichever worker emits it."""
    return uuid5(_NAMESPACE, f"timeout\n{due_at:.3f}\n{run}\n{batch_id}")


def content_uuid(digest: str) -> UUID:
    """Return the correlation id given to a request that came without one: derived from what it asks for."""
    return uuid5(_NAMESPACE, digest)


class CorrelationIds(msgspec.Struct, frozen=True):
    """Makes the correlation ids of comparison attempts, and what checks them.

    ``key`` is the secret of the check, 1 to 64 bytes, the same for all workers.
    """

    key: bytes

    def make(self, *, partition: int, batch_id: str, run: int, index: int, attempt: int, pair: tuple[str, str]) -> UUID:
        """Return the correlation id of one attempt at comparing ``pair``, the essay ids in presented order."""
        seal = self.seal(partition=partition, batch_id=batch_id, run=run)
        value = partition
        value = value << 24 | seal.tag
        value = value << 20 | index
        value = value << 6 | attempt
        value = value << 60 | seal.check(index, attempt, pair)
        high, middle, low = value >> 74, value >> 62 & 0xFFF, value & ((1 << 62) - 1)
        return UUID(int=high << 80 | _VERSION << 76 | middle << 64 | _VARIANT << 62 | low)

    def seal(self, *, partition: int, batch_id: str, run: int) -> Seal:
        """Return what makes and checks the ids of one run of a batch in ``partition``."""
        return Seal(self.key, partition, batch_id, run)


class Seal:
    """The keyed check of the ids of one run of a batch. What is the same in all of them is hashed once."""

    def __init__(self, key: bytes, partition: int, batch_id: str, run: int) -> None:
        self.partition = partition
        self.tag = batch_tag(batch_id, run)
        self._begun = blake2b(_joined(partition, batch_id, run), key=key, digest_size=16)

    def check(self, index: int, attempt: int, pair: tuple[str, str]) -> int:
        """Return the check of the id of one attempt at comparing ``pair``."""
        digest = self._begun.copy()
        digest.update(_joined(index, attempt, *pair))
        return _top_bits(60, digest.digest())

    def verifies(self, found: Attempt, pair: tuple[str, str]) -> bool:
        """Return whether ``found`` was made by us for this partition, batch, run and ``pair``."""
        return (
            found.partition == self.partition
            and found.tag == self.tag
            and found.check == self.check(found.index, found.attempt, pair)
        )


def read_correlation_id(correlation_id: UUID) -> Attempt | None:
    """Return what the id says, or None for an id that is not of our form. The check is not verified here."""
    number = correlation_id.int
    if number >> 76 & 0xF != _VERSION or number >> 62 & 0b11 != _VARIANT:
        return None
    value = (number >> 80) << 74 | (number >> 64 & 0xFFF) << 62 | number & ((1 << 62) - 1)
    return Attempt(
        partition=value >> 110,
        tag=value >> 86 & 0xFFFFFF,
        index=value >> 66 & 0xFFFFF,
        attempt=value >> 60 & 0x3F,
        check=value & ((1 << 60) - 1),
    )

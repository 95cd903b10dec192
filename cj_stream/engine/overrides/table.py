"""The one table: local RocksDB per partition, with a changelog that everything can be rebuilt from.

Hazard in Faust 0.15.3: recovery applies changelog records in the order they stand there, so a record that a cut-off
worker wrote late rolls the state back. Here recovery keeps the record with the highest position, see `rows`.

Hazard, ditto: a local copy that lacks a changelog record is not noticed by anybody: its offset is past it. So each
record tells in a header the checksum of its writer's rows, the copy keeps the last one that it was told, and whoever
opens a partition compares that with the rows that are there.

Hazard, ditto: whatever stands in the changelog is taken for a row. What somebody else wrote there would end every
worker that recovers the partition, again and again. It is passed over, and said.

Tests: ``test_table.py``, ``test_copies.py``; the mutations "recovery takes the last record, whatever its position" and
"a copy is not verified" in ``tests/simulation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import faust
import structlog
from aiokafka import ConsumerRecord
from faust.types import TP
from rocksdict import WriteBatch

from cj_stream.engine import checksums
from cj_stream.engine.process import end_process
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    LOCAL_PREFIX,
    RowKeys,
    row_position,
)
from cj_stream.engine.sender import Sender

STORE_OPTIONS = {
    # Faust's defaults are 2 GiB of block cache and three 64 MiB buffers for each partition.
    "block_cache_size": 16 * 1024 * 1024,
    "write_buffer_size": 8 * 1024 * 1024,
    "max_write_buffer_number": 2,
    "max_open_files": 500,
}

ROWS_AT_ONCE = 5_000
"""Rows that are summed up before others get their turn in the loop: some 10 ms."""

ROWS_KEPT = 10_000
"""Rows of a partition that are kept in memory besides: a live subject has one that is asked for again and again."""

Put = tuple[bytes, bytes | None]
"""A key and its value, None to delete it."""

log = structlog.get_logger(__name__)

_TOLD = LOCAL_PREFIX + b"cj\0checksum"
_BEHIND_ALL_KEYS = b"\xff"


class Table(faust.Table):
    """A table of bytes, written with an explicit partition through the sender."""

    def __init__(self, app: faust.App, *, name: str, partitions: int, keys: RowKeys, **kwargs: Any) -> None:
        super().__init__(
            app,
            name=name,
            partitions=partitions,
            key_type=bytes,
            value_type=bytes,
            store="rocksdb://",
            options=dict(STORE_OPTIONS),
            **kwargs,
        )
        self._keys = keys
        self._checksums: dict[int, int] = {}
        """Of partitions whose rows nobody but `write` has changed since they were summed up."""
        self._kept: dict[int, dict[bytes, bytes | None]] = {}
        """Rows of those partitions as they are in the database: those that vouch for others, and the heartbeat."""

    async def write(self, sender: Sender, partition: int, puts: Sequence[Put]) -> None:
        """Write rows to the local store and, in the same order, to the changelog, each with the checksum so far.

        All of them in one flush, so that a row becomes visible together with those that vouch for it.
        """
        sums = self._apply(partition, puts)
        records = [(key, value, [(checksums.HEADER, told)]) for (key, value), told in zip(puts, sums, strict=True)]
        await sender.flush(self.changelog_topic_name, partition, records, on_ack=self._persisted)

    def _apply(self, partition: int, puts: Sequence[Put]) -> list[bytes]:
        """Write rows to the local store; return the encoded checksum after each of them."""
        db, checksum = self._db(partition), self._checksum(partition)
        batch = WriteBatch(raw_mode=True)
        now = self._rows_before(partition, [key for key, _ in puts])
        sums = []
        for key, value in puts:
            checksum = checksums.replaced(checksum, key, now[key], value)
            sums.append(checksums.encode(checksum))
            now[key] = value
            _put(batch, key, value)
        _put(batch, _TOLD, checksums.encode(checksum))
        db.write(batch)
        self._checksums[partition] = checksum
        for key, value in puts:
            self._keep(partition, key, value)
        return sums

    def _rows_before(self, partition: int, keys: Sequence[bytes]) -> dict[bytes, bytes | None]:
        """Return the values of these keys, asking the database once for all that are not kept."""
        kept = self._kept.get(partition, {})
        unknown = [key for key in keys if key not in kept]
        found = dict(zip(unknown, self._db(partition).get(unknown), strict=True)) if unknown else {}
        return {key: kept[key] if key in kept else found[key] for key in keys}

    def read(self, partition: int, key: bytes) -> bytes | None:
        """Return the value of a key in a partition of ours."""
        kept = self._kept.get(partition, {})
        if key in kept:
            return kept[key]
        value: bytes | None = self._db(partition).get(key)
        self._keep(partition, key, value)
        return value

    def _keep(self, partition: int, key: bytes, value: bytes | None) -> None:
        if partition in self._checksums and (key == HEARTBEAT_KEY or self._keys.vouches(key)):
            kept = self._kept.setdefault(partition, {})
            if len(kept) >= ROWS_KEPT:
                kept.clear()
            kept[key] = value

    def _forget(self, partition: int) -> None:
        """Forget what is known of the rows: somebody else has changed them."""
        self._checksums.pop(partition, None)
        self._kept.pop(partition, None)

    def scan(self, partition: int, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the rows of a partition of ours whose keys begin with ``prefix``, in the order of the keys."""
        for key, value in self._db(partition).items(from_key=prefix):
            if not key.startswith(prefix):
                return
            yield key, value

    def apply_run(self, tp: TP, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        """Apply changelog records, in the order of their offsets: for each key the one with the highest position wins.

        Rows and offset are written together.
        """
        try:
            self._recover(tp, records)
        except Exception as error:  # noqa: BLE001 (whatever it is, the copy cannot follow any more)
            end_process("a changelog record could not be applied", error=repr(error))

    def _recover(self, tp: TP, records: Sequence[ConsumerRecord[bytes, bytes]]) -> None:
        db = self._db(tp.partition)
        newest: dict[bytes, bytes | None] = {}
        taken = None
        for record in self._ours(records):
            key, value = record.key, record.value
            before = newest[key] if key in newest else db.get(key)
            if value is None or before is None or row_position(value) >= row_position(before):
                newest[key] = value
                taken = record
        batch = WriteBatch(raw_mode=True)
        for key, value in newest.items():
            _put(batch, key, value)
        # Who writes an outdated row is out of touch: what it tells of its other rows is outdated too.
        if taken is not None:
            _put(batch, _TOLD, dict(taken.headers).get(checksums.HEADER))
        _put(batch, self.data.offset_key, str(records[-1].offset).encode())
        db.write(batch)
        self._forget(tp.partition)

    def _ours(self, records: Sequence[ConsumerRecord[bytes, bytes]]) -> Sequence[Any]:
        """Return the records that are rows of ours, and say which are not."""
        ours: list[ConsumerRecord[bytes, bytes]] = []
        others: list[ConsumerRecord[bytes, bytes]] = []
        for record in records:
            (ours if self._keys.is_row(record.key, record.value) else others).append(record)
        if others:
            log.error(
                "somebody else has written to the changelog: what is no row of ours is passed over",
                topic=others[0].topic,
                partition=others[0].partition,
                first=others[0].offset,
                records=len(others),
            )
        return ours

    # --- Is the copy complete? -----------------------------------------------------------------------------------

    def is_complete(self, partition: int) -> bool:
        """Return whether the copy has the rows that the writer of the last record had; True if that did not tell."""
        told = self._db(partition).get(_TOLD)
        return told is None or bytes(told) == checksums.encode(self._checksum(partition))

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over all rows of a partition."""
        return ((key, value) for key, value in self._db(partition).items() if not key.startswith(LOCAL_PREFIX))

    def empty(self, partition: int) -> None:
        """Delete a copy with all that is known about it, to have it rebuilt from the changelog's beginning."""
        self._db(partition).delete_range(b"", _BEHIND_ALL_KEYS)
        self._forget(partition)

    def trust(self, partition: int) -> None:
        """Take the copy as it is for complete, whatever the writer of the last record told."""
        self._db(partition).put(_TOLD, checksums.encode(self._checksum(partition)))

    def summing_up(self, partition: int) -> Iterator[None]:
        """Sum up the rows of a partition, where that is to be done, with pauses in which nobody may change them."""
        if partition not in self._checksums:
            rows, checksum = self.rows(partition), 0
            while portion := list(islice(rows, ROWS_AT_ONCE)):
                checksum = checksums.of_rows(portion, checksum)
                yield
            self._checksums[partition] = checksum

    def _checksum(self, partition: int) -> int:
        for _ in self.summing_up(partition):
            pass
        return self._checksums[partition]

    def _persisted(self, metadata: Any) -> None:
        # Not for a partition that was given away meanwhile: Faust would open its database again.
        if metadata.partition in self.data._dbs:  # noqa: SLF001 (the store has no public way to ask)
            self.data.set_persisted_offset(TP(metadata.topic, metadata.partition), metadata.offset)

    def _db(self, partition: int) -> Any:
        return self.data._db_for_partition(partition)  # noqa: SLF001 (Faust reads by current event only)


def _put(batch: Any, key: bytes, value: bytes | None) -> None:
    if value is None:
        batch.delete(key)
    else:
        batch.put(key, value)

"""A machine's disk: the local database of each partition, and whether the last process on it stopped cleanly."""

from __future__ import annotations

import bisect
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from typing import Any

from faust.stores.rocksdb import Store
from faust.types import TP

from cj_stream.engine.overrides.table import Put, Table
from cj_stream.engine.rows import LOCAL_PREFIX, RowKeys
from cj_stream.engine.sender import Sender


class MemoryBatch:
    """Stands in for rocksdict's `WriteBatch`."""

    def __init__(self, *, raw_mode: bool) -> None:
        assert raw_mode
        self.changes: list[tuple[bytes, bytes | None]] = []

    def put(self, key: bytes, value: bytes) -> None:
        self.changes.append((key, value))

    def delete(self, key: bytes) -> None:
        self.changes.append((key, None))


class Database:
    """Stands in for one partition's RocksDB: what is written stays, also after a kill."""

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.lacks = False
        """Whether a record was kept from it, as a fault."""
        self._keys: list[bytes] = []

    @property
    def offset(self) -> int | None:
        """Offset of the last changelog record that is known to be in here."""
        offset = self.rows.get(Store.offset_key)
        return None if offset is None else int(offset)

    def get(self, key: bytes | list[bytes]) -> Any:
        return [self.rows.get(one) for one in key] if isinstance(key, list) else self.rows.get(key)

    def items(self, from_key: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        start = bisect.bisect_left(self._keys, from_key)
        return iter([(key, self.rows[key]) for key in self._keys[start:]])

    def put(self, key: bytes, value: bytes) -> None:
        batch = MemoryBatch(raw_mode=True)
        batch.put(key, value)
        self.write(batch)

    def delete_range(self, begin: bytes, end: bytes) -> None:
        assert begin == b"" < self._keys[-1] < end
        self.__init__()  # type: ignore[misc]

    def contents(self) -> dict[bytes, bytes]:
        """Return what it has of the changelog."""
        return {key: value for key, value in self.rows.items() if not key.startswith(LOCAL_PREFIX)}

    def write(self, batch: MemoryBatch) -> None:
        for key, value in batch.changes:
            if value is None:
                if self.rows.pop(key, None) is not None:
                    self._keys.remove(key)
            else:
                if key not in self.rows:
                    bisect.insort(self._keys, key)
                self.rows[key] = value


class Disk:
    """What survives a process. Also stands in for `LocalStore`, which would lock and empty a real folder."""

    def __init__(self) -> None:
        self.databases: dict[int, Database] = {}
        self.clean = False

    def lock(self) -> None:
        """Nobody else is on it."""

    def open(self) -> None:
        if not self.clean:
            self.databases.clear()
        self.clean = False

    def worker_id(self) -> str:
        return "worker"

    def close(self, *, clean: bool) -> None:
        self.clean = clean


class _Data:
    """Stands in for Faust's RocksDB store of a table."""

    offset_key = Store.offset_key

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._dbs: dict[int, Database] = {}

    def _db_for_partition(self, partition: int) -> Database:
        if partition not in self._dbs:
            self._dbs[partition] = self._disk.databases.setdefault(partition, Database())
        return self._dbs[partition]

    def set_persisted_offset(self, tp: TP, offset: int) -> None:
        self._db_for_partition(tp.partition).put(self.offset_key, str(offset).encode())

    def assigned(self, partitions: set[int]) -> None:
        for partition in set(self._dbs) - partitions:
            del self._dbs[partition]
        for partition in partitions:
            self._db_for_partition(partition)


class SimTable(Table):
    """The real table on a database in memory."""

    data: Any = None
    changelog_topic_name: Any = ""

    def __init__(self, app: Any, *, name: str, partitions: int, keys: RowKeys) -> None:
        self._keys = keys
        self.name = name
        self.number = partitions
        self.data = _Data(app.disk)
        self.changelog_topic_name = app.changelog_topic
        self._checksums = {}
        self._kept = {}
        self.causes: dict[int, deque[int]] = defaultdict(deque)
        """Of the flushes that wait for the producer: the first offset of the run that was being handled."""
        self._cause = app.process.cause

    async def write(self, sender: Sender, partition: int, puts: Sequence[Put]) -> None:
        self.causes[partition].append(self._cause(partition))
        await super().write(sender, partition, puts)

    async def on_recovery_completed(self, *_: Any, **__: Any) -> None:
        """Nothing to do."""

    def __hash__(self) -> int:
        return 1

"""Databases as a worker leaves them in its folder, read and changed behind its back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from faust.stores.rocksdb import Store
from rocksdict import Options, Rdict

from cj_stream.engine.local_copies import Copies, LocalCopy
from cj_stream.engine.local_store import LocalStore
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    LOCAL_PREFIX,
)
from cj_stream.operations.settings import NAMES
from cj_stream.tables.codec import ROW_KEYS

Row = tuple[bytes, bytes]


def leave_copy(folder: Path, partition: int, *, offset: int, rows: Sequence[Row] = ()) -> Path:
    """Make a copy of a partition that goes up to ``offset``, and return where it is."""
    path = folder / "v1" / "tables" / f"batches-{partition}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    database = Rdict(str(path), Options(raw_mode=True))
    database.put(HEARTBEAT_KEY, b"beat")
    database.put(LOCAL_PREFIX + b"something", b"of this copy only")
    for key, value in rows:
        database.put(key, value)
    database.put(Store.offset_key, str(offset).encode())
    database.close()
    return path


def copies_in(folder: Path) -> Iterator[LocalCopy]:
    """Yield the copies in a worker's data folder."""
    for copy in Copies("batches", ROW_KEYS).of(LocalStore(folder, NAMES).databases()):
        assert isinstance(copy, LocalCopy), copy
        yield copy


def damage(copy: LocalCopy, rows: Mapping[bytes, bytes | None]) -> None:
    """Put rows into a copy, None to delete them."""
    database = Rdict(str(copy.path), Options(raw_mode=True))
    for key, value in rows.items():
        if value is None:
            database.delete(key)
        else:
            database.put(key, value)
    database.close()

"""Databases as a worker leaves them in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from faust.stores.rocksdb import Store
from rocksdict import Options, Rdict

from cj_stream.tables.codec import HEARTBEAT_KEY

Row = tuple[bytes, bytes]


def leave_copy(folder: Path, partition: int, *, offset: int, rows: Sequence[Row] = ()) -> Path:
    """Make a copy of a partition that goes up to ``offset``, and return where it is."""
    path = folder / "v1" / "tables" / f"batches-{partition}.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    database = Rdict(str(path), Options(raw_mode=True))
    database.put(HEARTBEAT_KEY, b"beat")
    for key, value in rows:
        database.put(key, value)
    database.put(Store.offset_key, str(offset).encode())
    database.close()
    return path

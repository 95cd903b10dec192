"""The local databases of a worker that does not run, read and changed on its disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from faust.stores.rocksdb import Store
from rocksdict import AccessType, Options, Rdict

from cj_stream.contracts.topics import TABLE
from cj_stream.tables.table import LOCAL_PREFIX


def databases(folder: Path) -> dict[int, Path]:
    """Return the databases in a worker's data folder, by partition."""
    return {int(path.stem.rpartition("-")[2]): path for path in sorted(folder.glob(f"v*/tables/{TABLE}-*.db"))}


def contents(path: Path) -> tuple[dict[bytes, bytes], int]:
    """Return the rows of a database, and the offset of the changelog that it has read to, -1 for nothing."""
    database = Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
    rows = {key: value for key, value in database.items() if not key.startswith(LOCAL_PREFIX)}
    offset = database.get(Store.offset_key)
    database.close()
    return rows, -1 if offset is None else int(offset)


def damage(path: Path, rows: Mapping[bytes, bytes | None]) -> None:
    """Put rows into a database behind its worker's back, None to delete them."""
    database = Rdict(str(path), Options(raw_mode=True))
    for key, value in rows.items():
        if value is None:
            database.delete(key)
        else:
            database.put(key, value)
    database.close()

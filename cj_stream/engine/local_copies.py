"""What a worker's folder holds of the table: a copy of some partitions, read without changing anything.

Hazard in Faust 0.15.3: a store can only be opened to be written, which changes what a killed worker left. A copy also
says up to which offset of the changelog it goes (``stores/rocksdb.py`` 386-404), which is compared before it is used.

Tests: ``test_local_copies.py``; ``tests/kafka/test_changelog.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from faust.stores.rocksdb import Store
from rocksdict import AccessType, Options, Rdict

from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    LOCAL_PREFIX,
    RowKeys,
)

Row = tuple[bytes, bytes]
"""A key and its value, as they are in the changelog."""


class UnreadableCopyError(Exception):
    """The database is damaged; the text says which."""


@dataclass(frozen=True)
class LocalCopy:
    """The copy of one partition in one folder."""

    partition: int
    path: Path
    offset: int
    """Offset of the last changelog record that is in it."""
    has_rows: bool
    """Whether any row of the app is in it."""
    keys: RowKeys

    def rows(self) -> Iterator[Row]:
        """Yield the rows in the order in which they vouch for each other: those that vouch for others after them.

        Raises `UnreadableCopyError`.
        """
        for last in (False, True):
            yield from (row for row in _items(self.path) if self.keys.vouches(row[0]) == last)


@dataclass(frozen=True)
class Copies:
    """Finds the copies of one table."""

    table: str
    keys: RowKeys

    def of(self, databases: list[Path]) -> Iterator[LocalCopy | UnreadableCopyError]:
        """Yield each copy in the folders of a store (`LocalStore.databases`), or why it cannot be read."""
        named = re.compile(rf"{re.escape(self.table)}-(\d+)\.db")
        for path in sorted(path for folder in databases for path in folder.glob(f"tables/{self.table}-*.db")):
            name = named.fullmatch(path.name)
            if name is None:
                continue
            try:
                offset = _get(path, Store.offset_key)
                if offset is not None:
                    yield LocalCopy(int(name[1]), path, int(offset), has_rows=any(_items(path)), keys=self.keys)
            except UnreadableCopyError as error:
                yield error


def _get(path: Path, key: bytes) -> bytes | None:
    database = _opened(path)
    try:
        found: bytes | None = database.get(key)
        return found
    finally:
        database.close()


def _items(path: Path) -> Iterator[Row]:
    database = _opened(path)
    try:
        for key, value in database.items():
            if key != HEARTBEAT_KEY and not key.startswith(LOCAL_PREFIX):
                yield key, value
    except Exception as error:  # rocksdict has no exceptions of its own
        raise UnreadableCopyError(f"{path} cannot be read: {error}") from error
    finally:
        database.close()


def _opened(path: Path) -> Rdict:
    try:
        return Rdict(str(path), Options(raw_mode=True), access_type=AccessType.read_only())
    except Exception as error:  # rocksdict has no exceptions of its own
        raise UnreadableCopyError(f"{path} cannot be read: {error}") from error

"""The local database is trusted only after a clean stop; otherwise it is rebuilt from the changelog.

Hazard in Faust 0.15.3: RocksDB is written at once, the changelog is acknowledged later. Killed in between and started
on the same folder, a worker finds the event applied and writes nothing: the row exists on that disk only, and the next
owner of the partition has never heard of it.

Tests: ``test_local_store.py``; ``tests/kafka/test_worker_start.py`` (two workers on one folder).
"""

from __future__ import annotations

import fcntl
import shutil
from pathlib import Path
from typing import IO
from uuid import uuid4

import structlog

from cj_stream.engine.naming import Names

ID_FILE = "changelog-id"
"""In the folder: the id of the changelog topic that its databases are copies of."""
_PROBE_BYTES = 64 * 1024

log = structlog.get_logger(__name__)


class FolderError(Exception):
    """The folder cannot be used; the text says why, and names the setting."""


class LocalStore:
    """The folder of a worker's local database, locked while the worker runs."""

    def __init__(self, folder: Path, names: Names) -> None:
        self.folder = folder
        self._setting = names.setting("data_dir")
        self._marker = folder / "clean-stop"
        self._lock: IO[str] | None = None

    def lock(self) -> None:
        """Take the folder, as it is, for this process alone; make it if it is not there.

        Raises `FolderError` when another worker has it, or when nothing can be written to it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / "lock").open("w")
            self._try_to_write()
        except OSError as error:
            raise FolderError(
                f"{self._setting}={self.folder} cannot be used ({error.strerror}): name a folder that this worker may "
                "write to, on a disk with room"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderError(
                f"another worker runs on {self.folder}: give each worker its own {self._setting}"
            ) from error

    def open(self) -> None:
        """Empty the locked folder of databases, unless the last worker on it stopped cleanly."""
        if not self._marker.exists():
            self._empty()
        self._marker.unlink(missing_ok=True)

    def distrust(self) -> None:
        """Have `open` empty the folder, though the last worker on it stopped cleanly."""
        self._marker.unlink(missing_ok=True)

    def worker_id(self) -> str:
        """Return the name that belongs to this folder, made up when it is first asked for."""
        path = self.folder / "worker-id"
        if not path.exists():
            path.write_text(f"worker-{uuid4().hex[:12]}\n")
        return path.read_text().strip()

    def close(self, *, clean: bool) -> None:
        """Unlock the folder, and mark it as trustworthy if everything written to it was acknowledged."""
        if self._lock is None:
            return
        if clean:
            self._marker.touch()
        self._lock.close()
        self._lock = None

    def put_aside(self, stamp: str) -> Path | None:
        """Move the databases to where no worker looks for them, and return where that is; None if there are none.

        What they are a copy of is forgotten: the next worker on the folder begins afresh.
        """
        (self.folder / ID_FILE).unlink(missing_ok=True)
        aside = self.folder / f"before-rebuild-{stamp}"
        for path in self.databases():
            aside.mkdir(exist_ok=True)
            path.rename(aside / path.name)
        return aside if aside.exists() else None

    def _try_to_write(self) -> None:
        probe = self.folder / "probe"
        probe.write_bytes(b"-" * _PROBE_BYTES)
        probe.unlink()

    def _empty(self) -> None:
        for path in self.databases():
            log.info("the last stop was not clean: rebuilding the local database", folder=str(path))
            shutil.rmtree(path)

    def databases(self) -> list[Path]:
        """Return the folders that hold databases: Faust makes one for each version of an app. Nothing else is ours."""
        return [path for path in self.folder.glob("v[0-9]*") if path.is_dir()]

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

log = structlog.get_logger(__name__)


class FolderInUseError(Exception):
    """Another worker runs on this folder."""


class LocalStore:
    """The folder of a worker's local database, locked while the worker runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._marker = folder / "clean-stop"
        self._lock: IO[str] | None = None

    def open(self) -> None:
        """Lock the folder, and empty it unless the last worker on it stopped cleanly.

        Raises `FolderInUseError` when another worker has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self._folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FolderInUseError(
                f"another worker runs on {self._folder}: give each worker its own CJ_DATA_DIR"
            ) from error
        if not self._marker.exists():
            self._empty()
        self._marker.unlink(missing_ok=True)

    def worker_id(self) -> str:
        """Return the name that belongs to this folder, made up when it is first asked for."""
        path = self._folder / "worker-id"
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

    def _empty(self) -> None:
        for path in self._folder.iterdir():
            if path.is_dir():
                log.info("the last stop was not clean: rebuilding the local database", folder=str(path))
                shutil.rmtree(path)

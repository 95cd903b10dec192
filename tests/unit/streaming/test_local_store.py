from __future__ import annotations

from pathlib import Path

import pytest

from cj_stream.streaming.local_store import FolderInUseError, LocalStore


def leave(folder: Path, *, clean: bool) -> Path:
    """Run a worker on the folder, and return the database that it leaves behind."""
    store = LocalStore(folder)
    store.open()
    database = folder / "v1" / "tables" / "batches-0.db"
    database.mkdir(parents=True)
    store.close(clean=clean)
    return database


def test_a_database_is_kept_after_a_clean_stop(tmp_path: Path) -> None:
    database = leave(tmp_path, clean=True)
    LocalStore(tmp_path).open()
    assert database.exists()


def test_a_database_is_thrown_away_after_any_other_end(tmp_path: Path) -> None:
    database = leave(tmp_path, clean=False)
    LocalStore(tmp_path).open()
    assert not database.exists()


def test_a_worker_killed_after_a_clean_start_leaves_nothing_to_trust(tmp_path: Path) -> None:
    database = leave(tmp_path, clean=True)
    killed = LocalStore(tmp_path)
    killed.open()
    assert killed._lock is not None
    killed._lock.close()  # as the kernel does when a process is killed
    LocalStore(tmp_path).open()
    assert not database.exists()


def test_a_folder_serves_one_worker_at_a_time(tmp_path: Path) -> None:
    first = LocalStore(tmp_path)
    first.open()
    with pytest.raises(FolderInUseError, match="CJ_DATA_DIR"):
        LocalStore(tmp_path).open()
    first.close(clean=True)
    LocalStore(tmp_path).open()


def test_a_folder_keeps_its_name_when_its_database_is_thrown_away(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.open()
    name = store.worker_id()
    store.close(clean=True)
    leave(tmp_path, clean=False)
    again = LocalStore(tmp_path)
    again.open()
    assert again.worker_id() == name


def test_each_folder_has_a_name_of_its_own(tmp_path: Path) -> None:
    stores = [LocalStore(tmp_path / name) for name in ("a", "b")]
    for store in stores:
        store.open()
    assert len({store.worker_id() for store in stores}) == len(stores)

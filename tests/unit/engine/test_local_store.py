from __future__ import annotations

from pathlib import Path

import pytest

from cj_stream.engine.local_store import FolderError, LocalStore
from cj_stream.operations.settings import NAMES


def opened(folder: Path) -> LocalStore:
    store = LocalStore(folder, NAMES)
    store.lock()
    store.open()
    return store


def leave(folder: Path, *, clean: bool) -> Path:
    """Run a worker on the folder, and return the database that it leaves behind."""
    store = opened(folder)
    database = folder / "v1" / "tables" / "batches-0.db"
    database.mkdir(parents=True)
    store.close(clean=clean)
    return database


def test_a_database_is_kept_after_a_clean_stop(tmp_path: Path) -> None:
    database = leave(tmp_path, clean=True)
    opened(tmp_path)
    assert database.exists()


def test_a_database_is_thrown_away_after_any_other_end(tmp_path: Path) -> None:
    database = leave(tmp_path, clean=False)
    opened(tmp_path)
    assert not database.exists()


def test_a_worker_killed_after_a_clean_start_leaves_nothing_to_trust(tmp_path: Path) -> None:
    database = leave(tmp_path, clean=True)
    killed = opened(tmp_path)
    assert killed._lock is not None
    killed._lock.close()  # as the kernel does when a process is killed
    opened(tmp_path)
    assert not database.exists()


def test_a_folder_serves_one_worker_at_a_time(tmp_path: Path) -> None:
    first = opened(tmp_path)
    with pytest.raises(FolderError, match="CJ_DATA_DIR"):
        opened(tmp_path)
    first.close(clean=True)
    opened(tmp_path)


def test_a_folder_keeps_its_name_when_its_database_is_thrown_away(tmp_path: Path) -> None:
    store = opened(tmp_path)
    name = store.worker_id()
    store.close(clean=True)
    leave(tmp_path, clean=False)
    assert opened(tmp_path).worker_id() == name


def test_each_folder_has_a_name_of_its_own(tmp_path: Path) -> None:
    stores = [opened(tmp_path / name) for name in ("a", "b")]
    assert len({store.worker_id() for store in stores}) == len(stores)


def test_nothing_but_databases_is_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    database = leave(tmp_path, clean=False)
    opened(tmp_path)
    assert not database.exists()
    assert (tmp_path / "photographs").exists()


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/no-such", "x" * 300])
def test_a_folder_that_cannot_be_used_is_refused_by_name(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FolderError, match=r"CJ_DATA_DIR=.*cannot be used"):
        opened(tmp_path / place)


def test_what_is_put_aside_is_kept_where_no_worker_looks_for_it(tmp_path: Path) -> None:
    leave(tmp_path, clean=True)
    store = LocalStore(tmp_path, NAMES)
    assert store.put_aside("today") == tmp_path / "before-rebuild-today"
    assert store.databases() == []
    assert (tmp_path / "before-rebuild-today" / "v1" / "tables" / "batches-0.db").exists()
    assert store.put_aside("tomorrow") is None


def test_a_clean_database_that_is_not_trusted_is_thrown_away(tmp_path: Path) -> None:
    database = leave(tmp_path, clean=True)
    store = LocalStore(tmp_path, NAMES)
    store.lock()
    store.distrust()
    store.open()
    assert not database.exists()

from __future__ import annotations

from pathlib import Path

from support.engine.copies import leave_copy

from cj_stream.engine.local_copies import Copies, LocalCopy, UnreadableCopyError
from cj_stream.tables.codec import ROW_KEYS

ROWS = [(b"ca\0", b"control"), (b"ma\0", b"comparison"), (b"ra\0", b"roster")]


def test_a_copy_tells_how_far_it_goes_and_gives_its_rows_the_control_rows_last(tmp_path: Path) -> None:
    path = leave_copy(tmp_path, 3, offset=17, rows=ROWS)
    (copy,) = Copies("batches", ROW_KEYS).of([tmp_path / "v1"])
    assert copy == LocalCopy(3, path, 17, has_rows=True, keys=ROW_KEYS)
    assert list(copy.rows()) == [ROWS[1], ROWS[2], ROWS[0]]


def test_reading_changes_nothing(tmp_path: Path) -> None:
    path = leave_copy(tmp_path, 0, offset=1, rows=ROWS)
    before = {file.name: file.read_bytes() for file in path.iterdir() if file.name != "LOG"}
    for copy in Copies("batches", ROW_KEYS).of([tmp_path / "v1"]):
        assert isinstance(copy, LocalCopy)
        assert list(copy.rows())
    assert before.items() <= {file.name: file.read_bytes() for file in path.iterdir()}.items()


def test_a_copy_without_anything_of_a_batch_has_no_rows(tmp_path: Path) -> None:
    leave_copy(tmp_path, 0, offset=5)
    (copy,) = Copies("batches", ROW_KEYS).of([tmp_path / "v1"])
    assert isinstance(copy, LocalCopy)
    assert not copy.has_rows


def test_a_damaged_copy_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    damaged = leave_copy(tmp_path, 0, offset=5, rows=ROWS)
    leave_copy(tmp_path, 1, offset=6, rows=ROWS)
    (damaged / "CURRENT").write_text("rubbish\n")
    first, second = Copies("batches", ROW_KEYS).of([tmp_path / "v1"])
    assert isinstance(first, UnreadableCopyError)
    assert str(damaged) in str(first)
    assert isinstance(second, LocalCopy)

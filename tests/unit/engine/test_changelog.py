from __future__ import annotations

from pathlib import Path

import pytest
from support.engine.copies import leave_copy

from cj_stream.engine.changelog import Changelog, ChangelogError, best_copies, compare, note_id
from cj_stream.engine.local_copies import Copies
from cj_stream.operations.settings import NAMES
from cj_stream.tables.codec import ROW_KEYS

ROWS = [(b"ca\0", b"control")]
NOW = Changelog("the-changelog", "id-1", {0: 10, 1: 10})

COPIES = Copies("batches", ROW_KEYS)


def compared(folder: Path, changelog: Changelog = NOW) -> tuple[bool, str]:
    found = compare(changelog, folder, COPIES.of([folder / "v1"]), NAMES)
    return found.fits, "; ".join(found.losses)


def test_a_changelog_that_goes_on_where_the_copy_ends_is_whole(tmp_path: Path) -> None:
    note_id(tmp_path, NOW)
    leave_copy(tmp_path, 0, offset=9, rows=ROWS)
    leave_copy(tmp_path, 1, offset=3, rows=ROWS)
    assert compared(tmp_path) == (True, "")


def test_a_changelog_that_ends_before_the_copy_has_lost_something(tmp_path: Path) -> None:
    leave_copy(tmp_path, 0, offset=10, rows=ROWS)
    fits, loss = compared(tmp_path)
    assert not fits
    assert "the-changelog is shorter than the local copy of it (partition 0 ends at 10, the copy at 11)" in loss
    assert f"cj-stream changelog rebuild {tmp_path}" in loss


def test_a_changelog_without_the_partition_has_lost_it(tmp_path: Path) -> None:
    leave_copy(tmp_path, 7, offset=0, rows=ROWS)
    assert "partition 7 ends at 0, the copy at 1" in compared(tmp_path)[1]


def test_a_changelog_made_anew_is_known_by_its_id_however_many_records_it_has(tmp_path: Path) -> None:
    note_id(tmp_path, NOW)
    leave_copy(tmp_path, 0, offset=3, rows=ROWS)
    fits, loss = compared(tmp_path, Changelog("the-changelog", "id-2", {0: 1000}))
    assert not fits
    assert "was deleted and made anew (id id-1, now id-2)" in loss


@pytest.mark.parametrize("ends", [{0: 1000}, {0: 1}])
def test_a_copy_of_another_changelog_that_holds_nothing_does_not_fit_and_loses_nothing(
    tmp_path: Path, ends: dict[int, int]
) -> None:
    note_id(tmp_path, NOW)
    leave_copy(tmp_path, 0, offset=3)
    assert compared(tmp_path, Changelog("the-changelog", "id-2", ends)) == (False, "")


def test_a_folder_from_before_ids_and_a_broker_without_them_are_compared_by_length(tmp_path: Path) -> None:
    leave_copy(tmp_path, 0, offset=3, rows=ROWS)
    assert compared(tmp_path) == (True, "")
    note_id(tmp_path, NOW)
    assert compared(tmp_path, Changelog("the-changelog", None, {0: 4})) == (True, "")
    assert not compared(tmp_path, Changelog("the-changelog", None, {0: 3}))[0]


def test_each_partition_is_taken_from_the_copy_that_goes_furthest(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    leave_copy(first, 0, offset=5, rows=ROWS)
    newer = leave_copy(second, 0, offset=6, rows=ROWS)
    only = leave_copy(first, 1, offset=1)
    best = best_copies({folder: COPIES.of([folder / "v1"]) for folder in (first, second)})
    assert {partition: copy.path for partition, copy in best.items()} == {0: newer, 1: only}


def test_copies_of_different_topics_are_not_mixed(tmp_path: Path) -> None:
    for name, known in {"first": "id-1", "second": "id-2"}.items():
        leave_copy(tmp_path / name, 0, offset=5, rows=ROWS)
        note_id(tmp_path / name, Changelog("the-changelog", known, {}))
    with pytest.raises(ChangelogError, match="copies of different topics"):
        best_copies({tmp_path / name: COPIES.of([tmp_path / name / "v1"]) for name in ("first", "second")})

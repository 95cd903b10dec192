"""Copies of a partition, in real local databases: one that lacks anything is told from one that is complete."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP
from structlog.testing import capture_logs
from support.engine.fake_producer import FakeProducer, Produced

from cj_stream.engine.overrides.table import Put, Table
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    encode_heartbeat,
)
from cj_stream.operations.settings import Settings
from cj_stream.worker import build_worker

PARTITION = 3


def row(key: bytes, position: int, text: bytes = b"") -> Put:
    """A row as it is stored: its version, its position, and whatever it says."""
    return key, encode_heartbeat(position) + text


HISTORY: tuple[list[Put], ...] = (
    [row(b"mb\0\1", 1), row(b"mb\0\2", 1), row(b"cb\0", 1)],
    [row(b"mb\0\1", 2, b"judged"), row(b"cb\0", 2)],
    [row(b"mb\0\2", 3, b"judged"), row(b"cb\0", 3)],
    [row(b"ma\0\1", 4), row(b"ca\0", 4)],
    [(b"ma\0\1", None), (b"ca\0", None), row(HEARTBEAT_KEY, 5)],
)


class Copies:
    """An owner that has written its history, and copies that read its changelog."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.producer = FakeProducer(prompt=True)
        self.owner = self.table("owner")

    def table(self, name: str) -> Table:
        return build_worker(Settings(data_dir=self._folder / name)).engine.table

    async def write(self, *history: list[Put]) -> None:
        for puts in history:
            await self.written(self.owner, puts)

    async def written(self, table: Table, puts: list[Put]) -> None:
        """Have a table write, and wait until the changelog has it."""
        sender = self.producer.sender()
        await table.write(sender, PARTITION, puts)
        assert await sender.settled(10)

    @property
    def log(self) -> list[Any]:
        return [self.record(offset, record) for offset, record in enumerate(self.producer.records)]

    def record(self, offset: int, record: Produced) -> Any:
        return SimpleNamespace(
            topic=self.owner.changelog_topic_name,
            partition=PARTITION,
            offset=offset,
            key=record.key,
            value=record.value,
            headers=tuple(record.headers or ()),
        )

    def apply(self, copy: Table, records: list[Any]) -> None:
        copy.apply_run(TP(copy.changelog_topic_name, PARTITION), records)


@pytest.fixture
async def copies(tmp_path: Path) -> Copies:
    copies = Copies(tmp_path)
    await copies.write(*HISTORY)
    return copies


def test_a_copy_that_follows_is_complete_after_each_record_and_so_is_the_owner_s(copies: Copies) -> None:
    copy = copies.table("copy")
    assert copy.is_complete(PARTITION)
    for record in copies.log:
        copies.apply(copy, [record])
        assert copy.is_complete(PARTITION)
    assert dict(copy.rows(PARTITION)) == dict(copies.owner.rows(PARTITION))
    assert copies.owner.is_complete(PARTITION)


async def test_what_another_worker_wrote_is_read_also_where_a_row_was_kept_in_memory(copies: Copies) -> None:
    control, newer = row(b"cb\0", 9, b"of another worker")[0], [row(b"cb\0", 9, b"of another worker")]
    assert copies.owner.read(PARTITION, control) == encode_heartbeat(3)
    successor = copies.table("successor")
    copies.apply(successor, copies.log)
    known = len(copies.log)
    await copies.written(successor, newer)
    copies.apply(copies.owner, copies.log[known:])
    assert copies.owner.read(PARTITION, control) == newer[0][1]
    assert copies.owner.is_complete(PARTITION)
    await copies.written(copies.owner, [(control, None)])
    assert copies.owner.read(PARTITION, control) is None
    copies.apply(successor, copies.log[known + 1 :])
    assert successor.is_complete(PARTITION)


def test_a_copy_that_is_read_at_once_from_what_compaction_has_left_is_complete(copies: Copies) -> None:
    newest = {record.key: record for record in copies.log}
    left = sorted((record for record in newest.values() if record.value), key=lambda record: record.offset)
    copy = copies.table("copy")
    copies.apply(copy, left)
    assert copy.is_complete(PARTITION)


# A row, an update and a deletion that nothing later makes good. The last record is not lost: recovery waits for it.
@pytest.mark.parametrize("lost", [3, 5, 9, 10])
def test_a_copy_that_lacks_a_row_an_update_or_a_deletion_is_not_complete(copies: Copies, lost: int) -> None:
    copy = copies.table("copy")
    copies.apply(copy, [record for record in copies.log if record.offset != lost])
    assert not copy.is_complete(PARTITION)


def test_a_copy_is_compared_with_its_rows_as_they_are_on_the_disk(copies: Copies) -> None:
    copy = copies.table("copy")
    copies.apply(copy, copies.log)
    copy._db(PARTITION).delete(b"mb\0\1")
    assert not copy.is_complete(PARTITION)


def test_a_writer_out_of_touch_is_not_listened_to(copies: Copies) -> None:
    copy = copies.table("copy")
    outdated, value = row(b"mb\0\1", 1)
    late = Produced("", outdated, value, PARTITION, [("cj-checksum", b"8 bytes.")], None)  # type: ignore[arg-type]
    copies.apply(copy, [*copies.log, copies.record(12, late)])
    assert copy.is_complete(PARTITION)
    copies.apply(copy, [copies.record(13, late)])
    assert copy.is_complete(PARTITION)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, None),
        (None, b"a value without a key"),
        (b"", b""),
        (b"customer-1", b'{"name": "somebody else\'s"}'),
        (b"customer-1", None),
        (HEARTBEAT_KEY, b"short"),
        (b"mb\0\1", b""),
        (b"__faust\0offset__", b"999999"),
        (b"\xff\xfe", b"\xff" * 20),
    ],
)
def test_a_record_of_somebody_else_is_passed_over_and_said(
    copies: Copies, key: bytes | None, value: bytes | None
) -> None:
    copy = copies.table("copy")
    foreign = Produced("", key, value, PARTITION, [("cj-checksum", b"8 bytes.")], None)  # type: ignore[arg-type]
    with capture_logs() as told:
        copies.apply(copy, [*copies.log, copies.record(12, foreign)])
    assert dict(copy.rows(PARTITION)) == dict(copies.owner.rows(PARTITION))
    assert copy.is_complete(PARTITION)
    assert copy.persisted_offset(TP(copy.changelog_topic_name, PARTITION)) == 12
    assert [(line["first"], line["records"]) for line in told if "somebody else" in line["event"]] == [(12, 1)]


def test_records_without_a_checksum_say_nothing_about_the_copy(copies: Copies) -> None:
    """So are those of the versions before."""
    for record in copies.producer.records:
        record.headers = None
    copy = copies.table("copy")
    copies.apply(copy, copies.log[1:])
    assert copy.is_complete(PARTITION)


async def test_who_goes_on_after_another_writer_tells_of_all_rows(copies: Copies) -> None:
    copy = copies.table("copy")
    copies.apply(copy, copies.log)
    await copies.written(copy, [row(b"mb\0\1", 6, b"more"), (b"mb\0\2", None)])
    third = copies.table("third")
    copies.apply(third, copies.log)
    assert third.is_complete(PARTITION)
    assert dict(third.rows(PARTITION)) == dict(copy.rows(PARTITION))


def test_an_emptied_copy_knows_nothing_and_can_be_rebuilt(copies: Copies) -> None:
    copy = copies.table("copy")
    copies.apply(copy, copies.log[4:])
    assert not copy.is_complete(PARTITION)
    copy.empty(PARTITION)
    assert list(copy._db(PARTITION).items()) == []
    assert copy.persisted_offset(TP(copy.changelog_topic_name, PARTITION)) is None
    copies.apply(copy, copies.log)
    assert copy.is_complete(PARTITION)


def test_a_copy_that_is_trusted_is_complete_as_it_is(copies: Copies) -> None:
    copy = copies.table("copy")
    copies.apply(copy, copies.log[4:])
    copy.trust(PARTITION)
    assert copy.is_complete(PARTITION)


def test_rows_are_summed_up_in_portions_and_a_sum_that_was_given_up_is_none(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cj_stream.engine.overrides.table.ROWS_AT_ONCE", 2)
    copy = copies.table("copy")
    copies.apply(copy, copies.log)
    assert next(copy.summing_up(PARTITION), "the end") is None
    copy._db(PARTITION).put(*row(b"mb\0\1", 9))
    assert len(list(copy.summing_up(PARTITION))) == 2
    assert not copy.is_complete(PARTITION)
    assert list(copy.summing_up(PARTITION)) == []

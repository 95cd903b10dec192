from __future__ import annotations

import random
import struct
import tracemalloc
from itertools import pairwise

import pytest
from aiokafka import codec as aiokafka_codec
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import encode_varint
from support.engine.packed_batches import (
    ATTRIBUTES_AT,
    CODECS,
    COUNT_AT,
    GZIP,
    LAST_DELTA_AT,
    NONE,
    SNAPPY,
    ZSTD,
    Entry,
    batch,
    changed,
    entries,
    with_content,
)

from cj_stream.engine import record_batches
from cj_stream.engine.record_batches import NOT_READ, Readable, is_compressed, readable, stand_in
from cj_stream.engine.record_format import HEADER_BYTES, write_record

ROOM = 1024 * 1024
LENGTH, LEADER_EPOCH = range(8, 12), range(12, 16)
VALUES = [b"verdict %d " % number * 4 for number in range(6)]
FIRST, SECOND, THIRD = 0, 6, 12
END = 18
MEGABYTE = 1024 * 1024


def log(codec: int) -> tuple[bytes, bytes, bytes]:
    return tuple(batch(VALUES, base=base, codec=codec) for base in (FIRST, SECOND, THIRD))  # type: ignore[return-value]


def expected(*bases: int) -> list[Entry]:
    return [(base + number, b"key", value) for base in bases for number, value in enumerate(VALUES)]


def read(data: bytes, at: int = 0, end: int = END, *, room: int = ROOM, replace: bool = True) -> Readable:
    return readable(data, at, end, room, replace=replace)


def read_on(data: bytes, base_of: dict[int, int], end: int, *, room: int = ROOM) -> tuple[list[Entry], int]:
    """Read as a consumer does, from where it got to: what it got, and where it stands."""
    got: list[Entry] = []
    position = 0
    while position < end:
        start = max(base for base in base_of if base <= position)
        found = read(data[base_of[start] :], position, end, room=room)
        new = [entry for entry in entries(found.records) if entry[0] >= position]
        got += new
        behind = position
        memory = MemoryRecords(found.records)
        while memory.has_next():
            behind = memory.next_batch().next_offset
        if behind == position:
            break
        position = behind
    return got, position


@pytest.mark.parametrize("codec", CODECS)
def test_what_a_producer_wrote_is_read_whatever_it_compressed_with(codec: int) -> None:
    found = read(b"".join(log(codec)))
    assert found.damage is None
    assert entries(found.records) == expected(FIRST, SECOND, THIRD)
    assert not is_compressed(found.records)
    assert is_compressed(b"".join(log(codec))) == (codec != NONE)


def test_what_is_not_compressed_is_given_as_it_came() -> None:
    data = b"".join(log(NONE))
    assert read(data).records == data


@pytest.mark.parametrize("codec", CODECS)
def test_an_answer_that_is_cut_off_gives_the_batches_it_has_whole(codec: int) -> None:
    first, second, _ = log(codec)
    found = read(first + second[:-1])
    assert found == Readable(read(first).records, None)


@pytest.mark.parametrize("codec", CODECS)
def test_whichever_byte_is_damaged_no_record_is_left_out_without_a_word(codec: int) -> None:
    first, second, third = log(codec)
    for spot in range(len(second)):
        for flip in (0x01, 0x80):
            damaged = bytearray(second)
            damaged[spot] ^= flip
            found = read(first + bytes(damaged) + third)
            where = f"byte {spot} flipped by {flip:#x}"
            if found.damage is None:
                # No reader needs the leader's epoch; and a batch that seems to go on may only be cut off.
                whole = expected(FIRST) if spot in LENGTH else expected(FIRST, SECOND, THIRD)
                assert entries(found.records) == whole, where
                assert spot in (*LENGTH, *LEADER_EPOCH), where
                continue
            assert entries(found.records) == expected(FIRST), where
            assert found.damage.offset == SECOND, where
            assert found.damage.why, where
            again = read(bytes(damaged) + third, SECOND)
            assert again.records == b"", where
            assert again.damage is not None, where
            assert again.damage.behind in (THIRD, None), where


def test_a_length_that_reaches_beyond_the_answer_is_found_once_the_batch_is_the_first() -> None:
    first, second, _ = log(NONE)
    long = bytearray(second)
    struct.pack_into(">i", long, 8, len(second) * 3)
    assert read(first + bytes(long)).damage is None
    found = read(bytes(long), SECOND)
    assert found.damage is not None
    assert "its header tells of" in found.damage.why


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("cut", [1, 5, HEADER_BYTES, HEADER_BYTES + 7])
def test_a_batch_that_was_cut_off_on_the_disk_stands(codec: int, cut: int) -> None:
    found = read(log(codec)[0][:-cut])
    assert found.records == b""
    assert found.damage is not None


@pytest.mark.parametrize("seed", range(40))
def test_whatever_lies_behind_a_right_checksum_nothing_is_raised_and_nothing_left_out(seed: int) -> None:
    chance = random.Random(seed)
    codec = chance.choice(CODECS)
    sound, victim = batch(VALUES, base=FIRST), bytearray(batch(VALUES, base=SECOND, codec=codec))
    for _ in range(chance.randint(1, 8)):
        victim[chance.randrange(HEADER_BYTES, len(victim))] = chance.randrange(256)
    if chance.random() < 0.3:
        victim = bytearray(victim[: chance.randrange(HEADER_BYTES, len(victim))])
    data = sound + changed(bytes(victim), lambda _: None)
    found = read(data, end=THIRD)
    got = entries(found.records)
    assert got[: len(VALUES)] == expected(FIRST)
    assert all(before[0] < after[0] for before, after in pairwise(got))
    if found.damage is None:
        assert len(got) <= 2 * len(VALUES)
    else:
        assert found.damage.offset == got[-1][0] + 1


@pytest.mark.parametrize(
    ("spot", "form", "value", "why"),
    [
        (COUNT_AT, ">i", 7, "it ends in the middle"),
        (COUNT_AT, ">i", 5, "bytes follow"),
        (COUNT_AT, ">i", -1, "tells of -1 records"),
        (COUNT_AT, ">i", 2**31 - 1, "it ends in the middle"),
        (LAST_DELTA_AT, ">i", -1, "the last one -1 behind"),
        (LAST_DELTA_AT, ">i", 3, "tells of offset 10"),
        (LAST_DELTA_AT, ">i", 2**31 - 1, "which cannot be where 6 is read"),
        (ATTRIBUTES_AT, ">h", 5, "codec 5 is not known"),
        (ATTRIBUTES_AT, ">h", 7, "codec 7 is not known"),
        (ATTRIBUTES_AT, ">h", ZSTD, "zstd"),
        (16, ">b", 1, "version 1"),
        (16, ">b", 3, "version 3"),
    ],
)
def test_a_header_that_does_not_fit_is_said(spot: int, form: str, value: int, why: str) -> None:
    wrong = changed(log(NONE)[1], lambda buffer: struct.pack_into(form, buffer, spot, value))
    found = read(wrong, SECOND, THIRD)
    assert found.damage is not None
    assert why in found.damage.why


def test_records_before_a_damaged_one_in_the_same_batch_are_read() -> None:
    records = [write_record(0, delta, None, value) for delta, value in enumerate(VALUES)]
    records[3] = b"\x03" + records[3][1:]
    for codec, pack in ((NONE, bytes), (ZSTD, aiokafka_codec.zstd_encode)):
        wrong = with_content(batch(VALUES), pack(b"".join(records)), codec=codec)
        found = read(wrong, end=6)
        assert [offset for offset, _, _ in entries(found.records)] == [0, 1, 2]
        assert found.damage is not None
        assert found.damage.offset == 3
        assert "record 4 of the 6" in found.damage.why
        again = read(wrong, 3, 6)
        assert again.records == b""
        assert again.damage is not None
        assert again.damage.behind == 6


def test_a_header_whose_name_is_not_text_is_left_out_and_its_record_is_read() -> None:
    record = bytearray(1)
    for number in (0, 0):
        encode_varint(number, record.append)
    for part in (b"k", b"value"):
        encode_varint(len(part), record.append)
        record += part
    encode_varint(1, record.append)
    encode_varint(2, record.append)
    record += b"\xff\xfe"
    encode_varint(-1, record.append)
    length = bytearray()
    encode_varint(len(record), length.append)
    found = read(with_content(batch([b""]), bytes(length + record), records=1), end=1)
    assert found.damage is None
    assert entries(found.records) == [(0, b"k", b"value")]


def test_a_length_beyond_the_batch_is_not_followed() -> None:
    record = bytearray(b"\x00\x00\x00\x01\x01\x02")  # attributes, deltas, no key, no value, one header
    encode_varint(1, record.append)
    record += b"h"
    encode_varint(2**40, record.append)
    length = bytearray()
    encode_varint(len(record), length.append)
    found = read(with_content(batch([b""]), bytes(length + record), records=1), end=1)
    assert found.damage is not None
    assert f"tells of {2**40} bytes" in found.damage.why


def test_an_empty_batch_that_compaction_left_is_given_on_so_that_reading_gets_past_it() -> None:
    empty = with_content(batch(VALUES), b"")
    empty = changed(empty, lambda buffer: struct.pack_into(">i", buffer, COUNT_AT, 0))
    assert read(empty).records == empty


def test_a_gap_that_compaction_left_is_no_damage() -> None:
    first, _, third = log(ZSTD)
    assert entries(read(first + third).records) == expected(FIRST, THIRD)


@pytest.mark.parametrize("codec", CODECS)
def test_what_was_appended_after_the_broker_had_looked_for_the_end_is_read(codec: int) -> None:
    """It answers with the end as it was before it read."""
    for end in (FIRST, SECOND, SECOND + 1):
        found = read(b"".join(log(codec)), end=end)
        assert (entries(found.records), found.damage) == (expected(FIRST, SECOND, THIRD), None)


def test_a_batch_beyond_the_end_with_a_gap_before_it_stands() -> None:
    found = read(b"".join((log(NONE)[0], log(NONE)[2])), end=SECOND)
    assert entries(found.records) == expected(FIRST)
    assert found.damage is not None
    assert found.damage.why == "its header tells of offsets 12 to 17, which cannot be where 6 is read"


def test_a_batch_that_claims_the_offsets_of_the_one_behind_it_stands() -> None:
    moved = bytearray(log(NONE)[1])
    struct.pack_into(">q", moved, 0, SECOND + 3)
    found = read(bytes(moved) + log(NONE)[2], SECOND)
    assert found.damage is not None
    assert found.records == b""


# --- Bombs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, ZSTD])
def test_a_giant_among_compressed_records_loses_its_value_and_the_others_are_read(
    codec: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_batches, "UNPACKED_RECORD_LIMIT", MEGABYTE)
    bomb = batch([b"before", bytes(2 * MEGABYTE), b"behind"], codec=codec)
    found = read(bomb, end=3, room=8 * MEGABYTE)
    assert found.damage is None
    assert entries(found.records) == [(0, b"key", b"before"), (1, b"key", None), (2, b"key", b"behind")]
    (name, why) = headers_of(found.records, 1)
    assert name == NOT_READ
    assert "bytes unpacked" in why


def test_a_giant_in_a_changelog_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_batches, "UNPACKED_RECORD_LIMIT", MEGABYTE)
    found = read(batch([b"before", bytes(2 * MEGABYTE)], codec=GZIP), end=2, room=8 * MEGABYTE, replace=False)
    assert entries(found.records) == [(0, b"key", b"before")]
    assert found.damage is not None
    assert found.damage.offset == 1


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, ZSTD])
def test_what_lies_beyond_what_is_unpacked_of_a_batch_is_one_record_that_says_so(
    codec: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_batches, "UNPACKED_LIMIT", MEGABYTE)
    bomb = batch([b"before", bytes(5 * MEGABYTE), b"behind"], codec=codec)
    found = read(bomb, end=3)
    assert found.damage is None
    assert entries(found.records) == [(0, b"key", b"before"), (1, None, None)]
    (_, why) = headers_of(found.records, 1)
    assert "up to offset 2" in why
    assert str(5 * MEGABYTE)[:3] in why
    assert MemoryRecords(found.records).next_batch().next_offset == 3


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, 3, ZSTD])
def test_a_bomb_does_not_reach_memory(codec: int) -> None:
    bomb = batch([b"before", bytes(100 * MEGABYTE)], codec=codec)
    tracemalloc.start()
    found = read(bomb, end=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.damage is None
    assert len(entries(found.records)) == 2
    assert peak < 1.3 * record_batches.UNPACKED_LIMIT


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, ZSTD])
def test_what_there_is_no_room_for_comes_with_the_next_fetches(codec: int) -> None:
    values = [b"%06d" % number * 10_000 for number in range(50)]
    data = batch(values, codec=codec)
    found = read(data, end=50, room=300_000)
    assert 0 < len(found.records) < 500_000
    got, position = read_on(data, {0: 0}, 50, room=300_000)
    assert got == [(number, b"key", value) for number, value in enumerate(values)]
    assert position == 50


def test_a_record_stands_in_for_a_batch_that_an_operator_gives_up() -> None:
    found = stand_in(6, 12, "its checksum is wrong", b"raw bytes")
    assert entries(found) == [(6, None, b"raw bytes")]
    assert headers_of(found, 0) == (NOT_READ, "its checksum is wrong")
    assert MemoryRecords(found).next_batch().next_offset == 12


def headers_of(records: bytes, number: int) -> tuple[str, str]:
    read = MemoryRecords(records).next_batch()
    assert read is not None
    ((name, content),) = list(read)[number].headers
    return name, (content or b"").decode()

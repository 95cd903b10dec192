from __future__ import annotations

import gzip
import tracemalloc
from typing import Any

import cramjam
import pytest
from aiokafka import codec as aiokafka_codec

from cj_stream.engine.overrides import codecs
from cj_stream.engine.overrides.codecs import CodecError, unpack

TEXT = b"which of the two essays is better? " * 3000
PACKED = {
    1: aiokafka_codec.gzip_encode,
    2: aiokafka_codec.snappy_encode,
    3: aiokafka_codec.lz4_encode,
    4: aiokafka_codec.zstd_encode,
}
MEGABYTE = 1024 * 1024


def packed(number: int, text: bytes = TEXT) -> memoryview:
    return memoryview(PACKED[number](text))


@pytest.mark.parametrize("number", PACKED)
def test_every_codec_that_kafka_has_is_read(number: int) -> None:
    unpacked = unpack(number, packed(number), len(TEXT))
    assert unpacked.whole
    assert bytes(unpacked.data) == TEXT


def test_snappy_is_read_as_the_java_client_frames_it_and_as_others_do_not() -> None:
    raw = aiokafka_codec.snappy_encode(TEXT, xerial_compatible=False)
    assert bytes(unpack(2, memoryview(raw), len(TEXT)).data) == TEXT
    assert not unpack(2, memoryview(raw), len(TEXT) - 1).whole


def test_gzip_of_several_members_is_read_whole() -> None:
    members = gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:])
    assert bytes(unpack(1, memoryview(members), len(TEXT)).data) == TEXT


@pytest.mark.parametrize("number", PACKED)
def test_no_more_than_the_limit_is_unpacked_and_it_is_told_that_there_is_more(number: int) -> None:
    unpacked = unpack(number, packed(number), 40_000)
    assert not unpacked.whole
    assert TEXT.startswith(bytes(unpacked.data))
    assert len(unpacked.data) <= 40_000


@pytest.mark.parametrize("number", PACKED)
def test_a_bomb_does_not_reach_memory(number: int) -> None:
    bomb = packed(number, bytes(16 * MEGABYTE))
    tracemalloc.start()
    unpack(number, bomb, MEGABYTE)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * MEGABYTE


@pytest.mark.parametrize("number", PACKED)
def test_damage_is_said_with_the_name_of_the_codec(number: int) -> None:
    whole = bytes(packed(number))
    for damaged in (whole[: len(whole) // 2], b"\xff" * 64, b"\x05"):
        with pytest.raises(CodecError, match=codecs.names()[number - 1]):
            unpack(number, memoryview(damaged), len(TEXT))


@pytest.mark.parametrize("number", [5, 6, 7])
def test_a_codec_of_tomorrow_is_called_unknown(number: int) -> None:
    with pytest.raises(CodecError, match=f"codec {number} is not known"):
        unpack(number, packed(1), len(TEXT))


def test_all_codecs_work_here() -> None:
    assert codecs.codec_problems() == []


def test_a_missing_library_is_said_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "find_spec", lambda _name: None)
    problems = codecs.codec_problems()
    assert [name in problem for name, problem in zip(("snappy", "lz4", "zstd"), problems, strict=True)] == [True] * 3
    assert all("install the library cramjam" in problem for problem in problems)


def test_a_library_that_unpacks_something_else_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        snappy, lz4, DecompressionError = cramjam.snappy, cramjam.lz4, cramjam.DecompressionError

        class zstd:  # noqa: N801 (as the library calls it)
            @staticmethod
            def decompress_into(_data: Any, buffer: bytearray) -> int:
                return len(buffer)

    monkeypatch.setattr(codecs, "_cramjam", lambda: Broken)
    (problem,) = codecs.codec_problems()
    assert "zstd" in problem
    assert "not what went in" in problem

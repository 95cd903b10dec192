"""Unpacking what a producer compressed, never more of it than a limit: memory is bounded whatever a batch unpacks to.

Hazard in aiokafka 0.14.0: its decoders unpack without any limit (``codec.py``), so 300 MB behind 300 kB of gzip are 300
MB in memory, more than once. And without the library ``cramjam``, which it does not require, one record of another
codec than gzip ends whoever reads it.

Test: ``test_codecs.py``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from mmap import mmap
from typing import Any, NamedTuple

from aiokafka import codec as aiokafka_codec

_SAMPLE = b"a sample. " * 100
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_GZIP = 31
"""zlib's word for: a window of 32 KiB, behind a gzip header."""
_PIECE_BYTES = 64 * 1024
_FULL = "failed to write whole buffer"
"""What cramjam says when there is more than the buffer holds; the buffer is full then."""


class CodecError(Exception):
    """Data cannot be unpacked; the text says why."""


class Unpacked(NamedTuple):
    """The beginning of what was packed; ``whole`` when that is all of it."""

    data: memoryview
    whole: bool


def unpack(number: int, data: memoryview, limit: int) -> Unpacked:
    """Return what ``data`` unpacks to, its first ``limit`` bytes at most. ``number`` is Kafka's number of the codec.

    Raises `CodecError` when it is damaged before that, or the codec is unknown.
    """
    known = _CODECS.get(number)
    if known is None:
        raise CodecError(f"codec {number} is not known: this version knows {', '.join(names())}")
    try:
        return known.unpack(data, limit)
    except Exception as error:  # each library has errors of its own
        raise CodecError(f"{known.name}: {error}") from error


def names() -> tuple[str, ...]:
    """Return the names of the codecs that are known."""
    return tuple(known.name for known in _CODECS.values())


def codec_problems() -> list[str]:
    """Try every codec; return a sentence for each that cannot be read here."""
    return [problem for number, known in _CODECS.items() if (problem := _problem(number, known))]


def _problem(number: int, known: _Codec) -> str | None:
    try:
        packed = known.pack(_SAMPLE)
        if bytes(unpack(number, memoryview(packed), len(_SAMPLE)).data) == _SAMPLE:
            return None
        why = "what comes out is not what went in"
    except Exception as error:  # noqa: BLE001 (a broken library may raise anything)
        why = str(error) or repr(error)
    return (
        f"records compressed with {known.name} cannot be read here ({why}): "
        "install the library cramjam as requirements.lock has it"
    )


def _gzip(data: memoryview, limit: int) -> Unpacked:
    out = bytearray()
    while data:
        member = zlib.decompressobj(_GZIP)
        while not member.eof:
            piece = member.decompress(data, _PIECE_BYTES)
            out += piece
            if len(out) > limit:
                return Unpacked(memoryview(out)[:limit], whole=False)
            data = memoryview(member.unconsumed_tail)
            if not member.eof and not data and len(piece) < _PIECE_BYTES:
                raise CodecError("it ends in the middle")
        data = memoryview(member.unused_data)
    return Unpacked(memoryview(out), whole=True)


def _snappy(data: memoryview, limit: int) -> Unpacked:
    if bytes(data[: len(_XERIAL_MAGIC)]) == _XERIAL_MAGIC:
        return _xerial(data[_XERIAL_HEADER_BYTES:], limit)
    size = _cramjam().snappy.decompress_raw_len(data)
    if size > limit:
        return Unpacked(memoryview(b""), whole=False)
    return Unpacked(memoryview(_cramjam().snappy.decompress_raw(data)), whole=True)


def _xerial(blocks: memoryview, limit: int) -> Unpacked:
    out = bytearray()
    while blocks:
        (size,) = struct.unpack_from(">I", blocks)
        block, blocks = blocks[4 : 4 + size], blocks[4 + size :]
        if len(block) != size:
            raise CodecError("it ends in the middle")
        if len(out) + _cramjam().snappy.decompress_raw_len(block) > limit:
            return Unpacked(memoryview(out), whole=False)
        out += memoryview(_cramjam().snappy.decompress_raw(block))
    return Unpacked(memoryview(out), whole=True)


def _lz4(data: memoryview, limit: int) -> Unpacked:
    return _into_buffer(_cramjam().lz4, data, limit)


def _zstd(data: memoryview, limit: int) -> Unpacked:
    return _into_buffer(_cramjam().zstd, data, limit)


def _into_buffer(library: Any, data: memoryview, limit: int) -> Unpacked:
    # Of this memory only what is written to takes space and time; a bytearray is written to when it is made.
    buffer = memoryview(mmap(-1, limit))
    try:
        size = library.decompress_into(data, buffer)
    except _cramjam().DecompressionError as error:
        if str(error) == _FULL:
            return Unpacked(buffer, whole=False)
        raise
    return Unpacked(buffer[:size], whole=True)


def _cramjam() -> Any:
    if find_spec("cramjam") is None:
        raise CodecError("the library cramjam is missing")
    import cramjam  # noqa: PLC0415 (a worker without it says so in a sentence)

    return cramjam


class _Codec(NamedTuple):
    name: str
    unpack: Callable[[memoryview, int], Unpacked]
    pack: Callable[[bytes], bytes]


_CODECS: Mapping[int, _Codec] = {
    1: _Codec("gzip", _gzip, aiokafka_codec.gzip_encode),
    2: _Codec("snappy", _snappy, aiokafka_codec.snappy_encode),
    3: _Codec("lz4", _lz4, aiokafka_codec.lz4_encode),
    4: _Codec("zstd", _zstd, aiokafka_codec.zstd_encode),
}

"""The rows of the gateway: jobs, the texts of those that have no answer, cancelled batches, providers and models.

The key of a row is its kind, one byte, its name and an end. The content is msgpack of the time of the newest event that
changed the row, and of the row. A job vouches for its texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from cj_stream.contracts.comparison_api import ComparisonRequest
from cj_stream.engine.overrides.table import Put, Table
from cj_stream.engine.positions import Newest, Positions
from cj_stream.engine.rows import RowKeys, encode_value, row_content, row_position
from cj_stream.gateway.jobs import CancelledBatch, Job, Scope

VERSION = 1
JOB, TEXTS, BATCH, SCOPE = b"j", b"t", b"b", b"s"
_END = b"\0"
_DECODERS: dict[bytes, Any] = {
    JOB: msgspec.msgpack.Decoder(tuple[float, Job]),
    TEXTS: msgspec.msgpack.Decoder(tuple[float, ComparisonRequest]),
    BATCH: msgspec.msgpack.Decoder(tuple[float, CancelledBatch]),
    SCOPE: msgspec.msgpack.Decoder(tuple[float, Scope]),
}
_ENCODER = msgspec.msgpack.Encoder()

Key = tuple[bytes, str]
"""The kind and the name of a row."""

ROW_KEYS = RowKeys(lambda key: key[:1] in _DECODERS and key.endswith(_END), vouches=lambda key: key.startswith(JOB))


class JobRows:
    """The rows of the partitions of this gateway."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.positions = Positions(table, self.newest)

    def read(self, partition: int, key: Key) -> tuple[Any, int]:
        """Return a row and its position: None and -1 where there is none."""
        value = self._table.read(partition, _bytes(key))
        return (None, -1) if value is None else (_decode(key[0], value)[1], row_position(value))

    def job(self, partition: int, job_id: str) -> Job | None:
        """Return a job as it is now, committed or not."""
        job: Job | None = self.read(partition, (JOB, job_id))[0]
        return job

    def request(self, partition: int, job_id: str) -> ComparisonRequest | None:
        """Return the texts of a job that has no answer yet."""
        request: ComparisonRequest | None = self.read(partition, (TEXTS, job_id))[0]
        return request

    def all(self, partition: int, kind: bytes) -> Iterator[tuple[str, Any]]:
        """Iterate over all rows of a kind in a partition, with their names."""
        for key, value in self._table.scan(partition, kind):
            yield key[1 : -len(_END)].decode(), _decode(kind, value)[1]

    def put(self, key: Key, row: Any, position: int, at: float) -> Put:
        """Return a row to be stored, or its deletion."""
        content = None if row is None else encode_value(VERSION, position, _ENCODER.encode((at, row)))
        return _bytes(key), content

    def newest(self, partition: int) -> Newest:
        """Return the highest position of the rows of a partition, and the time of its event."""
        newest = Newest()
        # Texts are large, and none is newer than its job.
        for kind in (JOB, BATCH, SCOPE):
            for _, value in self._table.scan(partition, kind):
                if row_position(value) > newest.position:
                    newest = Newest(row_position(value), _decode(kind, value)[0])
        return newest


def _bytes(key: Key) -> bytes:
    kind, name = key
    return kind + name.encode() + _END


def _decode(kind: bytes, value: bytes) -> tuple[float, Any]:
    decoded: tuple[float, Any] = _DECODERS[kind].decode(row_content(value, VERSION))
    return decoded

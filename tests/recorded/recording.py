"""What a version of the service left on its topics: every record, the committed offsets, and what it showed of its
batches.

A recording is a compressed file of JSON lines, written by ``record`` with the code of that version. It is read by the
tests of all later versions, so nothing here may depend on the service's code, and a line never gets another meaning.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
CHANGELOG = "changelog"
"""Stands for the topic's name, where the others are known by their settings."""


@dataclass(frozen=True)
class Record:
    """One record. ``topic`` is the name of the setting that names it; ``timestamp`` is in milliseconds."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


@dataclass
class Recording:
    """A version's records, in the order of topic, partition and offset."""

    version: str
    partitions: int
    correlation_key: str
    records: list[Record] = field(default_factory=list)
    committed: dict[str, dict[int, int]] = field(default_factory=dict)
    """By topic and partition, the offset that the group goes on from."""
    to_come: list[bytes] = field(default_factory=list)
    """Callbacks that the provider had not published yet."""
    shown: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By batch, and ``/run`` for a run that is not the newest: the answers ``detail``, ``comparisons``, ``result``."""

    def of(self, topic: str) -> list[Record]:
        """Return the records of a topic."""
        return [record for record in self.records if record.topic == topic]

    def write(self) -> Path:
        """Write the file of this version and return its path."""
        path = FOLDER / f"{self.version}.jsonl.xz"
        lines = "".join(json.dumps(line) + "\n" for line in self._lines())
        path.write_bytes(lzma.compress(lines.encode(), preset=9 | lzma.PRESET_EXTREME))
        return path

    def _lines(self) -> Iterator[list[Any]]:
        yield ["version", self.version, self.partitions, self.correlation_key]
        for record in self.records:
            fields = asdict(record) | {"key": _text(record.key), "value": _text(record.value)}
            yield ["record", fields | {"headers": [[name, _text(value)] for name, value in record.headers]}]
        for topic, offsets in self.committed.items():
            yield ["committed", topic, sorted(offsets.items())]
        yield from (["to come", _text(value)] for value in self.to_come)
        yield from (["shown", name, answers] for name, answers in self.shown.items())


def recordings() -> list[Path]:
    """Return the files of all recorded versions."""
    return sorted(FOLDER.glob("*.jsonl.xz"))


def read_recording(path: Path) -> Recording:
    """Return what a version left."""
    lines = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    _, version, partitions, correlation_key = lines[0]
    recording = Recording(version, partitions, correlation_key)
    for kind, *rest in lines[1:]:
        match kind:
            case "record":
                recording.records.append(_record(rest[0]))
            case "committed":
                recording.committed[rest[0]] = dict(rest[1])
            case "to come":
                recording.to_come.append(rest[0].encode("latin-1"))
            case "shown":
                recording.shown[rest[0]] = rest[1]
            case _:
                raise ValueError(f"{path.name}: no such kind of line: {kind!r}")
    return recording


def _record(fields: dict[str, Any]) -> Record:
    headers = tuple((name, value.encode("latin-1")) for name, value in fields["headers"])
    return Record(**fields | {"key": _bytes(fields["key"]), "value": _bytes(fields["value"]), "headers": headers})


def _text(value: bytes | None) -> str | None:
    # One character for each byte: unlike base64 it leaves alike what is alike, which can be compressed.
    return None if value is None else value.decode("latin-1")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("latin-1")

"""The loop over the log: what a home gets of a run, what is written, and what a commit releases."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
import pytest

from cj_stream.engine.dead_letters import Refusal
from cj_stream.engine.home import Applied, Entry, Undecided
from cj_stream.engine.log import Log
from cj_stream.engine.messages import VERSION, EventCodec, PartitionOpened, encode_message
from cj_stream.engine.runs import Record, Run

PARTITION = 2


class Said(msgspec.Struct, frozen=True, tag=True):
    """Somebody has said a word."""

    word: str


class Word(NamedTuple):
    """A subject."""

    key: str
    times: int


class Home:
    """Counts words; one that is not to be said cannot be decided."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []
        self.counts: dict[str, int] = {}

    def subjects(self) -> list[Word]:
        return [Word(*item) for item in self.counts.items()]

    async def apply(self, entries: Sequence[Entry[Said]]) -> Applied[Word, Said]:
        self.given.append([entry.event.word for entry in entries])
        good = [entry.event.word for entry in entries if entry.event.word != "oath"]
        for word in good:
            self.counts[word] = self.counts.get(word, 0) + 1
        bad = [Undecided(entry, Refusal("oath", "not here")) for entry in entries if entry.event.word == "oath"]
        changed = [Word(word, self.counts[word]) for word in dict.fromkeys(good)]
        return Applied([(word.encode(), b"row") for word in good], changed, bad)


class Reading:
    """A log with one home, on parts that note what is asked of them, in order."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.released: list[Word] = []
        self.home = Home()
        self.opened: set[int] = set()
        opener = SimpleNamespace(opened_at=self.opened, read=self._read)
        table = SimpleNamespace(write=self._write)
        letters: Any = SimpleNamespace(put=self._put, accepted=lambda _topic: self.steps.append("accepted"))
        positions: Any = SimpleNamespace(heartbeat=lambda _partition, offset: (b"h", offset))
        engine: Any = SimpleNamespace(
            fence=SimpleNamespace(check=lambda: self.steps.append("fence")),
            opener=opener,
            table=table,
            sender=None,
            codec=EventCodec[Said](Said),
            releases=SimpleNamespace(hold=self._hold),
        )
        self.log: Log[Word, Said] = Log(engine, positions, letters, lambda _partition: self.home)

    async def read(self, *messages: bytes) -> list[Any]:
        """Handle messages as one run; return the steps."""
        self.steps.clear()
        records = [Record("events", PARTITION, offset, 0.0, None, value) for offset, value in enumerate(messages)]
        await self.log.handle(Run.of(records))
        return self.steps

    def _read(self, partition: int, marker: PartitionOpened) -> bool:
        if marker.nonce == "ours":
            self.opened.add(partition)
        return marker.nonce == "ours"

    async def _write(self, _sender: object, _partition: int, puts: Sequence[tuple[bytes, Any]]) -> None:
        self.steps.append([key.decode() for key, _ in puts])

    async def _put(self, record: Record, refusal: Refusal, _value: bytes | None = None) -> None:
        self.steps.append((record.offset, refusal.reason))

    def _hold(self, _partition: int, offset: int, released: Sequence[Word]) -> None:
        self.steps.append(("held until", offset))
        self.released = list(released)


def said(*words: str) -> bytes:
    codec = EventCodec[Said](Said)
    return encode_message([codec.encode(Said(word)) for word in words])


def marker(nonce: str = "ours") -> bytes:
    return encode_message([EventCodec[Said](Said).encode(PartitionOpened(nonce=nonce))])


async def test_the_rows_of_a_run_are_written_at_once_and_then_held_until_its_last_record_is_committed() -> None:
    reading = Reading()
    steps = await reading.read(said("a", "b"), said("a"))
    assert steps == ["fence", "accepted", "accepted", "accepted", ["a", "b", "a"], ("held until", 1)]
    assert reading.home.given == [["a", "b", "a"]]


async def test_before_its_marker_is_read_a_partition_releases_nothing() -> None:
    reading = Reading()
    await reading.read(said("a"), marker("of another worker"), said("b"))
    assert reading.released == []


async def test_a_marker_within_a_run_releases_everything_as_it_is_at_its_end() -> None:
    reading = Reading()
    await reading.read(said("a"))
    steps = await reading.read(said("b"), marker(), said("a"))
    assert [step for step in steps if isinstance(step, list)] == [["b"], ["h"], ["a"]]
    assert reading.released == [Word("a", 2), Word("b", 1)]


async def test_what_cannot_be_decided_is_a_dead_letter_in_its_turn_and_the_rest_goes_on() -> None:
    reading = Reading()
    reading.opened.add(PARTITION)
    steps = await reading.read(said("a", "oath", "b"))
    assert steps[1:4] == ["accepted", (0, "oath"), "accepted"]
    assert reading.released == [Word("a", 1), Word("b", 1)]


async def test_what_is_no_message_and_no_event_is_a_dead_letter_alone() -> None:
    reading = Reading()
    steps = await reading.read(b"rubbish", encode_message([b"\xc1"]), said("a"))
    assert (0, "not_an_internal_message") in steps
    assert (1, "not_an_event") in steps
    assert reading.home.counts == {"a": 1}


async def test_a_message_of_a_newer_version_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class EndedError(Exception):
        """The process has ended."""

    def end(why: str) -> None:
        raise EndedError(why)

    monkeypatch.setattr("cj_stream.engine.log.end_process", end)
    with pytest.raises(EndedError, match="upgrade it"):
        await Reading().read(msgspec.msgpack.encode((VERSION + 1, [])))

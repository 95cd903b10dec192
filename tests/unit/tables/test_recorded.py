"""What earlier versions wrote is read, and means what it meant."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast, get_args

import msgspec
import pytest
from recorded.recording import CHANGELOG, Record, Recording, read_recording, recordings
from support.domain.story import MemoryTable

from cj_stream.agents.callbacks import answered
from cj_stream.agents.requests import requested
from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.event_log import (
    decode_event,
    encode_event,
)
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import read_request
from cj_stream.dead_letters.letter import StoredDeadLetter, read_dead_letter
from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.events import AnyEvent, BatchRequested, CallbackReceived, Event
from cj_stream.domain.identifiers import CorrelationIds, batch_seed
from cj_stream.domain.records import ComparisonStatus, Row
from cj_stream.domain.states import BatchState
from cj_stream.domain.todo import is_done
from cj_stream.effects.outcomes import outcome_message
from cj_stream.engine.messages import PartitionOpened, decode_message
from cj_stream.engine.overrides.table import Table
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    row_position,
)
from cj_stream.operations.settings import Settings
from cj_stream.tables.batch_rows import BatchRows
from cj_stream.tables.codec import (
    KINDS,
    decode_row,
    encode_row,
    read_key,
    row_key,
)
from cj_stream.views.comparisons_page import comparisons_page
from cj_stream.views.result import result
from cj_stream.views.summary import Place, detail

_HEADER_BYTES = len(encode_row(cast("Row", None), 0)) - 1
"""What stands before the msgpack of a row."""
FACTS = (
    *("batch_id", "run", "runs", "state", "created_at", "last_activity_at", "state_since", "finished_at", "partition"),
    *("essays", "usable_essays", "current_iteration", "total_comparisons", "completed_comparisons"),
    *("failed_comparisons", "failure", "failure_details", "stop_reason", "correlation_id"),
    *("joined_correlation_ids", "processing_metadata", "failed_essays", "outcomes", "policy"),
)
"""What a view says of a batch as it is; the rest of the answer is how it is put."""


@dataclass
class Kept:
    """The table of one partition as its changelog makes it."""

    partition: int
    table: MemoryTable = field(default_factory=MemoryTable)

    @property
    def rows(self) -> BatchRows:
        return BatchRows(cast("Table", self.table))

    def batches(self) -> Iterator[Batch]:
        for head in self.rows.heads(self.partition):
            batch = self.rows.load(self.partition, *head.key)
            assert batch is not None
            yield batch


@pytest.fixture(scope="module", params=recordings(), ids=lambda path: path.name.removesuffix(".jsonl.xz"))
def recording(request: pytest.FixtureRequest) -> Recording:
    return read_recording(request.param)


def written_rows(recording: Recording) -> Iterator[tuple[Record, Row, Any]]:
    """Every row of the changelog, read, and the bare msgpack of it."""
    for record in recording.of(CHANGELOG):
        if record.value is not None and record.key != HEARTBEAT_KEY:
            assert record.key is not None
            row = decode_row(record.key, record.value)
            yield record, row, msgspec.msgpack.decode(record.value[_HEADER_BYTES:])


def logged_events(recording: Recording) -> Iterator[tuple[Event | PartitionOpened, dict[str, Any]]]:
    """Every event of the log, read, and the bare msgpack of it; what the version could not read is left out."""
    for data in logged(recording):
        try:
            yield decode_event(data), msgspec.msgpack.decode(data)
        except msgspec.MsgspecError:
            continue


def logged(recording: Recording) -> Iterator[bytes]:
    for record in recording.of("batch_events_topic"):
        try:
            yield from decode_message(record.value or b"")
        except msgspec.MsgspecError:
            continue


def tables(recording: Recording) -> dict[int, Kept]:
    kept: dict[int, Kept] = {}
    for record in recording.of(CHANGELOG):
        table = kept.setdefault(record.partition, Kept(record.partition)).table
        assert record.key is not None
        if record.value is None:
            table.data.pop(record.key, None)
        else:
            table.data[record.key] = record.value
    return kept


def batches(recording: Recording) -> dict[tuple[str, int], tuple[int, Batch]]:
    """Every run, with its partition."""
    found = ((kept.partition, batch) for kept in tables(recording).values() for batch in kept.batches())
    return {batch.key: (partition, batch) for partition, batch in found}


def dead_letters(recording: Recording) -> list[StoredDeadLetter]:
    found = recording.of("dead_letters_topic")
    return [read_dead_letter(record.key, record.value, record.headers) for record in found]


def says_no_less(new: Any, old: Any) -> bool:
    """Whether a value holds all that an older one holds, at the same places."""
    if isinstance(old, Mapping):
        return isinstance(new, Mapping) and all(name in new and says_no_less(new[name], old[name]) for name in old)
    if isinstance(old, list):
        return isinstance(new, list) and len(new) >= len(old) and all(map(says_no_less, new, old))
    return bool(new == old)


def test_every_row_is_read_and_written_as_it_was(recording: Recording) -> None:
    for record, row, bare in written_rows(recording):
        assert record.key is not None
        assert record.value is not None
        batch_id, run = read_key(record.key)
        assert row_key(batch_id, run, row) == record.key
        again = encode_row(row, row_position(record.value))
        assert row_position(again) == row_position(record.value)
        assert decode_row(record.key, again) == row
        assert says_no_less(msgspec.msgpack.decode(again[_HEADER_BYTES:]), bare), row


def test_every_event_is_read_and_written_as_it_was(recording: Recording) -> None:
    for event, bare in logged_events(recording):
        again = encode_event(event)
        assert decode_event(again) == event
        assert says_no_less(msgspec.msgpack.decode(again), bare), event


def test_nothing_in_the_log_is_refused_that_was_not_refused_then(recording: Recording) -> None:
    refused: Counter[str] = Counter()
    for record in recording.of("batch_events_topic"):
        try:
            events = decode_message(record.value or b"")
        except msgspec.MsgspecError:
            refused["not_an_internal_message"] += 1
            continue
        for data in events:
            try:
                decode_event(data)
            except msgspec.MsgspecError:
                refused["not_an_event"] += 1
    then = Counter(letter.reason for letter in dead_letters(recording))
    assert refused == {reason: count for reason, count in then.items() if reason in refused}
    assert refused.keys() == {"not_an_internal_message", "not_an_event"}


def test_every_batch_is_what_it_was(recording: Recording) -> None:
    kept, compared = batches(recording), 0
    ids = CorrelationIds(recording.correlation_key.encode())
    for name, shown in recording.shown.items():
        (partition, batch) = kept[name.partition("/")[0], shown["detail"]["run"]]
        if batch.control.activity_at > _seconds(shown["detail"]["last_activity_at"]):
            continue  # it went on after it was looked at
        compared += 1
        today = json.loads(json.dumps(detail(batch, Place(partition, ""), shown["detail"]["runs"])))
        for fact in FACTS:
            assert says_no_less(today[fact], shown["detail"][fact]), (name, fact)
        page = comparisons_page(batch, None, 0, 1_000, partition=partition, correlation_ids=ids)
        assert says_no_less(page, shown["comparisons"])
        assert says_no_less(result(batch), shown["result"])
    assert compared >= 20


def test_every_identity_is_derived_as_it_was(recording: Recording) -> None:
    settings = Settings()
    published = {
        (topic, json.loads(record.value or b"")["event_id"]): record
        for topic in ("assessment_completed_topic", "assessment_failed_topic", "assessment_result_topic")
        for record in recording.of(topic)
    }
    outcomes = 0
    for partition, batch in batches(recording).values():
        assert home_partition(batch.batch_id, recording.partitions) == partition
        assert batch_seed(*batch.key) == batch.roster.seed
        for outcome in map(Outcome.named, batch.control.published):
            topic, event = outcome_message(batch, outcome, settings, f"{batch.batch_id}-{batch.run}")
            setting = next(name for name in Settings.model_fields if getattr(settings, name) == topic)
            record = published[setting, json.loads(event.value)["event_id"]]
            assert record.key == event.key
            if outcome.kind is OutcomeKind.RESULT:
                then, now = (json.loads(value or b"")["data"]["essay_results"] for value in (record.value, event.value))
                assert says_no_less(now, then)
            outcomes += 1
    assert outcomes >= 20


def test_every_message_from_outside_becomes_the_event_that_it_became(recording: Recording) -> None:
    logged_then = [event for event, _ in logged_events(recording)]
    asked = {
        (event.origin.partition, event.origin.offset): event
        for event in logged_then
        if isinstance(event, BatchRequested) and event.origin is not None
    }
    told = {
        (event.correlation_id, event.winner, event.error_code): event
        for event in logged_then
        if isinstance(event, CallbackReceived)
    }
    refused: Counter[str] = Counter()
    for record in recording.of("assessment_request_topic"):
        try:
            request = requested(read_request(record.value, max_essays=Settings().max_essays))
        except Refused:
            refused["requests"] += 1
            continue
        then = asked.pop((record.partition, record.offset), None)
        assert then is None or msgspec.structs.replace(request, origin=then.origin) == then
    for record in recording.of("llm_provider_callback_topic"):
        try:
            callback = answered(read_callback(record.value))
        except Refused:
            refused["callbacks"] += 1
            continue
        now = (callback.correlation_id, callback.winner, callback.error_code)
        then_told = told.pop(now, callback)
        # Receipts are kept since, so what was told before has none.
        assert then_told in (callback, msgspec.structs.replace(callback, receipt=None))
    assert (asked, told) == ({}, {})
    assert refused == {"requests": 2, "callbacks": 1}
    assert all(read_callback(value).winner for value in recording.to_come)


def test_every_dead_letter_is_read(recording: Recording) -> None:
    letters = dead_letters(recording)
    assert len({letter.reason for letter in letters}) == len(letters) >= 5
    assert all(letter.is_whole and letter.detail for letter in letters)


def test_batches_were_in_every_state_and_comparisons_too(recording: Recording) -> None:
    found = [batch for _, batch in batches(recording).values()]
    assert {batch.state for batch in found} == set(BatchState)
    assert {row.status for batch in found for row in batch.comparisons} == set(ComparisonStatus)
    assert any(batch.finished and not is_done(batch) for batch in found), "one has ended and has not told anybody"
    assert any(batch.run > 1 for batch in found)
    assert any(batch.control.joined and batch.control.refusals for batch in found)
    gone = {record.key for record in recording.of(CHANGELOG) if record.value is None}
    assert {kind for kind in KINDS if any(key and key.startswith(KINDS[kind]) for key in gone)} == set(KINDS)
    assert recording.to_come
    for topic in ("assessment_request_topic", "llm_provider_callback_topic", "batch_events_topic"):
        ends = {record.partition: record.offset + 1 for record in recording.of(topic)}
        unread = {at: end for at, end in ends.items() if end > recording.committed[topic].get(at, 0)}
        assert unread, f"something on the {topic} was not read"


EXTEND = """
no recording has {what}: rows and messages of this kind come new. Give each a place in the story of
tests/recorded/record.py, and record it: PYTHONPATH=tests .venv/bin/python -m recorded.record next
"""


def test_recordings_have_every_kind_of_row_and_of_event_with_every_field() -> None:
    """A change of rows or messages extends the recordings, or this fails."""
    fields: defaultdict[type, set[str]] = defaultdict(set)
    for path in recordings():
        recording = read_recording(path)
        for _, row, bare in written_rows(recording):
            _note_fields(row, bare, fields)
        for event, bare in logged_events(recording):
            _note_fields(event, bare, fields)
    wanted = _with_parts({*KINDS, *get_args(AnyEvent)})
    missing = {kind.__name__: _fields(kind) - fields[kind] for kind in wanted if _fields(kind) - fields[kind]}
    assert not missing, EXTEND.format(what=missing)


def _fields(kind: type) -> set[str]:
    return {info.encode_name for info in msgspec.structs.fields(kind)}


def _with_parts(kinds: set[type]) -> set[type]:
    """Return the kinds, and the structures that their fields consist of."""
    parts: set[type] = set()
    waiting: list[Any] = list(kinds)
    while waiting:
        found = waiting.pop()
        if isinstance(found, type) and issubclass(found, msgspec.Struct) and found not in parts:
            parts.add(found)
            waiting += [info.type for info in msgspec.structs.fields(found)]
        waiting += get_args(found)
    return parts


def _note_fields(value: Any, bare: Any, fields: defaultdict[type, set[str]]) -> None:
    """Note which fields of a value, and of what it consists of, were written."""
    if isinstance(value, msgspec.Struct):
        infos = msgspec.structs.fields(type(value))
        if isinstance(bare, Mapping):
            pairs = [(info, bare[info.encode_name]) for info in infos if info.encode_name in bare]
        else:
            pairs = list(zip(infos, bare, strict=False))
        for info, part in pairs:
            fields[type(value)].add(info.encode_name)
            _note_fields(getattr(value, info.name), part, fields)
    elif isinstance(value, tuple):
        for item, part in zip(value, bare, strict=True):
            _note_fields(item, part, fields)


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp() + 0.001


def test_recordings_are_small() -> None:
    assert all(path.stat().st_size < 200_000 for path in recordings())
    assert any(path.name.startswith("v0.1.0") for path in recordings())

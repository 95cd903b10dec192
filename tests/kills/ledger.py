"""What the topics say about a run so far, kept up to date as their records come."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, cast

import msgspec
from support.domain.story import MemoryTable
from support.installation.topic_mailbox import Mailbox, Record

from cj_stream.contracts.callback_reader import read_callback
from cj_stream.contracts.event_log import decode_event
from cj_stream.contracts.refusal import Refused
from cj_stream.contracts.request_reader import read_request
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import (
    BatchRequested,
    CallbackReceived,
    Event,
    PairsPlanned,
    SubmissionAccepted,
)
from cj_stream.domain.identifiers import CorrelationIds, read_correlation_id
from cj_stream.domain.partition import PartitionBatches
from cj_stream.domain.records import Comparison, ComparisonStatus
from cj_stream.engine.messages import PartitionOpened, decode_message
from cj_stream.engine.rows import (
    HEARTBEAT_KEY,
    row_position,
)
from cj_stream.operations.batch_policy import policy_of
from cj_stream.operations.settings import Settings
from cj_stream.tables.batch_rows import BatchRows
from cj_stream.tables.codec import (
    KINDS,
    decode_row,
    read_key,
)

Key = tuple[str, int]
"""A batch id and an index of a comparison, or an iteration."""


class Partition:
    """One partition: its table as the changelog has it, and its batches as the log of events makes them."""

    def __init__(self, settings: Settings) -> None:
        self.table = MemoryTable()
        self.rows = BatchRows(cast("Any", self.table))
        self.changelog: list[tuple[int, bytes, bytes]] = []
        """Offset, key and value of each record."""
        self.events: list[tuple[int, float, Event]] = []
        self.opened: list[int] = []
        """Offsets of the markers: somebody became the owner."""
        self.from_log: dict[str, Batch] = {}
        self._applied = 0
        ids = CorrelationIds(settings.correlation_key.get_secret_value().encode())
        self._batches = PartitionBatches(ids, policy_of(settings), lambda batch_id, _: self.from_log.get(batch_id))

    def replay(self, last: int) -> dict[bytes, bytes]:
        """Return the rows that the changelog makes up to an offset, of each key that with the highest position."""
        rows: dict[bytes, bytes] = {}
        for offset, key, value in self.changelog:
            if (
                key != HEARTBEAT_KEY
                and offset <= last
                and (key not in rows or row_position(value) >= row_position(rows[key]))
            ):
                rows[key] = value
        return rows

    def apply(self, before: float) -> None:
        """Apply the events of the log that lie before an offset, each once."""
        while self._applied < len(self.events) and self.events[self._applied][0] < before:
            _, at, event = self.events[self._applied]
            self._applied += 1
            if isinstance(event, PartitionOpened):
                continue
            change = self._batches.decide(event, at)
            self._batches.apply(change)
            if change.batch is not None:
                self.from_log[change.batch.batch_id] = change.batch

    def changes_of_owner(self, start: int, end: int) -> int:
        """Return how many markers lie between two offsets."""
        return bisect_left(self.opened, end) - bisect_right(self.opened, start)


class Ledger:
    """Reads the mailbox; call `update` before looking."""

    def __init__(self, settings: Settings, mailbox: Mailbox) -> None:
        self.partitions = [Partition(settings) for _ in range(settings.partitions)]
        self.judgements: dict[Key, set[Comparison]] = defaultdict(set)
        """Every different row that ever said that a comparison has its verdict."""
        self.planned: dict[Key, int] = {}
        """By batch and iteration: the offset of its plan."""
        self.accepted: dict[tuple[str, int, int], int] = {}
        """By batch, index and attempt: the offset of the first report that the provider has it."""
        self.answered: dict[str, int] = {}
        """By correlation id: the offset of the first answer of the provider."""
        self.forwarded: Counter[str] = Counter()
        """How often the log has each correlation id of a callback, and each batch id of a request."""
        self._settings = settings
        self._mailbox = mailbox
        self._read: Counter[str] = Counter()
        self._ids = CorrelationIds(settings.correlation_key.get_secret_value().encode())

    def update(self) -> None:
        """Take in what has come since the last time."""
        self._take(self._settings.changelog_topic, self._row)
        self._take(self._settings.batch_events_topic, self._events)

    def inputs(self, before: Callable[[Record], bool]) -> Counter[str]:
        """Return what of the inputs a group that has read ``before`` must have forwarded, and how often."""
        found: Counter[str] = Counter()
        for record in self._mailbox.records[self._settings.llm_provider_callback_topic]:
            with suppress(Refused):
                answered = read_callback(record.value).correlation_id
                # What was never ours is not forwarded.
                if before(record) and answered is not None and read_correlation_id(answered) is not None:
                    found[str(answered)] += 1
        for record in self._mailbox.records[self._settings.assessment_request_topic]:
            with suppress(Refused):
                if before(record):
                    found[read_request(record.value, max_essays=self._settings.max_essays).batch_id] += 1
        return found

    def batches(self) -> Iterator[tuple[int, Batch]]:
        """Iterate over all batches that the changelog has, with their partition."""
        for number, partition in enumerate(self.partitions):
            for head in partition.rows.heads(number):
                batch = partition.rows.load(number, *head.key)
                assert batch is not None
                yield number, batch

    def correlation_id(self, number: int, batch: Batch, index: int, attempt: int) -> str:
        """Return the correlation id of an attempt."""
        pair = batch.essay_ids(index)
        parts: dict[str, Any] = {"batch_id": batch.batch_id, "run": batch.run, "index": index, "attempt": attempt}
        return str(self._ids.make(partition=number, pair=pair, **parts))

    def _take(self, topic: str, take: Callable[[Record], None]) -> None:
        records = self._mailbox.records[topic]
        for record in records[self._read[topic] :]:
            take(record)
        self._read[topic] = len(records)

    def _row(self, record: Record) -> None:
        assert record.key is not None
        assert record.value is not None, "nothing is deleted in a run"
        self.partitions[record.partition].changelog.append((record.offset, record.key, record.value))
        rows = self.partitions[record.partition].table.data
        before = rows.get(record.key)
        if before is None or row_position(record.value) >= row_position(before):
            rows[record.key] = record.value
        if record.key != HEARTBEAT_KEY and record.key[:1] == KINDS[Comparison]:
            row = cast("Comparison", decode_row(record.key, record.value))
            if row.status is ComparisonStatus.JUDGED:
                self.judgements[read_key(record.key)[0], row.index].add(row)

    def _events(self, record: Record) -> None:
        partition = self.partitions[record.partition]
        with suppress(msgspec.MsgspecError):
            for data in decode_message(record.value or b""):
                event = decode_event(data)
                partition.events.append((record.offset, record.timestamp / 1000, event))
                self._note(partition, record, event)

    def _note(self, partition: Partition, record: Record, event: Event | PartitionOpened) -> None:
        match event:
            case PartitionOpened():
                partition.opened.append(record.offset)
            case PairsPlanned():
                self.planned.setdefault((event.batch_id, event.iteration), record.offset)
            case BatchRequested():
                self.forwarded[event.batch_id] += 1
            case CallbackReceived():
                self.forwarded[str(event.correlation_id)] += 1
                self.answered.setdefault(str(event.correlation_id), record.offset)
            case SubmissionAccepted():
                self.accepted.setdefault((event.batch_id, event.index, event.attempt), record.offset)

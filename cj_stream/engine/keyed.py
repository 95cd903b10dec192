"""A ready-made home for apps whose subjects are one row each: state by key, decided by `Rules`.

The row of a key has the state and the time of its newest event, both msgpack. The state is read from the local table
whenever an event comes: nothing of it is kept in memory but what the dispatcher and the windows hold.

Tests: ``test_keyed.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import structlog

from cj_stream.engine.dead_letters import Refusal
from cj_stream.engine.forwarder import EventTooLargeError
from cj_stream.engine.home import Applied, Entry, Undecided
from cj_stream.engine.limits import EVENT_LIMIT
from cj_stream.engine.overrides.table import Put, Table
from cj_stream.engine.positions import Newest, Positions
from cj_stream.engine.rows import RowKeys, encode_value, row_content, row_position

log = structlog.get_logger(__name__)

VERSION = 1
_KIND = b"k"
_END = b"\0"
ROW_LIMIT = EVENT_LIMIT
"""The largest row, in bytes: it fits into a record of the changelog."""

StateT = TypeVar("StateT")
EventT = TypeVar("EventT")
EffectT = TypeVar("EffectT")

KEYED = RowKeys(lambda key: key.startswith(_KIND) and key.endswith(_END))
"""What the keys of these rows look like."""


class Rules(Generic[StateT, EventT, EffectT]):
    """What an app decides: no I/O, no clock. All times are in seconds since the epoch, by the broker's clock.

    State and events are values: `decide` returns a new state, and changes nothing of the one that it was given.
    """

    state: Any
    """The type of the state, as msgspec knows it."""
    events: Any
    """The union of the kinds of event, msgspec structs with a tag."""

    def key(self, event: EventT) -> str:
        """Return the key that an event is about."""
        raise NotImplementedError

    def decide(self, state: StateT | None, event: EventT, at: float) -> StateT | None:
        """Return what an event makes of the state of its key; None is no state, and no row.

        Input may be read twice, so an app tells by the state whether it has seen an event before. What this raises, or
        a state that fits into no record, makes a dead letter of the event; then nothing is done for its key before
        another event of it is decided, or its partition is opened anew.
        """
        raise NotImplementedError

    def todo(self, key: str, state: StateT) -> Sequence[EffectT]:  # noqa: ARG002 (what an app may make use of)
        """Return what is to be done for a key in this state, what is under way included. Effects are hashable."""
        return ()

    def next_due(self, key: str, state: StateT, opened_at: float) -> float | None:  # noqa: ARG002 (as above)
        """Return when a key falls due, None for never; ``opened_at`` is since when its partition is served."""
        return None

    def due(self, key: str, at: float) -> EventT:
        """Return the event that says that the deadline ``at`` of a key has passed."""
        raise NotImplementedError

    def instead(self, report: EventT, error: EventTooLargeError) -> EventT:  # noqa: ARG002 (as above)
        """Return the event for the log in place of a report that fits into no record."""
        raise error


class Item(NamedTuple, Generic[StateT]):
    """A key and its state, None when it has none any more; ``stopped`` when its last event could not be decided."""

    key: str
    state: StateT | None
    stopped: bool = False


class KeyedRows(Generic[StateT]):
    """The rows of an app, one per key, in the partitions of this worker."""

    def __init__(self, table: Table, state: Any) -> None:
        self._table = table
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: Any = msgspec.msgpack.Decoder(tuple[float, state])

    def read(self, partition: int, key: str) -> tuple[StateT | None, int]:
        """Return the state of a key and the position of its row: None and -1 for a key without one."""
        value = self._table.read(partition, _row_key(key))
        return (None, -1) if value is None else (self._decode(value)[1], row_position(value))

    def all(self, partition: int) -> Iterator[Item[StateT]]:
        """Iterate over all keys of a partition that have a state."""
        for key, value in list(self._table.scan(partition, _KIND)):
            yield Item(key[len(_KIND) : -len(_END)].decode(), self._decode(value)[1])

    def newest(self, partition: int) -> Newest:
        """Return the highest position of the rows of a partition, and the time of their newest event."""
        values = [value for _, value in self._table.scan(partition, _KIND)]
        at = max((self._decode(value)[0] for value in values), default=0.0)
        return Newest(max(map(row_position, values), default=-1), at)

    def put(self, key: str, state: StateT | None, position: int, at: float) -> Put:
        """Return the row of a key, or its deletion."""
        if state is None:
            return _row_key(key), None
        return _row_key(key), encode_value(VERSION, position, self._encoder.encode((at, state)))

    def _decode(self, value: bytes) -> tuple[float, StateT]:
        decoded: tuple[float, StateT] = self._decoder.decode(row_content(value, VERSION))
        return decoded


class _Held(NamedTuple, Generic[StateT]):
    state: StateT | None
    stored: int
    """The position of its row before this run."""
    put: Put | None = None
    """Its row, when it has changed."""
    stopped: bool = False


class KeyedHome(Generic[StateT, EventT, EffectT]):
    """The keys of one partition."""

    def __init__(
        self, partition: int, rows: KeyedRows[StateT], positions: Positions, rules: Rules[StateT, EventT, EffectT]
    ) -> None:
        self._partition = partition
        self._rows = rows
        self._positions = positions
        self._rules = rules

    def subjects(self) -> Iterator[Item[StateT]]:
        """Iterate over all keys."""
        return self._rows.all(self._partition)

    async def apply(self, entries: Sequence[Entry[EventT]]) -> Applied[Item[StateT], EventT]:
        """Apply events, but those that a row ahead of the log knows already: who wrote it died before the commit."""
        held: dict[str, _Held[StateT]] = {}
        undecided: list[Undecided[EventT]] = []
        for entry in entries:
            try:
                key = self._rules.key(entry.event)
                key.encode()
            except Exception as error:  # noqa: BLE001 (it would fail the same way again, and end every worker)
                undecided.append(_undecided(entry, error))
                continue
            # A row that cannot be read is no fault of the event: that ends the worker.
            found = held.get(key) or _Held(*self._rows.read(self._partition, key))
            try:
                held[key] = self._decided(key, found, entry)
            except Exception as error:  # noqa: BLE001 (as above)
                undecided.append(_undecided(entry, error))
                held[key] = found._replace(stopped=True)
        items = [
            Item(key, found.state, found.stopped)
            for key, found in held.items()
            if found.put is not None or found.stopped
        ]
        return Applied(self._puts(held, entries), items, undecided)

    def _decided(self, key: str, found: _Held[StateT], entry: Entry[EventT]) -> _Held[StateT]:
        record = entry.record
        here = self._positions.of(self._partition, record.offset)
        if found.stored >= here:
            return found
        state = self._rules.decide(found.state, entry.event, record.timestamp)
        put = self._rows.put(key, state, here, record.timestamp)
        if (size := len(put[0]) + len(put[1] or b"")) > ROW_LIMIT:
            raise ValueError(f"the row of its key would have {size} bytes, at most {ROW_LIMIT} fit")
        return _Held(state, found.stored, put)

    def _puts(self, held: dict[str, _Held[StateT]], entries: Sequence[Entry[EventT]]) -> list[Put]:
        puts = [found.put for found in held.values() if found.put is not None]
        if any(value is None for _, value in puts):
            puts.append(self._positions.heartbeat(self._partition, entries[-1].record.offset))
        return puts


def _undecided(entry: Entry[EventT], error: Exception) -> Undecided[EventT]:
    log.error("an event could not be decided", offset=entry.record.offset, exc_info=error)
    return Undecided(entry, Refusal("undecidable_event", f"{type(error).__name__}: {error}"))


def _row_key(key: str) -> bytes:
    return _KIND + key.encode() + _END

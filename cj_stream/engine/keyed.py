"""A ready-made home for apps whose subjects are one row each: state by key, decided by `Rules`.

    class Counting(Rules[Count, Counted, Never]): ...
    app = App(settings, KEYED, codec_of(rules), lambda engine: KeyedService(engine, rules, ...))

The row of a key has the state and the time of its newest event, both msgpack. The state is read from the local table
whenever an event comes: nothing of it is kept in memory but what the dispatcher and the windows hold.

Tests: ``test_keyed.py``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import structlog

from cj_stream.engine.all_read import AllRead
from cj_stream.engine.dead_letters import DeadLetters, Handle, Refusal
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.forwarder import EventTooLargeError
from cj_stream.engine.hardening import Engine
from cj_stream.engine.home import Applied, Entry, Undecided
from cj_stream.engine.log import Log
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.overrides.table import BatchTable, Put
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.positions import Newest, Positions
from cj_stream.engine.reports import Reports
from cj_stream.engine.rows import RowKeys, encode_value, row_content, row_position
from cj_stream.engine.runs import Record, Run, in_portions
from cj_stream.engine.service import Service
from cj_stream.engine.shared_input import OwnInput
from cj_stream.engine.topics import TopicSpec, changelog_topic, dead_letter_topic, log_topic
from cj_stream.engine.windows import Due, Windows
from cj_stream.engine.work import Work

log = structlog.get_logger(__name__)

VERSION = 1
_KIND = b"k"
_END = b"\0"
LONGEST_LIFE_MS = 30 * 24 * 3600 * 1000
"""How long a row is of use that a worker wrote late, see `topics.changelog_topic`."""

StateT = TypeVar("StateT")
EventT = TypeVar("EventT")
EffectT = TypeVar("EffectT")

KEYED = RowKeys(lambda key: key.startswith(_KIND) and key.endswith(_END))
"""What the keys of these rows look like."""


class Rules(Generic[StateT, EventT, EffectT]):
    """What an app decides: no I/O, no clock. All times are in seconds since the epoch, by the broker's clock."""

    state: type[StateT]
    """The type of the state, as msgspec knows it."""
    events: Any
    """The union of the kinds of event, msgspec structs with a tag."""

    def key(self, event: EventT) -> str:
        """Return the key that an event is about."""
        raise NotImplementedError

    def decide(self, state: StateT | None, event: EventT, at: float) -> StateT | None:
        """Return what an event makes of the state of its key; None is no state, and no row."""
        raise NotImplementedError

    def todo(self, _key: str, _state: StateT) -> Sequence[EffectT]:
        """Return what is to be done for a key in this state; an effect says which key it is for."""
        return ()

    def next_due(self, _key: str, _state: StateT, _opened_at: float) -> float | None:
        """Return when a key falls due, None for never; ``opened_at`` is since when its partition is served."""
        return None

    def due(self, key: str, at: float) -> EventT:
        """Return the event that says that the deadline ``at`` of a key has passed."""
        raise NotImplementedError

    def instead(self, _report: EventT, error: EventTooLargeError) -> EventT:
        """Return the event for the log in place of a report that fits into no record."""
        raise error


class Item(NamedTuple, Generic[StateT]):
    """A key and its state, None when it has none any more."""

    key: str
    state: StateT | None


class KeyedRows(Generic[StateT]):
    """The rows of an app, one per key, in the partitions of this worker."""

    def __init__(self, table: BatchTable, state: type[StateT]) -> None:
        self._table = table
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: Any = msgspec.msgpack.Decoder(tuple[float, state])  # type: ignore[valid-type]

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
    position: int
    at: float


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
        changed: dict[str, _Held[StateT]] = {}
        undecided: list[Undecided[EventT]] = []
        for entry in entries:
            try:
                self._decide(entry, changed)
            except Exception as error:  # it would fail the same way again, and end every worker in turn
                log.exception("an event could not be decided", offset=entry.record.offset)
                undecided.append(Undecided(entry, Refusal("undecidable_event", f"{type(error).__name__}: {error}")))
        return Applied(
            self._puts(changed, entries), [Item(key, held.state) for key, held in changed.items()], undecided
        )

    def _decide(self, entry: Entry[EventT], changed: dict[str, _Held[StateT]]) -> None:
        key, record = self._rules.key(entry.event), entry.record
        here = self._positions.of(self._partition, record.offset)
        if key in changed:
            state, stored = changed[key].state, changed[key].stored
        else:
            state, stored = self._rows.read(self._partition, key)
        if stored < here:
            decided = self._rules.decide(state, entry.event, record.timestamp)
            changed[key] = _Held(decided, stored, here, record.timestamp)

    def _puts(self, changed: dict[str, _Held[StateT]], entries: Sequence[Entry[EventT]]) -> list[Put]:
        puts = [self._rows.put(key, held.state, held.position, held.at) for key, held in changed.items()]
        if any(value is None for _, value in puts):
            puts.append(self._positions.heartbeat(self._partition, entries[-1].record.offset))
        return puts


class KeyedWork(Work[Item[Any], Any]):
    """The work of keys, as `Rules` tell it."""

    def __init__(self, rules: Rules[Any, Any, Any]) -> None:
        self._rules = rules

    def todo(self, subject: Item[Any]) -> Sequence[Any]:
        """Return what is to be done for a key."""
        return () if subject.state is None else self._rules.todo(subject.key, subject.state)


class KeyedDeadlines(Generic[StateT, EventT]):
    """The deadlines of keys, as `Rules` tell them."""

    def __init__(self, rules: Rules[StateT, EventT, Any]) -> None:
        self._rules = rules

    def next_due(self, subject: Item[StateT], opened_at: float) -> float | None:
        """Return when a key falls due next."""
        return None if subject.state is None else self._rules.next_due(subject.key, subject.state, opened_at)

    def watched(self, subject: Item[StateT]) -> str:
        """Return what is kept of a key that waits."""
        return subject.key

    def is_last(self, _watched: str) -> bool:
        """Return that it may fall due again."""
        return False

    def event(self, due: Due[str]) -> EventT:
        """Return the event for the log."""
        return self._rules.due(due.watched, due.at)

    async def emitted(self, due: Due[str]) -> None:
        """Say it in the log."""
        log.info("due", key=due.watched, due_at=due.at, unread=due.unread)


def codec_of(rules: Rules[Any, EventT, Any]) -> EventCodec[EventT]:
    """Return the codec of an app's events."""
    return EventCodec(rules.events)


class KeyedService(Service, Generic[StateT, EventT, EffectT]):
    """What an app with `Rules` adds to the engine. A subclass says what it reads, `inputs`, and may say more.

    ``execute`` carries out an effect and returns the event that reports it; it may raise `PostponedError`.
    ``waits_for`` are the topics that have to be read before a deadline counts as passed.
    """

    def __init__(
        self,
        engine: Engine[EventT],
        rules: Rules[StateT, EventT, EffectT],
        execute: Callable[[EffectT, Item[StateT], int], Awaitable[EventT]],
        *,
        window_seconds: float = 60.0,
        waits_for: Sequence[str] = (),
    ) -> None:
        settings = engine.settings
        self.engine = engine
        self.rules = rules
        self.rows = KeyedRows(engine.table, rules.state)
        self.positions = Positions(engine.table, self.rows.newest)
        self.dead_letters = DeadLetters(engine.publisher, engine.deliveries, settings.dead_letter_topic)
        self.log = Log(engine, self.positions, self.dead_letters, self._new_home)
        reports = Reports(engine.forwarder, rules.instead)
        self.dispatcher = Dispatcher(KeyedWork(rules), execute, reports.send)
        self.window_seconds = window_seconds
        read = AllRead(engine, *waits_for).ask
        deadlines = KeyedDeadlines(rules)
        self.windows = Windows(window_seconds, deadlines, engine.opener, engine.forwarder, read)
        self.inputs = ()
        self.topics = self.own_topics()
        names = ", ".join(map(settings.names.setting, ("app_id",)))
        self.own_input = OwnInput((settings.log_topic,), settings=names, consequence="carry out every effect twice")

    def forward(self, event: EventT) -> None:
        """Send an event to the home of its key; commits wait until the broker has it. Raises `EventTooLargeError`."""
        self.engine.forwarder.forward(self.home_of(self.rules.key(event)), event)

    def taking(self, read: Callable[[Record], EventT]) -> Handle:
        """Return a handler that forwards what ``read`` makes of each record; what it refuses is a dead letter.

        ``read`` raises `Refusal`.
        """

        async def handle(run: Run) -> None:
            async for record in in_portions(run.records):
                try:
                    self.forward(read(record))
                except Refusal as refusal:
                    await self.dead_letters.put(record, refusal)
                except EventTooLargeError as error:
                    await self.dead_letters.put(record, Refusal("too_large", str(error)))
                else:
                    self.dead_letters.accepted(record.topic)

        return handle

    def home_of(self, key: str) -> int:
        """Return the partition that a key lives in."""
        return home_partition(key, self.engine.settings.partitions)

    def own_topics(self) -> list[TopicSpec]:
        """Return the topics that are the app's own: its events, its changelog, its dead letters."""
        settings = self.engine.settings
        return [
            log_topic(settings.log_topic, settings.partitions, key="explicit partition", purpose="events"),
            changelog_topic(settings.changelog_topic, settings.partitions, longest_life_ms=LONGEST_LIFE_MS),
            dead_letter_topic(settings.dead_letter_topic),
        ]

    def _new_home(self, partition: int) -> KeyedHome[StateT, EventT, EffectT]:
        return KeyedHome(partition, self.rows, self.positions, self.rules)


def _row_key(key: str) -> bytes:
    return _KIND + key.encode() + _END

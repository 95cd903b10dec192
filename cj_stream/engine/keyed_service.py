"""What an app with `Rules` adds to the engine, ready-made: what it reads, its one table, its effects, its deadlines.

    class Counting(KeyedService[Count, Counted, Call]):
        rules = CountingRules()

    app = keyed_app(Settings, Counting).faust

Tests: ``test_keyed_service.py``; ``tests/kafka/test_second_app.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import structlog

from cj_stream.engine.all_read import AllRead
from cj_stream.engine.app import App
from cj_stream.engine.dead_letters import DeadLetters, Handle, Refusal
from cj_stream.engine.dispatcher import Dispatcher
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.forwarder import EventTooLargeError
from cj_stream.engine.hardening import Engine
from cj_stream.engine.keyed import KEYED, EffectT, EventT, Item, KeyedHome, KeyedRows, Rules, StateT
from cj_stream.engine.log import Log
from cj_stream.engine.messages import EventCodec
from cj_stream.engine.partitioning import home_partition
from cj_stream.engine.positions import Positions
from cj_stream.engine.reports import Reports
from cj_stream.engine.runs import Record, Run, in_portions
from cj_stream.engine.service import Input, Service
from cj_stream.engine.shared_input import OwnInput
from cj_stream.engine.starting import SettingsT, start
from cj_stream.engine.topics import DAY_MS, TopicSpec, changelog_topic, dead_letter_topic, log_topic
from cj_stream.engine.windows import Due, Windows
from cj_stream.engine.work import Pool, Work

log = structlog.get_logger(__name__)

ServiceT = TypeVar("ServiceT", bound="KeyedService[Any, Any, Any]")

INPUT_PARTITIONS = 3
"""Partitions of an input that does not exist yet."""

Read = Callable[[Record], EventT]
"""Returns the event that a record of an input tells of; what it raises makes a dead letter of the record."""


class KeyedPool(Pool[Item[Any], Any]):
    """All effects of all keys, as `Rules` tell them: ``size`` are under way at once."""

    def __init__(self, rules: Rules[Any, Any, Any], size: int) -> None:
        super().__init__(size)
        self._rules = rules

    def takes(self, _effect: Any) -> bool:
        """Return that every effect is of this class."""
        return True

    def todo(self, subject: Item[Any]) -> Sequence[Any]:
        """Return what is to be done for a key."""
        return () if subject.state is None or subject.stopped else self._rules.todo(subject.key, subject.state)


class KeyedWork(Work[Item[Any], Any]):
    """The work of keys; ``at_once`` effects are under way at once."""

    def __init__(self, rules: Rules[Any, Any, Any], at_once: int) -> None:
        self.pool = KeyedPool(rules, at_once)

    def todo(self, _subject: Item[Any]) -> Sequence[Any]:
        """Return nothing: all that is to be done is of the pool."""
        return ()


class KeyedDeadlines(Generic[StateT, EventT]):
    """The deadlines of keys, as `Rules` tell them."""

    def __init__(self, rules: Rules[StateT, EventT, Any]) -> None:
        self._rules = rules

    def next_due(self, subject: Item[StateT], opened_at: float) -> float | None:
        """Return when a key falls due next."""
        if subject.state is None or subject.stopped:
            return None
        return self._rules.next_due(subject.key, subject.state, opened_at)

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


class KeyedService(Service, Generic[StateT, EventT, EffectT]):
    """What an app with `Rules` adds to the engine. It is made by `keyed_app`.

    A subclass has `rules`, says what it reads and carries out effects. It may add pages (`gets`), timers, turns of its
    life, and whatever else `Service` has.
    """

    settings: EngineSettings
    rules: Rules[StateT, EventT, EffectT]
    at_once: ClassVar[int] = 100
    """How many effects are under way at once."""
    longest_life_days: ClassVar[float] = 30
    """After how many days a row is of no use: of rows that are kept for longer see what the readme does not promise."""

    def __init__(self, settings: EngineSettings, engine: Engine[EventT]) -> None:
        self.settings = settings
        self.engine = engine
        self.rows = KeyedRows[StateT](engine.table, self.rules.state)
        self.positions = Positions(engine.table, self.rows.newest)
        self.dead_letters = DeadLetters(engine.publisher, engine.deliveries, settings.dead_letter_topic)
        self.log = Log(engine, self.positions, self.dead_letters, self._new_home)
        reports = Reports[EventT](engine.forwarder, self.rules.instead)
        work = KeyedWork(self.rules, self.at_once)
        self.dispatcher = Dispatcher[Item[StateT], EffectT, EventT](work, self._execute, reports.send)
        deadlines = KeyedDeadlines[StateT, EventT](self.rules)
        reads = self.reads()
        everything_read = AllRead(engine, *reads).ask
        self.windows = Windows(self.window_seconds, deadlines, engine.opener, engine.forwarder, everything_read)
        self.inputs = [Input(topic, topic, self._forwarding(read)) for topic, read in reads.items()]
        self.topics = [*(_input_topic(topic) for topic in reads), *self._own_topics()]
        self.own_input = OwnInput(
            (*reads, settings.log_topic),
            settings=settings.names.setting("app_id"),
            consequence="carry out every effect twice",
        )

    def reads(self) -> Mapping[str, Read[EventT]]:
        """Return the topics that are read, each with what makes events of its records.

        A deadline is emitted only when all that they held when it passed has been read.
        """
        raise NotImplementedError

    async def execute(self, effect: EffectT, item: Item[StateT], partition: int) -> EventT:
        """Carry out an effect of a key, whose state may be older than now; return the event that reports it.

        It is tried again after the seconds of a `PostponedError`, and after half a minute when anything else is raised.
        """
        raise NotImplementedError

    def state(self, key: str) -> StateT | None:
        """Return the state of a key; None too when its partition is not served here."""
        home = self._home_of(key)
        return self.rows.read(home, key)[0] if home in self.engine.opener.opened_at else None

    async def _execute(self, effect: EffectT, item: Item[StateT], partition: int) -> EventT:
        # Its process may have stood still since the commit, for longer than its partition is its own.
        self.engine.fence.check()
        return await self.execute(effect, item, partition)

    def _home_of(self, key: str) -> int:
        return home_partition(key, self.settings.partitions)

    def _forwarding(self, read: Read[EventT]) -> Handle:
        async def handle(run: Run) -> None:
            async for record in in_portions(run.records):
                try:
                    event = read(record)
                    self.engine.forwarder.forward(self._home_of(self.rules.key(event)), event)
                except Exception as error:  # noqa: BLE001 (it would fail the same way again, and end every worker)
                    await self.dead_letters.put(record, _refusal(error))
                else:
                    self.dead_letters.accepted(record.topic)

        return handle

    def _own_topics(self) -> list[TopicSpec]:
        settings, life = self.settings, int(self.longest_life_days * DAY_MS)
        return [
            log_topic(settings.log_topic, settings.partitions, key="none (explicit partition)", purpose="events"),
            changelog_topic(settings.changelog_topic, settings.partitions, longest_life_ms=life),
            dead_letter_topic(settings.dead_letter_topic),
        ]

    def _new_home(self, partition: int) -> KeyedHome[StateT, EventT, EffectT]:
        return KeyedHome(partition, self.rows, self.positions, self.rules)


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    reason = "too_large" if isinstance(error, EventTooLargeError) else "unreadable_input"
    return Refusal(reason, f"{type(error).__name__}: {error}")


def _input_topic(topic: str) -> TopicSpec:
    return TopicSpec(topic, "any", INPUT_PARTITIONS, True, "input")


def keyed_app(settings: type[SettingsT], service: type[ServiceT]) -> App[Any, ServiceT]:
    """Return the app of a worker, for the settings in the environment, or end the process and say why there is none."""

    def build(found: SettingsT) -> App[Any, ServiceT]:
        return App(found, KEYED, EventCodec(service.rules.events), lambda engine: service(found, engine))

    return start(settings, settings.names, build)

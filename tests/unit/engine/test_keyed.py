"""Apps whose subjects are one row each: what events make of a key, and what is done again after a crash."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest
from support.domain.story import MemoryTable
from support.engine.fake_producer import FakeProducer

from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.keyed import ROW_LIMIT, VERSION, Item, KeyedHome, KeyedRows, Rules
from cj_stream.engine.keyed_service import KeyedDeadlines, KeyedWork
from cj_stream.engine.log import Log
from cj_stream.engine.messages import EventCodec, PartitionOpened, encode_message
from cj_stream.engine.opening import Opener
from cj_stream.engine.positions import Positions
from cj_stream.engine.publisher import Deliveries
from cj_stream.engine.rows import HEARTBEAT_KEY, NewerRowError, encode_value
from cj_stream.engine.runs import Record, Run

PARTITION = 3
START = 1_700_000_000.0


class Paid(msgspec.Struct, frozen=True, tag=True):
    """Somebody has paid."""

    who: str
    amount: int


class Closed(msgspec.Struct, frozen=True, tag=True):
    """An account is closed."""

    who: str


class Account(msgspec.Struct, frozen=True):
    """What somebody has paid so far."""

    total: int
    told: bool = False


class Accounts(Rules[Account, Paid | Closed, str]):
    state = Account
    events = Paid | Closed

    def key(self, event: Paid | Closed) -> str:
        return event.who

    def decide(self, state: Account | None, event: Paid | Closed, _at: float) -> Account | None:
        if isinstance(event, Closed):
            return None
        if event.amount < 0:
            raise ValueError("nobody pays less than nothing")
        return Account((state.total if state else 0) + event.amount)

    def next_due(self, _key: str, _state: Account, opened_at: float) -> float:
        return opened_at + 60

    def todo(self, key: str, state: Account) -> list[str]:
        return [f"tell {key}"] if state.total >= 100 and not state.told else []


RULES = Accounts()
CODEC: EventCodec[Any] = EventCodec(RULES.events)


class Owner:
    """A worker that has partition 3, with real rows, home and log on a table in memory."""

    def __init__(self, table: MemoryTable) -> None:
        self.table = table
        self.held: list[tuple[int, list[Item[Account]]]] = []
        self.producer = FakeProducer(prompt=True)
        self.sender = self.producer.sender()
        self.opener = Opener(self.sender, "events", lambda: START)
        self.opener._nonces[PARTITION] = "ours"
        self.rows = KeyedRows[Account](cast("Any", table), Account)
        self.positions = Positions(cast("Any", table), self.rows.newest)
        engine: Any = SimpleNamespace(
            fence=SimpleNamespace(check=lambda: None),
            opener=self.opener,
            codec=CODEC,
            events_topic="events",
            table=table,
            sender=self.sender,
            releases=SimpleNamespace(hold=lambda _, offset, items: self.held.append((offset, list(items)))),
        )
        letters = DeadLetters(self.producer.publisher(), Deliveries(self.sender.promise), "letters")
        self.log = Log(engine, self.positions, letters, self._home)

    def _home(self, partition: int) -> KeyedHome[Account, Paid | Closed, str]:
        return KeyedHome(partition, self.rows, self.positions, RULES)

    async def read(self, *messages: tuple[int, bytes]) -> list[Item[Account]]:
        """Handle messages as one run; return what its commit will release."""
        records = [Record("events", PARTITION, offset, START + offset, None, value) for offset, value in messages]
        await self.log.handle(Run.of(records))
        return self.held[-1][1]

    def state(self, who: str) -> Account | None:
        return self.rows.read(PARTITION, who)[0]


def message(*events: Paid | Closed | PartitionOpened) -> bytes:
    return encode_message([CODEC.encode(event) for event in events])


OPENED = message(PartitionOpened(nonce="ours"))


@pytest.fixture
def owner() -> Owner:
    return Owner(MemoryTable())


async def test_events_of_a_run_become_one_row_for_each_key(owner: Owner) -> None:
    writes: list[Any] = []
    write = owner.table.write

    async def noted(sender: Any, partition: int, puts: Any) -> None:
        writes.append(puts)
        await write(sender, partition, puts)

    cast("Any", owner.table).write = noted
    await owner.read((5, message(Paid("a", 1), Paid("b", 2))), (6, message(Paid("a", 10))))
    assert (owner.state("a"), owner.state("b")) == (Account(11), Account(2))
    assert [len(puts) for puts in writes] == [2]


async def test_what_was_applied_before_a_crash_is_not_applied_again(owner: Owner) -> None:
    events = (5, message(Paid("a", 1), Paid("a", 2))), (6, message(Paid("b", 4)))
    await owner.read(*events)
    after = Owner(owner.table)
    await after.read(*events)
    assert (after.state("a"), after.state("b")) == (Account(3), Account(4))
    await after.read((7, message(Paid("a", 1))))
    assert after.state("a") == Account(4)


async def test_nothing_is_released_before_the_marker_and_then_everything(owner: Owner) -> None:
    assert await owner.read((5, message(Paid("a", 1)))) == []
    assert await owner.read((6, OPENED), (7, message(Paid("b", 200)))) == [
        Item("a", Account(1)),
        Item("b", Account(200)),
    ]
    assert await owner.read((8, message(Paid("a", 1)))) == [Item("a", Account(2))]


async def test_the_marker_of_another_worker_opens_nothing(owner: Owner) -> None:
    assert await owner.read((5, message(PartitionOpened(nonce="theirs"), Paid("a", 1)))) == []


async def test_a_deletion_leaves_a_heartbeat_behind_it_and_is_released(owner: Owner) -> None:
    await owner.read((5, OPENED), (6, message(Paid("a", 1))))
    (item,) = await owner.read((7, message(Closed("a"))))
    assert item == Item("a", None)
    assert KeyedWork(RULES, 1).is_done(item)
    assert owner.state("a") is None
    assert owner.table.read(PARTITION, HEARTBEAT_KEY) is not None
    assert owner.positions.applied(PARTITION) == (7, 0.0)


async def test_what_cannot_be_decided_or_read_fails_alone(owner: Owner) -> None:
    broken = encode_message([b"\xc1", CODEC.encode(Paid("a", -1)), CODEC.encode(Paid("a", 3))])
    await owner.read((5, b"no message"), (6, broken), (7, message(Paid("b", 1))))
    assert (owner.state("a"), owner.state("b")) == (Account(3), Account(1))
    assert await owner.sender.settled(5)
    letters = [dict(record.headers or ()) for record in owner.producer.records if record.topic == "letters"]
    reasons = [b"not_an_internal_message", b"not_an_event", b"undecidable_event"]
    assert sorted(letter["reason"] for letter in letters) == sorted(reasons)


async def test_a_key_whose_event_cannot_be_decided_does_nothing_before_the_next_one(owner: Owner) -> None:
    work, deadlines = KeyedWork(RULES, 1), KeyedDeadlines(RULES)
    (item,) = await owner.read((5, OPENED), (6, message(Paid("a", 100))))
    assert work.pool is not None
    assert list(work.pool.todo(item)) == ["tell a"]
    (item,) = await owner.read((7, message(Paid("a", -1))))
    assert item == Item("a", Account(100), stopped=True)
    assert work.is_done(item)
    assert deadlines.next_due(item, START) is None
    (item,) = await owner.read((8, message(Paid("a", -1), Paid("a", 1))))
    assert work.pool is not None
    assert list(work.pool.todo(item)) == ["tell a"]
    assert deadlines.next_due(item, START) == START + 60


async def test_an_event_whose_row_would_fit_into_no_record_fails_alone(owner: Owner) -> None:
    await owner.read((5, message(Paid("a" * ROW_LIMIT, 1), Paid("b", 1))))
    assert (owner.state("a" * ROW_LIMIT), owner.state("b")) == (None, Account(1))


async def test_a_row_that_cannot_be_read_is_no_fault_of_the_event(owner: Owner) -> None:
    await owner.read((5, message(Paid("a", 1))))
    (key,) = [key for key, _ in owner.table.scan(PARTITION, b"k")]
    await owner.table.write(cast("Any", None), PARTITION, [(key, encode_value(VERSION + 1, 5, b""))])
    with pytest.raises(NewerRowError):
        await owner.read((6, message(Paid("a", 1))))


async def test_positions_go_on_beyond_all_rows_when_the_log_is_another_one(owner: Owner) -> None:
    await owner.read((500, message(Paid("a", 1))))
    assert owner.positions.applied(PARTITION) == (500, START + 500)
    await owner.table.write(cast("Any", None), PARTITION, [owner.positions.anew(PARTITION, 0)])
    after = Owner(owner.table)
    await after.read((0, message(Paid("a", 1))))
    assert after.state("a") == Account(2)

"""A worker that takes a partition over: what it may read again, and what it may start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.domain.story import BATCH, IDS, PARTITION, SECOND, START, MemoryTable, requested
from support.engine.fake_producer import FakeProducer
from support.wire.ingress import METRICS

from cj_stream.agents.batches import Batches
from cj_stream.contracts.event_log import EVENTS, encode_event
from cj_stream.dead_letters.input_watch import InputWatch
from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.dead_letters.letter import envelope
from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import unpublished
from cj_stream.domain.events import (
    Action,
    Event,
    OperatorCommand,
    OutcomePublished,
    TimeoutDue,
)
from cj_stream.domain.partition import Load, PartitionBatches
from cj_stream.domain.policy import Policy
from cj_stream.domain.states import BatchState
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.log import Log
from cj_stream.engine.messages import PartitionOpened, encode_message
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.inputs import AppliedUpTo
from cj_stream.engine.overrides.table import Put, Table
from cj_stream.engine.publisher import Deliveries
from cj_stream.engine.rows import HEARTBEAT_KEY, row_position
from cj_stream.engine.runs import Record, Run
from cj_stream.operations.settings import Settings
from cj_stream.tables.batch_rows import BatchRows

CANCEL = OperatorCommand(batch_id=BATCH, action=Action.CANCEL)


def _new_partition(load: Load) -> PartitionBatches:
    return PartitionBatches(IDS, Policy(), load)


class Owner:
    """A worker that serves the partition; ``table`` is what it has recovered."""

    def __init__(self, table: MemoryTable) -> None:
        self.held: list[tuple[int, list[Batch]]] = []
        producer = FakeProducer(prompt=True)
        sender = producer.sender()
        self.opener = Opener(sender, "events", lambda: START)
        self.opener._nonces[PARTITION] = "ours"
        self.table: Any = table
        self.rows = BatchRows(cast("Table", table))
        engine: Any = SimpleNamespace(
            fence=SimpleNamespace(check=lambda: None),
            opener=self.opener,
            table=table,
            sender=sender,
            codec=EVENTS,
            releases=SimpleNamespace(hold=lambda _, offset, batches: self.held.append((offset, list(batches)))),
        )
        letters = DeadLetters(
            producer.publisher(),
            Deliveries(sender.promise),
            "letters",
            envelope,
            InputWatch(METRICS, InvalidShare(Settings())),
        )
        homes = Batches(self.rows, self.opener, METRICS, _new_partition)
        self.agent: Log[Batch, Event] = Log(engine, self.rows.positions, letters, homes.home)

    async def begin_anew(self, offset: int) -> None:
        """Take over a log that was made anew, and is read from there on."""
        await self.table.write(None, PARTITION, [self.rows.positions.anew(PARTITION, offset)])

    async def read(self, offset: int, *events: Event | PartitionOpened) -> list[Batch]:
        """Handle a message; return the batches that its commit will release."""
        return await self.read_run({offset: events})

    async def read_run(self, messages: Mapping[int, Sequence[Event | PartitionOpened]]) -> list[Batch]:
        """Handle messages, by their offsets, as one run; return the batches that its commit will release."""
        records = [
            Record(
                "events", PARTITION, offset, START + offset, None, encode_message([encode_event(it) for it in events])
            )
            for offset, events in messages.items()
        ]
        await self.agent.handle(Run.of(records))
        assert self.held[-1][0] == records[-1].offset
        return self.held[-1][1]

    def states(self) -> list[BatchState]:
        return [head.state for head in self.rows.heads(PARTITION)]


@pytest.fixture
def table() -> MemoryTable:
    return MemoryTable()


async def test_a_command_that_the_table_knows_is_not_taken_for_one_about_a_later_run(table: MemoryTable) -> None:
    before = Owner(table)
    await before.read(0, requested(3))
    await before.read(1, CANCEL)
    await before.read(2, requested(3, SECOND))
    after = Owner(table)
    await after.read(1, CANCEL)
    assert after.states() == [BatchState.CANCELLED, BatchState.INITIALIZING]
    await after.read(3, CANCEL)
    assert after.states() == [BatchState.CANCELLED, BatchState.CANCELLED]


async def test_what_is_read_before_the_marker_starts_nothing_and_the_marker_starts_all_of_it(
    table: MemoryTable,
) -> None:
    owner = Owner(table)
    assert await owner.read(0, requested(3)) == []
    assert await owner.read(1, PartitionOpened(nonce="of another worker")) == []
    (batch,) = await owner.read(2, PartitionOpened(nonce="ours"))
    assert batch.key == (BATCH, 1)
    (other,) = await owner.read(3, requested(3, batch_id="another"))
    assert other.key == ("another", 1)


async def test_the_marker_may_lie_in_the_middle_of_a_run(table: MemoryTable) -> None:
    owner = Owner(table)
    assert await owner.read_run({0: [requested(3)], 1: [requested(3, batch_id="another")]}) == []
    opened = PartitionOpened(nonce="ours")
    after = requested(3, batch_id="a third")
    released = await owner.read_run({2: [CANCEL], 3: [opened], 4: [after]})
    newest = {batch.batch_id: batch.state for batch in released}
    waiting = BatchState.INITIALIZING
    assert newest == {BATCH: BatchState.CANCELLED, "another": waiting, "a third": waiting}


async def test_each_message_of_a_run_is_applied_with_its_own_position_and_time(table: MemoryTable) -> None:
    owner = Owner(table)
    await owner.read_run({7: [requested(3)], 9: [requested(3, batch_id="another")]})
    heads = {head.batch_id: head for head in owner.rows.heads(PARTITION)}
    assert {owner.rows.position(PARTITION, head) for head in heads.values()} == {7, 9}
    assert [heads[name].control.created_at - START for name in (BATCH, "another")] == [7, 9]


async def test_the_rows_of_a_run_are_written_at_once_each_of_them_a_single_time(
    table: MemoryTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[bytes]] = []
    write = table.write

    async def noted(sender: object, partition: int, puts: list[Put]) -> None:
        written.append([key for key, _ in puts])
        await write(sender, partition, puts)

    monkeypatch.setattr(table, "write", noted)
    owner = Owner(table)
    await owner.read_run({7: [requested(3)], 9: [requested(3, batch_id="another")], 10: [CANCEL]})
    (keys,) = written
    assert len(keys) == len(set(keys))
    (cancelled,) = (head for head in owner.rows.heads(PARTITION) if head.batch_id == BATCH)
    assert owner.rows.position(PARTITION, cancelled) == 10


async def test_what_is_asked_for_behind_a_deletion_in_the_same_run_begins_afresh(table: MemoryTable) -> None:
    owner = Owner(table)
    (batch,) = await owner.read_run({0: [requested(3)], 1: [PartitionOpened(nonce="ours")], 2: [CANCEL]})
    for outcome in unpublished(batch):
        await owner.read(3, OutcomePublished(batch_id=BATCH, run=1, outcome=outcome.name))
    late = 4 + int(Policy().retention)
    due = TimeoutDue(batch_id=BATCH, run=1, due_at=START + late, opened_at=START)
    released = await owner.read_run({late: [due], late + 1: [requested(3, SECOND)]})
    assert [(batch.key, batch.state) for batch in released] == [((BATCH, 1), BatchState.INITIALIZING)]


async def test_what_a_log_made_anew_holds_is_applied_although_its_offsets_are_low(table: MemoryTable) -> None:
    before = Owner(table)
    await before.read(5_000, requested(3))
    after = Owner(table)
    await after.read(3, CANCEL)
    assert after.states() == [BatchState.INITIALIZING], "taken for one that the table knows"
    await after.begin_anew(0)
    await after.read(3, CANCEL)
    assert after.states() == [BatchState.CANCELLED]
    await after.read(4, requested(3, batch_id="another"))

    # Whoever takes over then knows those, and nothing else, as applied.
    third = Owner(table)
    await third.read(4, OperatorCommand(batch_id="another", action=Action.CANCEL))
    await third.read(5, requested(3, SECOND))
    assert third.states() == [BatchState.INITIALIZING, BatchState.CANCELLED, BatchState.INITIALIZING]


async def test_rows_made_from_a_log_made_anew_win_over_all_that_were_there(table: MemoryTable) -> None:
    owner = Owner(table)
    await owner.read(5_000, requested(3))
    newest = max(row_position(value) for _, value in table.scan(PARTITION, b""))
    await owner.begin_anew(7)
    assert owner.rows.positions.applied(PARTITION) == AppliedUpTo(
        newest + 1 - owner.rows.positions._base(PARTITION), START + 5_000
    )
    await owner.read(7, requested(3, batch_id="another"), PartitionOpened(nonce="ours"))
    assert owner.rows.positions.applied(PARTITION) == AppliedUpTo(7, START + 5_000)
    assert owner.rows.positions.of(PARTITION, 7) > newest + 1
    positions = sorted(row_position(value) for _, value in table.scan(PARTITION, b""))
    assert positions[-1] == owner.rows.positions.of(PARTITION, 7)


def test_rows_that_are_not_there_were_made_from_nothing(table: MemoryTable) -> None:
    assert Owner(table).rows.positions.applied(PARTITION) is None


async def test_all_runs_are_forgotten_by_commands_in_one_run_of_records_and_the_id_is_free_again(
    table: MemoryTable,
) -> None:
    owner = Owner(table)
    forget = OperatorCommand(batch_id=BATCH, action=Action.FORGET)
    await owner.read(0, PartitionOpened(nonce="ours"))
    for offset, content in ((1, "first"), (4, "second")):
        await owner.read(offset, requested(3, content=content))
        (cancelled,) = await owner.read(offset + 1, CANCEL)
        await owner.read(offset + 2, *_told(cancelled))
    assert [head.run for head in owner.rows.heads(PARTITION)] == [1, 2]

    await owner.read_run({7: [forget, forget, forget], 8: [forget]})
    assert list(table.data) == [HEARTBEAT_KEY], "nothing of it is left in the table"

    await owner.read(9, requested(3, content="third"))
    assert [(head.run, head.state) for head in owner.rows.heads(PARTITION)] == [(1, BatchState.INITIALIZING)]


async def test_a_forget_that_is_read_again_leaves_alone_what_was_asked_for_since(table: MemoryTable) -> None:
    before = Owner(table)
    forget = OperatorCommand(batch_id=BATCH, action=Action.FORGET)
    await before.read(0, PartitionOpened(nonce="ours"))
    for offset in (1, 5):
        await before.read(offset, requested(3))
        (cancelled,) = await before.read(offset + 1, CANCEL)
        await before.read(offset + 2, *_told(cancelled))
        if offset == 1:
            await before.read(4, forget)

    after = Owner(table)
    await after.read(4, forget)
    assert [(head.run, head.state) for head in after.rows.heads(PARTITION)] == [(1, BatchState.CANCELLED)]


def _told(batch: Batch) -> list[OutcomePublished]:
    return [
        OutcomePublished(batch_id=batch.batch_id, run=batch.run, outcome=outcome.name) for outcome in unpublished(batch)
    ]

"""The real batches agent on a table and a producer in memory: one partition of the log of events."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import UUID

from support.domain.story import BATCH, FIRST, IDS, PARTITION, START, MemoryTable, requested
from support.engine.fake_producer import FakeProducer, Produced
from support.wire.ingress import METRICS

from cj_stream.agents.batches import Batches
from cj_stream.contracts.event_log import EVENTS as CODEC
from cj_stream.dead_letters.input_watch import InputWatch
from cj_stream.dead_letters.invalid_share import InvalidShare
from cj_stream.dead_letters.letter import StoredDeadLetter, envelope, read_dead_letter
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import (
    Action,
    CallbackReceived,
    ContentLoaded,
    Event,
    OperatorCommand,
    PairsPlanned,
    VerdictReceived,
)
from cj_stream.domain.partition import Load, PartitionBatches
from cj_stream.domain.policy import Policy
from cj_stream.engine.dead_letters import DeadLetters
from cj_stream.engine.log import Log
from cj_stream.engine.publisher import Deliveries
from cj_stream.engine.runs import Record, Run
from cj_stream.operations.settings import Settings
from cj_stream.tables.batch_rows import BatchRows

TOPIC = "events"
EVENTS = [
    requested(4),
    ContentLoaded(batch_id=BATCH, run=1),
    PairsPlanned(batch_id=BATCH, run=1, iteration=1, pairs=((0, 1), (2, 3))),
    VerdictReceived(batch_id=BATCH, run=1, index=0, attempt=1, winner="A", confidence=4.0),
    CallbackReceived(batch_id=BATCH, correlation_id=UUID(FIRST), winner="B", confidence=2.0),
    OperatorCommand(batch_id=BATCH, action=Action.FINALIZE),
]
"""The story of a batch."""


class EventLog:
    """One partition of the log. Its limit on bad input is off."""

    def __init__(self) -> None:
        self.producer = FakeProducer(prompt=True)
        self.sender = self.producer.sender()
        table: Any = MemoryTable()
        self.rows = BatchRows(table)
        self.held: list[int] = []
        opener: Any = SimpleNamespace(opened_at={PARTITION: START}, read=lambda *_: False)
        engine: Any = SimpleNamespace(
            table=table,
            sender=self.sender,
            codec=CODEC,
            fence=SimpleNamespace(check=lambda: None),
            opener=opener,
            releases=SimpleNamespace(hold=lambda _, offset, __: self.held.append(offset)),
        )
        share, deliveries = InvalidShare(Settings(invalid_input_share=1)), Deliveries(self.sender.promise)
        letters = DeadLetters(self.producer.publisher(), deliveries, "letters", envelope, InputWatch(METRICS, share))
        homes = Batches(self.rows, opener, METRICS, _new_partition)
        self.agent: Log[Batch, Event] = Log(engine, self.rows.positions, letters, homes.home)

    async def read(self, value: bytes | None, key: bytes | None = None, timestamp: float = START) -> None:
        """Have the agent handle a message; asserts that it is handled to its end."""
        offset = len(self.held)
        await self.agent.handle(Run.of([Record(TOPIC, PARTITION, offset, timestamp, key, value)]))
        assert await self.sender.settled(10)
        assert self.held[-1] == offset, "the message was handled to its end"

    @property
    def letters(self) -> list[StoredDeadLetter]:
        """The dead letters so far."""
        return [_letter(record) for record in self.producer.records if record.topic == "letters"]

    @property
    def batches(self) -> list[str]:
        """The batches in the table."""
        return [head.batch_id for head in self.rows.heads(PARTITION)]


def _new_partition(load: Load) -> PartitionBatches:
    return PartitionBatches(IDS, Policy(), load)


def _letter(record: Produced) -> StoredDeadLetter:
    return read_dead_letter(record.key, record.value, record.headers or [])

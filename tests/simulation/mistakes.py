"""The mistakes of `mutations`: each stands in for a function of `cj_stream`, and does wrong what that does right."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import inf
from typing import Any
from unittest.mock import patch
from uuid import UUID

from faust.types import TP
from msgspec.structs import replace
from simulation.disk import Disk
from simulation.faust_model import _KafkaConsumer
from simulation.world import World, owner

from cj_stream.domain import comparisons
from cj_stream.domain.batch import Batch
from cj_stream.domain.deadlines import Deadline, DeadlineKind
from cj_stream.domain.decisions import advance
from cj_stream.domain.draft import Change, Draft, RunChange
from cj_stream.domain.events import (
    Event,
    OutcomePublished,
    OutcomeRefused,
    VerdictReceived,
)
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.domain.records import ComparisonStatus, Origin
from cj_stream.domain.todo import Publish, Submit, todo
from cj_stream.effects.carry_out import Effects, job_id
from cj_stream.effects.outcomes import outcome_message
from cj_stream.engine.dispatcher import Dispatcher, PostponedError
from cj_stream.engine.forwarder import Forwarder
from cj_stream.engine.log import Log
from cj_stream.engine.messages import PartitionOpened
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.lag import Read
from cj_stream.engine.overrides.recovery import SeekFirstRecovery
from cj_stream.engine.overrides.table import Put
from cj_stream.engine.publisher import RecordRefusedError, TopicRefusesError
from cj_stream.engine.reading import Reading
from cj_stream.engine.releases import Releases
from cj_stream.engine.runs import Record
from cj_stream.engine.sender import Sender
from cj_stream.tables.batch_rows import BatchRows

# --- The domain ----------------------------------------------------------------------------------------------------

_judge = comparisons.judge


def judge_again(draft: Draft, event: VerdictReceived) -> None:
    """A second verdict replaces the first."""
    row = draft.batch.comparisons[event.index]
    if row.status is ComparisonStatus.JUDGED:
        draft.put(replace(row, winner=event.winner, attempt=event.attempt, completed_at=draft.at))
    else:
        _judge(draft, event)


def judge_and_count_twice(draft: Draft, event: VerdictReceived) -> None:
    """A verdict also settles the neighbour, as a miscounted total would."""
    _judge(draft, event)
    other = event.index + 1
    if other < draft.batch.total_comparisons and draft.batch.comparisons[other].status is ComparisonStatus.PLANNED:
        _judge(draft, replace(event, index=other))


def never_old(_batch: Batch, _opened_at: float) -> Deadline:
    """No batch is ever too old."""
    return Deadline(DeadlineKind.AGE, inf)


def first_of_its_partition(*, partition: int, offset: int, at: float) -> Origin:
    """Every request says that it is the first record of its partition."""
    return Origin(partition=partition, offset=offset and 0, at=at)


_advance = advance


def only_if_changed(draft: Draft) -> None:
    """A repeat decides nothing, although the commit record of the first time may be missing."""
    if draft._changed:
        _advance(draft)


def handled(handler: Callable[[Draft, VerdictReceived], None]) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.dict("cj_stream.domain.decider.HANDLERS", {VerdictReceived: handler})


# --- Commits, releases, markers -------------------------------------------------------------------------------------


async def commit_without_waiting(self: Any, offsets: Mapping[TP, int], _start_new_transaction: bool = True) -> bool:
    committed = await _KafkaConsumer._commit_offsets(self, offsets)
    if committed and not self.app.rebalancing:
        events = self.app.engine.events_topic
        self.app.engine.releases.committed({tp.partition: at for tp, at in offsets.items() if tp.topic == events})
    return committed


_settled = Sender.settled


async def settled_or_late(self: Sender, patience: float) -> bool:
    """Who has waited long enough goes on."""
    await _settled(self, patience)
    return True


def nothing_in_hand_of(_self: Reading, _tp: TP) -> deque[Any]:
    """What was given counts as handled."""
    return deque()


def begun_is_handled(self: Reading, tp: TP) -> deque[Any]:
    """A run counts as handled as soon as its first record is being handled."""
    given = self._given.get(tp, deque())
    while given and (given[0].acked or given[0] is owner()._streams[tp.topic].handling):
        given.popleft()
    return given


_hold = Releases.hold


def release_at_once(self: Releases[Batch], partition: int, offset: int, batches: Iterable[Batch]) -> None:
    _hold(self, partition, offset, batches)
    self.committed({partition: offset + 1})


_assigned = Opener.assigned


def start_when_assigned(self: Opener, partitions: set[int]) -> None:
    """What is to be done for the recovered batches starts at once, as if nothing could lie unread."""
    _assigned(self, partitions)
    worker = owner().worker
    for partition in sorted(partitions):
        worker.engine.faust.life.released(partition, 0, list(worker.log._home(partition).subjects()))


def restore_nothing(_self: Any, _batches: Iterable[Batch]) -> None:
    """What was live is not found again."""


_read = Opener.read


def opened_for_nothing(self: Opener, partition: int, marker: PartitionOpened) -> bool:
    """The partition opens, and what is to be done for its batches is not looked up."""
    _read(self, partition, marker)
    return False


# --- Runs -----------------------------------------------------------------------------------------------------------


async def up_to_the_poisoned(records: Iterable[Record]) -> AsyncIterator[Record]:
    """A run ends with the first record that is refused."""
    for record in records:
        yield record
        if (record.topic, record.partition, record.offset) in World.current.checks.poison:
            return


_flush = Sender.flush


async def flush_without_promise(self: Sender, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
    """No commit waits for what is flushed."""
    before = set(self._outstanding)
    promise = await _flush(self, *args, **kwargs)
    self._outstanding &= before
    return promise


# --- Rows -----------------------------------------------------------------------------------------------------------

_puts = BatchRows.puts


def control_row_first(self: BatchRows, partition: int, changes: Iterable[RunChange]) -> list[Put]:
    return _puts(self, partition, [RunChange(_turned(change), offsets[::-1]) for change, offsets in changes])


def _turned(change: Change) -> Change:
    return Change(change.batch, change.rows[::-1], change.notes, change.deleted)


def lowest_position(value: bytes) -> int:
    """Positions the wrong way round: recovery keeps the lower one."""
    return -int.from_bytes(value[1:9], "big")


def last_wins(_value: bytes) -> int:
    """Recovery takes the records as they come, as Faust does."""
    return 0


# --- Forwarding, effects, time ---------------------------------------------------------------------------------------


def _promise_forgotten(_self: Sender, _what: str) -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


_start = Forwarder._start


def start_without_promise(self: Forwarder[Event], partition: int) -> Any:
    with patch.object(Sender, "promise", _promise_forgotten):
        return _start(self, partition)


_committed = Dispatcher.committed


def kept_in_hand(self: Dispatcher[Batch, Any, Event], partition: int, _position: int, batches: Iterable[Batch]) -> None:
    _committed(self, partition, 0, batches)


def nothing_in_hand(
    self: Dispatcher[Batch, Any, Event], partition: int, position: int, batches: Iterable[Batch]
) -> None:
    """Each commit forgets what is under way."""
    for job in [job for job in self._in_hand if not job.task]:
        self._in_hand.let_go(job)
    _committed(self, partition, position, batches)


async def always_read(*_: Any) -> Read:
    return Read(everything=True)


def trusting_open(self: Disk) -> None:
    self.clean = False


async def first_event(self: Log[Any, Any], message: Any) -> list[bytes]:
    data = await _encoded(self, message)
    return data[:1]


_encoded = Log._encoded


def any_attempt(*_: Any, **__: Any) -> bool:
    return True


def idle_until_whoever_serves(batch: Batch, _opened_at: float) -> float:
    """Idle time goes on while nobody serves."""
    since = max(batch.control.activity_at, batch.control.state_since)
    return since + batch.roster.policy.batch_timeout


async def publish_without_waiting(self: Effects, effect: Publish, batch: Batch, _partition: int) -> OutcomePublished:
    """An outcome counts as published before the broker has it."""
    topic, event = outcome_message(batch, effect.outcome, self._settings, job_id(batch))
    publishing = asyncio.ensure_future(self._publisher.publish(topic, key=event.key, value=event.value))
    publishing.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.sleep(0)
    return OutcomePublished(batch_id=effect.batch_id, run=effect.run, outcome=effect.outcome.name)


async def publish_for_ever(self: Effects, effect: Publish, batch: Batch, _partition: int) -> OutcomePublished:
    """A refused outcome is published again and again."""
    topic, event = outcome_message(batch, effect.outcome, self._settings, job_id(batch))
    try:
        await self._publisher.publish(topic, key=event.key, value=event.value)
    except (RecordRefusedError, TopicRefusesError) as refused:
        raise PostponedError(str(refused), 5.0) from refused
    return OutcomePublished(batch_id=effect.batch_id, run=effect.run, outcome=effect.outcome.name)


async def give_up_at_once(self: Effects, effect: Publish, batch: Batch, partition: int) -> Event:
    """What a topic does not take now counts as refused for ever."""
    try:
        return await _publish(self, effect, batch, partition)
    except PostponedError as postponed:
        return OutcomeRefused(batch_id=effect.batch_id, run=effect.run, outcome=effect.outcome.name, why=str(postponed))


_publish = Effects._publish


def all_submissions(self: Dispatcher[Batch, Any, Event], _pool: object, batch: Batch) -> list[Submit]:
    submits = [effect for effect in todo(batch) if isinstance(effect, Submit)]
    return [effect for effect in submits if effect not in self._in_hand.of(batch.key)]


def id_without_run(batch_id: str, _run: int, kind: str, correlation_id: str) -> UUID:
    return outcome_event_id(batch_id, 1, kind, correlation_id)


async def end_without_a_second_fetch(self: SeekFirstRecovery, quiet: dict[TP, int]) -> None:
    """What does not come of the end of a changelog is taken for no record at once."""
    for tp, offset in quiet.items():
        self._is_read_to_end(tp, offset)


async def with_the_offset_first(self: SeekFirstRecovery, tp: TP, records: Sequence[Any], term: object) -> None:
    """The offset of a copy is that of the run's end with the first rows of the run."""
    for start in range(0, len(records), self.most_at_once):
        if term is self.term:
            self._apply(tp, records[start : start + self.most_at_once])
            self.tp_to_table[tp].data.set_persisted_offset(tp, records[-1].offset)
            await self._let_others_go_on()


@contextmanager
def rebuilt_as_it_is() -> Iterator[None]:
    """A rebuilt copy is taken for complete, in a process in which so much gets lost that it lacks something again."""
    with (
        patch.object(SeekFirstRecovery, "_is_settled", lambda *_, **__: True),
        patch("simulation.recovery_model.LOST", 0.2),
    ):
        yield

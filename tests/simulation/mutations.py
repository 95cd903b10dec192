"""Known mistakes, put into the code one at a time, to show that the simulation finds them.

Each is a way to lose or repeat something that the design rules out; ``caught_by`` names the invariants that find it.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from faust.types import TP
from msgspec.structs import replace
from simulation import checks, end_checks
from simulation.disk import Disk
from simulation.faust_model import _KafkaConsumer
from simulation.world import owner

from cj_stream.agents.batches import BatchesAgent
from cj_stream.domain import comparisons, decider
from cj_stream.domain.batch import Batch
from cj_stream.domain.draft import Change, Draft
from cj_stream.domain.events import PartitionOpened, VerdictReceived
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.records import ComparisonStatus, Control
from cj_stream.provider.dispatcher import Dispatcher
from cj_stream.streaming.consumer import BarrierConsumer
from cj_stream.streaming.fence import Fence
from cj_stream.streaming.forwarder import Forwarder
from cj_stream.streaming.opening import Opener
from cj_stream.streaming.releases import Releases
from cj_stream.streaming.sender import Sender
from cj_stream.tables.batches import BatchRows

ENDS = "everything ends"
NO_EXCEPTION = "no unexpected exception"


@dataclass(frozen=True)
class Mutation:
    """A mistake. ``apply`` puts it in place, for as long as the context lasts."""

    name: str
    apply: Callable[[], AbstractContextManager[Any]]
    caught_by: tuple[str, ...]


def _replaced(owner: Any, name: str, by: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.object(owner, name, by)


# --- The domain ----------------------------------------------------------------------------------------------------

_judge = comparisons.judge


def _judge_again(draft: Draft, event: VerdictReceived) -> None:
    """A second verdict replaces the first."""
    row = draft.batch.comparisons[event.index]
    if row.status is ComparisonStatus.JUDGED:
        draft.put(replace(row, winner=event.winner, attempt=event.attempt, completed_at=draft.at))
    else:
        _judge(draft, event)


def _judge_and_count_twice(draft: Draft, event: VerdictReceived) -> None:
    """A verdict also settles the neighbour, as a miscounted total would."""
    _judge(draft, event)
    other = event.index + 1
    if other < draft.batch.total_comparisons and draft.batch.comparisons[other].status is ComparisonStatus.PLANNED:
        _judge(draft, replace(event, index=other))


_advance = decider.advance


def _only_if_changed(draft: Draft) -> None:
    """A repeat decides nothing, although the commit record of the first time may be missing."""
    if draft._changed:
        _advance(draft)


def _handled(handler: Callable[[Draft, VerdictReceived], None]) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: patch.dict("cj_stream.domain.decider.HANDLERS", {VerdictReceived: handler})


# --- Commits, releases, markers -------------------------------------------------------------------------------------


async def _commit_without_waiting(self: Any, offsets: Mapping[TP, int], _start_new_transaction: bool = True) -> bool:
    committed = await _KafkaConsumer._commit_offsets(self, offsets)
    if committed and not self.app.rebalancing:
        events = self.app.engine.events_topic
        self.app.engine.releases.committed({tp.partition: at for tp, at in offsets.items() if tp.topic == events})
    return committed


_hold = Releases.hold


def _release_at_once(self: Releases, partition: int, offset: int, batches: Iterable[Batch]) -> None:
    _hold(self, partition, offset, batches)
    self.committed({partition: offset + 1})


_assigned = Opener.assigned


def _start_when_assigned(self: Opener, partitions: set[int]) -> None:
    """What is to be done for the recovered batches starts at once, as if nothing could lie unread."""
    _assigned(self, partitions)
    worker = owner().worker
    for partition in sorted(partitions):
        worker.released(partition, 0, list(worker.batches._batches(partition)))


def _restore_nothing(_self: Any, _batches: Iterable[Batch]) -> None:
    """What was live is not found again."""


_read = Opener.read


def _opened_for_nothing(self: Opener, partition: int, marker: PartitionOpened) -> bool:
    """The partition opens, and what is to be done for its batches is not looked up."""
    _read(self, partition, marker)
    return False


# --- Rows -----------------------------------------------------------------------------------------------------------

_store = BatchRows.store


async def _control_row_first(self: BatchRows, partition: int, change: Change, offset: int) -> None:
    controls = tuple(row for row in change.rows if isinstance(row, Control))
    details = tuple(row for row in change.rows if not isinstance(row, Control))
    turned = Change(change.batch, (*controls, *details), change.notes, change.deleted)
    await _store(self, partition, turned, offset)


def _lowest_position(value: bytes) -> int:
    """Positions the wrong way round: recovery keeps the lower one."""
    return -int.from_bytes(value[1:9], "big")


def _last_wins(_value: bytes) -> int:
    """Recovery takes the records as they come, as Faust does."""
    return 0


# --- Forwarding, effects, time ---------------------------------------------------------------------------------------


def _promise_forgotten(_self: Sender, _what: str) -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


_start = Forwarder._start


def _start_without_promise(self: Forwarder, partition: int) -> Any:
    with patch.object(Sender, "promise", _promise_forgotten):
        return _start(self, partition)


_committed = Dispatcher.committed


def _kept_in_hand(self: Dispatcher, partition: int, _position: int, batches: Iterable[Batch]) -> None:
    _committed(self, partition, 0, batches)


def _nothing_in_hand(self: Dispatcher, partition: int, position: int, batches: Iterable[Batch]) -> None:
    """Each commit forgets what is under way."""
    for effect in [effect for effect in self._in_hand if not self._in_hand[effect].task]:
        del self._in_hand[effect]
    _committed(self, partition, position, batches)


async def _always_read(*_: Any) -> bool:
    return True


def _trusting_open(self: Disk) -> None:
    self.clean = False


async def _first_event(self: BatchesAgent, message: Any) -> list[bytes]:
    data = await _events(self, message)
    return data[:1]


_events = BatchesAgent._events


def _any_attempt(*_: Any, **__: Any) -> bool:
    return True


def _no_turns(self: Forwarder, *args: Any) -> None:
    """Each message is handed to the producer when it likes, so a small one overtakes a large one."""
    _forwarder_init(self, *args)
    self._turns = defaultdict(_NoLock)  # type: ignore[assignment]


class _NoLock:
    async def __aenter__(self) -> None:
        """Do not wait."""

    async def __aexit__(self, *_: object) -> None:
        """Free nothing."""


_forwarder_init = Forwarder.__init__


MUTATIONS = (
    Mutation("a worker out of touch goes on", _replaced(Fence, "check", lambda _: None), (checks.MEMBERS_ONLY,)),
    Mutation("a second verdict replaces the first", _handled(_judge_again), (checks.BATCH_RULES,)),
    Mutation(
        "a verdict is counted for two comparisons",
        _handled(_judge_and_count_twice),
        (checks.NO_REGRESS, end_checks.TRUE_VERDICTS, checks.BATCH_RULES),
    ),
    Mutation("a repeat decides nothing", _replaced(decider, "advance", _only_if_changed), (checks.BATCH_RULES,)),
    Mutation(
        "a commit does not wait for what is outstanding",
        _replaced(BarrierConsumer, "_commit_offsets", _commit_without_waiting),
        (checks.ROWS_FIRST, checks.FORWARDED_FIRST),
    ),
    Mutation(
        "effects start before the commit", _replaced(Releases, "hold", _release_at_once), (checks.COMMITTED_FIRST,)
    ),
    Mutation(
        "effects start before the marker is read",
        _replaced(Opener, "assigned", _start_when_assigned),
        (checks.ONE_ACCEPTANCE,),
    ),
    Mutation(
        "opening a partition restores no batch",
        _replaced(checks.CheckedBatches, "restore", _restore_nothing),
        (ENDS, end_checks.ONE_OUTCOME),
    ),
    Mutation("opening a partition starts nothing", _replaced(Opener, "read", _opened_for_nothing), (ENDS,)),
    Mutation(
        "the control row is written first",
        _replaced(BatchRows, "store", _control_row_first),
        (checks.BATCH_RULES, end_checks.LOG_DECIDES, ENDS),
    ),
    Mutation(
        "recovery keeps the lower position",
        lambda: patch("cj_stream.tables.table.row_position", _lowest_position),
        (end_checks.LIVE_IS_REPLAY, end_checks.LOG_DECIDES, checks.NO_REGRESS, ENDS, end_checks.ONE_OUTCOME),
    ),
    Mutation(
        "recovery takes the last record, whatever its position",
        lambda: patch("cj_stream.tables.table.row_position", _last_wins),
        (end_checks.LIVE_IS_REPLAY, checks.NO_REGRESS, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "what is held is not dropped at revocation",
        _replaced(Releases, "drop", lambda *_: None),
        (checks.ONE_ACCEPTANCE, checks.COMMITTED_FIRST, checks.ONE_SUBMISSION),
    ),
    Mutation(
        "a gathered event is in no promise",
        _replaced(Forwarder, "_start", _start_without_promise),
        (checks.FORWARDED_FIRST,),
    ),
    Mutation("a message overtakes another", _replaced(Forwarder, "__init__", _no_turns), (end_checks.ONE_OUTCOME,)),
    Mutation(
        "a request that was forwarded twice is asked for twice",
        lambda: patch("cj_stream.domain.requests._is_copy", lambda *_: False),
        (end_checks.ONE_OUTCOME, end_checks.LOG_DECIDES),
    ),
    Mutation("effects stay in hand for ever", _replaced(Dispatcher, "committed", _kept_in_hand), (ENDS,)),
    Mutation(
        "a commit forgets what is in hand",
        _replaced(Dispatcher, "committed", _nothing_in_hand),
        (checks.ONE_SUBMISSION,),
    ),
    Mutation(
        "a forged correlation id is accepted",
        _replaced(CorrelationIds, "verifies", _any_attempt),
        (end_checks.TRUE_VERDICTS,),
    ),
    Mutation(
        "timeouts do not wait for unread callbacks",
        lambda: patch("cj_stream.worker.caught_up", _always_read),
        (checks.READ_FIRST,),
    ),
    Mutation(
        "the local store is trusted after a kill",
        _replaced(Disk, "open", _trusting_open),
        (end_checks.LIVE_IS_REPLAY, checks.COMMITTED_FIRST, end_checks.LOG_DECIDES),
    ),
    Mutation(
        "only the first event of a message is read",
        _replaced(BatchesAgent, "_events", _first_event),
        (ENDS, checks.ONE_SUBMISSION, end_checks.LOG_DECIDES),
    ),
)

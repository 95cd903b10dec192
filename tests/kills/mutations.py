"""Known mistakes that a worker of the kill suite can have, to show that the suite finds them.

`python -m kills.run 1 --schedule SCHEDULE --mutation NAME` must fail for each of them; a wave of the short schedule is
enough: see `MUTATIONS`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from faust.types import TP
from msgspec.structs import replace

from cj_stream.domain import comparisons
from cj_stream.domain.decider import HANDLERS
from cj_stream.domain.draft import Change, Draft, RunChange
from cj_stream.domain.events import VerdictReceived
from cj_stream.domain.records import ComparisonStatus
from cj_stream.engine.app import App
from cj_stream.engine.local_store import LocalStore
from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.consumer import BarrierConsumer
from cj_stream.engine.overrides.table import Put
from cj_stream.engine.reading import Reading
from cj_stream.engine.sender import Sender
from cj_stream.tables.batch_rows import BatchRows
from cj_stream.worker import Worker


def _commit_without_waiting() -> None:
    settled = Sender.settled

    async def committed(self: Any, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        Sender.settled = _at_once  # type: ignore[assignment]  # whatever it is asked
        try:
            return await commit(self, offsets, start_new_transaction)
        finally:
            Sender.settled = settled

    commit = BarrierConsumer._commit_offsets
    BarrierConsumer._commit_offsets = committed


async def _at_once(*_: Any) -> bool:
    return True


def _wait_for_a_second_only() -> None:
    settled = Sender.settled

    async def settled_or_late(self: Sender, patience: float) -> bool:
        await settled(self, patience)
        return True

    Sender.settled = settled_or_late


def _commit_what_is_in_hand() -> None:
    Reading._in_hand = lambda *_: deque()
    Reading.passed = lambda *_: None


def _keep_the_clean_mark() -> None:
    opened = LocalStore.open

    def opened_again(self: LocalStore) -> None:
        was_clean = self._marker.exists()
        opened(self)
        if was_clean:
            self._marker.touch()

    LocalStore.open = opened_again


def _trust_the_local_store() -> None:
    LocalStore._empty = lambda self: None  # noqa: ARG005 - the name is the signature


def _start_before_the_marker_is_read() -> None:
    build, assigned = App.__init__, Opener.assigned
    apps: list[App[Any, Worker]] = []

    def built(self: App[Any, Worker], *args: Any) -> None:
        build(self, *args)
        apps.append(self)

    def started(self: Opener, partitions: set[int]) -> None:
        assigned(self, partitions)
        for partition in partitions:
            apps[0].released(partition, 0, list(apps[0].service.log._home(partition).subjects()))

    App.__init__ = built  # type: ignore[assignment]  # for the app of one service
    Opener.assigned = started


def _judge_again() -> None:
    def judged(draft: Draft, event: VerdictReceived) -> None:
        row = draft.batch.comparisons[event.index]
        if row.status is ComparisonStatus.JUDGED:
            draft.put(replace(row, winner=event.winner, completed_at=draft.at))
        else:
            comparisons.judge(draft, event)

    HANDLERS[VerdictReceived] = judged


def _control_row_first() -> None:
    puts = BatchRows.puts

    def turned(self: BatchRows, partition: int, changes: Iterable[RunChange]) -> list[Put]:
        return puts(self, partition, [RunChange(_turned(change), offsets[::-1]) for change, offsets in changes])

    BatchRows.puts = turned


def _turned(change: Change) -> Change:
    return Change(change.batch, change.rows[::-1], change.notes, change.deleted)


def _forget_promises() -> None:
    promise = Sender.promise

    def forgotten(self: Sender, what: str) -> asyncio.Future[Any]:
        future = promise(self, what)
        if "gathered" in what or "events" in what:
            self._outstanding.discard(future)
        return future

    Sender.promise = forgotten


MUTATIONS: dict[str, Callable[[], None]] = {
    "commit-without-waiting": _commit_without_waiting,  # short-1
    "wait-for-a-second-only": _wait_for_a_second_only,  # short-1
    "commit-what-is-in-hand": _commit_what_is_in_hand,  # short-1
    "trust-the-local-store": _trust_the_local_store,  # short-5
    "keep-the-clean-mark": _keep_the_clean_mark,  # short-5
    "start-before-the-marker": _start_before_the_marker_is_read,  # short-3
    "judge-again": _judge_again,  # any
    "control-row-first": _control_row_first,  # short-2
    "forget-promises": _forget_promises,  # short-3
}

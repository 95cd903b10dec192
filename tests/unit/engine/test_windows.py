"""Windows of time, for subjects of any app: when something is due, and what keeps it from being emitted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest

from cj_stream.engine.opening import Opener
from cj_stream.engine.overrides.lag import Read
from cj_stream.engine.windows import AT_ONCE, Due, Windows

PARTITION = 4
OPENED_AT = 1_000.0


class Task(NamedTuple):
    """A subject with a deadline, None when it has none."""

    key: str
    due: float | None
    once: bool = False


class Timer:
    """Windows of ten seconds over the tasks of one open partition. ``sent`` are the events, ``told`` what followed."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.told: list[Due[bool]] = []
        self.counts: list[int] = []
        self.read = Read(everything=True)
        self.opener: Any = SimpleNamespace(opened_at={PARTITION: OPENED_AT})
        forwarder: Any = SimpleNamespace(deliver=self._deliver)
        self.windows: Windows[Task, bool, str] = Windows(
            10,
            self,
            cast("Opener", self.opener),
            forwarder,
            self._read,
            self.counts.append,
        )

    def next_due(self, subject: Task, _opened_at: float) -> float | None:
        return subject.due

    def watched(self, subject: Task) -> bool:
        return subject.once

    def is_last(self, watched: bool) -> bool:
        return watched

    def event(self, due: Due[bool]) -> str:
        return str(due.key)

    async def emitted(self, due: Due[bool]) -> None:
        self.told.append(due)

    async def close(self, now: float) -> list[str]:
        self.sent.clear()
        await self.windows.close(now)
        return list(self.sent)

    async def _deliver(self, _partition: int, event: str) -> None:
        self.sent.append(event)

    async def _read(self) -> Read:
        return self.read


@pytest.fixture
def timer() -> Timer:
    timer = Timer()
    timer.windows.watch(PARTITION, [Task("a", 1_012.0), Task("b", 1_018.0), Task("c", None)])
    return timer


async def test_a_subject_is_due_when_the_window_of_its_deadline_has_closed(timer: Timer) -> None:
    assert await timer.close(1_019.0) == []
    assert await timer.close(1_020.0) == ["a", "b"]
    assert timer.told[0] == Due(PARTITION, "a", watched=False, at=1_012.0, opened_at=OPENED_AT, now=1_020.0)
    assert timer.counts == [0, 2]


async def test_nothing_is_emitted_while_input_lies_unread(timer: Timer) -> None:
    timer.read = Read(everything=False)
    assert await timer.close(1_020.0) == []
    timer.read = Read(everything=True, standing=("partition 0 of x stands",))
    assert await timer.close(1_020.0) == ["a", "b"]
    assert timer.told[0].unread == ("partition 0 of x stands",)


async def test_a_subject_that_moved_meanwhile_is_left_alone(timer: Timer) -> None:
    timer.windows.watch(PARTITION, [Task("a", 1_100.0), Task("b", None)])
    assert await timer.close(1_020.0) == []
    assert await timer.close(1_110.0) == ["a"]


async def test_whoever_changes_often_is_asked_once_when_windows_are_closed(timer: Timer) -> None:
    asked: list[str] = []
    next_due = timer.next_due

    def noted(subject: Task, _opened_at: float) -> float | None:
        asked.append(subject.key)
        return next_due(subject, _opened_at)

    timer.next_due = noted
    for due in range(100):
        timer.windows.watch(PARTITION, [Task("a", 1_015.0 + due / 100)])
    assert asked == []
    assert await timer.close(1_020.0) == ["a", "b"]
    assert asked == ["a", "b", "c"]
    assert timer.told[0].at == 1_015.99


async def test_a_subject_that_moves_while_it_is_found_out_whether_all_is_read_is_left_alone(timer: Timer) -> None:
    async def read() -> Read:
        timer.windows.watch(PARTITION, [Task("a", 1_100.0)])
        return timer.read

    timer.windows._read = read
    assert await timer.close(1_020.0) == ["b"]


async def test_many_subjects_do_not_wait_to_be_asked(timer: Timer) -> None:
    timer.windows.watch(PARTITION, [Task(f"{number}", 1_012.0) for number in range(AT_ONCE)])
    assert not timer.windows._changed[PARTITION]


async def test_what_comes_to_nothing_is_due_again_with_the_next_window_unless_it_was_the_last(timer: Timer) -> None:
    timer.windows.watch(PARTITION, [Task("b", 1_018.0, once=True)])
    assert await timer.close(1_020.0) == ["a", "b"]
    assert await timer.close(1_030.0) == ["a"]


async def test_partitions_that_are_not_open_or_not_ours_emit_nothing(timer: Timer) -> None:
    timer.opener.opened_at.clear()
    assert await timer.close(1_020.0) == []
    timer.opener.opened_at[PARTITION] = OPENED_AT
    timer.windows.drop([PARTITION])
    assert await timer.close(1_020.0) == []

"""What the agents were given and have not handled, so that no commit passes it, and how far there is nothing left.

A run of records is in hand until it was handled as a whole. What is committed is the first offset of the oldest run in
hand; with none, the position: behind the last run, or where the next fetch begins.

Hazard in Faust 0.15.3 (upstream issue 606): ``Consumer._new_offset`` (``transport/consumer.py`` 1097-1151) takes the
first row of acknowledged offsets, wherever it begins: with nothing committed yet, or with exactly one message between
the committed offset and the row, it commits over what is still being handled. It is not asked here, and each offset is
compared once more with all that is not handled before anything is committed: see `passed`.

Hazard, ditto with aiokafka 0.14.0: a log may end in records that no reader gets to see, such as the marker of a
transaction. The committed offset then stays below the end for ever, and whoever waits until everything has been read
waits for ever. Here the position of an idle partition is committed too.

Tests: ``test_reading.py``; ``test_transactions.py`` on a real broker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Protocol

from faust.types import TP

from cj_stream.engine.runs import RUN_RECORDS, Run

RUNS_IN_HAND = 4
"""So many runs of a partition at most wait for the agents, but for what one fetch brought."""


class Given(Protocol):
    """A message that stands for a run, and whether the agent has handled it."""

    tp: TP
    run: Run
    acked: bool


class Reading:
    """The source partitions of a worker. All in the main thread, but for `fetching` and ``left_out``."""

    def __init__(self) -> None:
        self._committed: dict[TP, int] = {}
        self._given: dict[TP, deque[Given]] = {}
        self._behind: dict[TP, int] = {}
        """The offset behind the last run that was given."""
        self._positions: dict[TP, int] = {}
        self._sought = False
        self._unread = 0
        self.left_out: frozenset[TP] = frozenset()
        """The partitions that the next fetch leaves out."""

    def given(self, message: Given) -> None:
        """Note that the agents get ``message``."""
        self._given.setdefault(message.tp, deque()).append(message)
        self._behind[message.tp] = message.run.behind

    def fetching(self, positions: Mapping[TP, int], unread: int = 0) -> None:
        """Note that a fetch begins at ``positions``. In the consumer's thread: the agents got what lies before.

        ``unread`` is how many records one of these partitions holds from there on, as far as it is known: the most.
        """
        self._positions.update(positions)
        self._unread = unread

    def begun(self) -> frozenset[TP]:
        """Return the partitions from which anything was fetched since they were sought. From any thread."""
        return frozenset(list(self._positions))

    def interrupt(self) -> None:
        """Note that messages may be dropped from now on, until the partitions are sought."""
        self._sought = False

    def restart(self, begins: Mapping[TP, int]) -> None:
        """Note that all partitions are sought, to what is committed, and nothing is being fetched from them."""
        self._committed = dict(begins)
        self._given.clear()
        self._behind.clear()
        self._positions.clear()
        self._sought = True

    def full(self) -> frozenset[TP]:
        """Return the partitions of which enough is in hand."""
        return frozenset(tp for tp in self._given if len(self._in_hand(tp)) >= RUNS_IN_HAND)

    def is_behind(self) -> bool:
        """Return whether runs wait behind the one in work, or more than one lies unread, in any partition."""
        if not self._sought:
            return False
        return self._unread > RUN_RECORDS or any(len(self._in_hand(tp)) > 1 for tp in list(self._given))

    def oldest(self, tp: TP) -> int | None:
        """Return the first offset of the oldest run that was given and not handled, None if there is none."""
        given = self._in_hand(tp)
        return given[0].run.first if given else None

    def passed(self, tp: TP, offset: int) -> int | None:
        """Return the first offset of a run in hand that a commit of ``offset`` would pass, None if none."""
        firsts = (given.run.first for given in self._given.get(tp, ()) if not given.acked)
        return next((first for first in firsts if first < offset), None)

    def committed(self, offsets: Mapping[TP, int]) -> None:
        """Note that these are committed, as far as can be told. Partitions may have been sought anew meanwhile."""
        reached = {tp: self._reached(tp, self._positions.get(tp, 0)) for tp in offsets}
        self._committed.update({tp: offset for tp, offset in offsets.items() if offset <= reached[tp]})

    def committable(self, unmarked: Mapping[TP, int]) -> dict[TP, int]:
        """Return the offsets beyond those that are committed before which everything is handled.

        ``unmarked`` is where partitions stand that nobody knows of yet: their positions are committed, beyond or not.
        """
        positions = dict(self._positions) if self._sought else {}
        reached = {tp: self._reached(tp, positions.get(tp, 0)) for tp in {*self._given, *positions}}
        return {
            tp: offset
            for tp, offset in reached.items()
            if offset > self._committed.get(tp, offset) or (unmarked.get(tp) == offset and not self._in_hand(tp))
        }

    def _reached(self, tp: TP, position: int) -> int:
        oldest = self.oldest(tp)
        # What is in front of the position was given: a fetch begins when the one before it has been handed on.
        return max(position, self._behind.get(tp, 0)) if oldest is None else oldest

    def _in_hand(self, tp: TP) -> deque[Given]:
        given = self._given.get(tp, deque[Given]())
        while given and given[0].acked:
            given.popleft()
        return given

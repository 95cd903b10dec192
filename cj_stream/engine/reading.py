"""What the agents were given and have not acknowledged, so that no commit passes it, and how far there is nothing left.

Hazard in Faust 0.15.3 (upstream issue 606): ``Consumer._new_offset`` (``transport/consumer.py`` 1097-1151) takes the
first run of acknowledged offsets, wherever it begins: with nothing committed yet, or with exactly one message between
the committed offset and the run, it commits over what is still being handled. An agent that takes one message at a
time acknowledges in order, so we know of no way to get there; a skipped message or a second stream would be one.
Here each offset is compared with the oldest message that is not acknowledged before anything is committed.

Hazard, ditto with aiokafka 0.14.0: a log may end in records that no reader gets to see, such as the marker of a
transaction. The committed offset then stays below the end for ever, and whoever waits until everything has been read
waits for ever. Here the position of an idle partition is committed too.

Tests: ``test_reading.py``; ``test_transactions.py`` on a real broker.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from faust.types import TP, Message


class Reading:
    """The source partitions of a worker. All in the main thread, but for `fetching`."""

    def __init__(self) -> None:
        self._given: dict[TP, deque[Message]] = {}
        self._positions: dict[TP, int] = {}
        self._sought = False

    def given(self, message: Message) -> None:
        """Note that the agents get ``message``."""
        self._given.setdefault(message.tp, deque()).append(message)

    def fetching(self, positions: Mapping[TP, int]) -> None:
        """Note that a fetch begins at ``positions``. In the consumer's thread: the agents got what lies before."""
        self._positions.update(positions)

    def begun(self) -> frozenset[TP]:
        """Return the partitions from which anything was fetched since they were sought. From any thread."""
        return frozenset(list(self._positions))

    def interrupt(self) -> None:
        """Note that messages may be dropped from now on, until the partitions are sought."""
        self._sought = False

    def restart(self) -> None:
        """Note that all partitions are sought, and nothing is being fetched from them."""
        self._given.clear()
        self._positions.clear()
        self._sought = True

    def oldest(self, tp: TP) -> int | None:
        """Return the offset of the oldest message given and not acknowledged, None if there is none."""
        given = self._given.get(tp)
        while given and given[0].acked:
            given.popleft()
        return given[0].offset if given else None

    def passed(self, tp: TP, offset: int) -> int | None:
        """Return the offset of an unacknowledged message that a commit of ``offset`` would pass, None if none."""
        oldest = self.oldest(tp)
        return oldest if oldest is not None and offset > oldest else None

    def idle(self, committed: Mapping[TP, int | None], unmarked: Mapping[TP, int]) -> dict[TP, int]:
        """Return the positions beyond ``committed`` before which there is nothing that is not acknowledged.

        ``unmarked`` is where partitions stand that nobody knows of yet: their positions are committed, beyond or not.
        """
        if not self._sought:
            return {}
        return {
            tp: position
            for tp, position in list(self._positions.items())
            if (((known := committed.get(tp)) is not None and position > known) or unmarked.get(tp) == position)
            and self.oldest(tp) is None
        }

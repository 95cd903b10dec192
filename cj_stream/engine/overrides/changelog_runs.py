"""What is fetched of a changelog is applied to the copy at once, a run at a time, and its offset moves afterwards.

Hazard in Faust 0.15.3: a changelog record goes through a queue and a buffer, one at a time, which costs 177
microseconds, and its offset moves before it is applied (``tables/recovery.py`` 762-915). The last step of a recovery
clears every queue (``mode/utils/queues.py`` 97-101) while the standbys flow already, and a record that waits to be put
into a full queue outlives the clearing (``transport/_cython/conductor.pyx`` 113-116): the next record took the offset
past what was applied nowhere, and the copy lacked those rows for good.

Hazard, ditto: what is left of the standbys cannot be told while one of them has no offset yet (943-951), which is so
when a copy is assigned while an earlier recovery still starts the standbys it knows: the worker would crash.

Here there is no queue. A run is of the *term* that it was asked for in. A term ends when everything is to be sought
anew; then what is left of a run is dropped, and will be fetched again, since the offset says what is in the copy.

Tests: ``test_recovery.py``, ``tests/kafka/test_standbys.py``; the mutation "the offset of a copy moves before its rows
are there" in ``tests/simulation``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from time import monotonic
from typing import Any, Protocol, cast

import structlog
from faust.tables.recovery import Recovery
from faust.types import TP
from mode import Service

log = structlog.get_logger(__name__)


class FollowsChangelog(Protocol):
    """A table, whose partitions have copies that follow a changelog."""

    def apply_run(self, tp: TP, records: Sequence[Any]) -> None:
        """Apply changelog records of a partition, in the order of their offsets."""


class RunRecovery(Recovery):
    """Faust's recovery, of which runs of records are taken."""

    most_at_once = 1_000
    """Records that are applied before others get their turn in the loop: some 10 ms."""
    taking = False
    """Whether what was fetched is not applied yet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.end_term()
        super().__init__(*args, **kwargs)

    def end_term(self) -> None:
        """Have nothing applied that was asked for before now: everything is to be sought anew."""
        self.term = object()
        self._strangers: set[TP] = set()

    @Service.task  # type: ignore[untyped-decorator]
    async def _slurp_changelogs(self) -> None:
        """Do nothing: no record of a changelog enters the queue that Faust's task of this name empties."""

    async def take(self, tp: TP, records: Sequence[Any], term: object) -> None:
        """Apply what was fetched of a changelog, in the order of its offsets, as long as ``term`` lasts.

        ``term`` is what it was when the fetch was asked for.
        """
        self.taking = True
        try:
            for start in range(0, len(records), self.most_at_once):
                if term is not self.term:
                    return
                self._apply(tp, records[start : start + self.most_at_once])
                await self._let_others_go_on()
        finally:
            self.taking = False

    async def _let_others_go_on(self) -> None:
        await asyncio.sleep(0)

    def _apply(self, tp: TP, records: Sequence[Any]) -> None:
        offsets = self._offsets_of(tp)
        if offsets is None:
            return
        seen = offsets[tp]
        new = [record for record in records if seen is None or record.offset > seen]
        if not new:
            return
        cast("FollowsChangelog", self.tp_to_table[tp]).apply_run(tp, new)
        # Not before: what is not in the copy would never be read again.
        offsets[tp] = new[-1].offset
        if offsets is self.active_offsets:
            self._active_events_received_at[tp] = self._last_flush_at = monotonic()
            self._end_if_recovered()
        elif not self.tables.standbys_ready and not self.standby_remaining_total():
            self.tables.on_standbys_ready()

    def standby_remaining(self) -> Counter[TP]:
        """Return how many records each standby has not read; of a copy without an offset yet, none is read."""
        # Faust compares with the offset: it has none where a copy was assigned while another recovery goes on.
        found = ((tp, end, self.standby_offsets[tp]) for tp, end in self.standby_highwaters.items())
        return Counter({tp: max(end - (-1 if offset is None else offset), 0) for tp, end, offset in found})

    def _offsets_of(self, tp: TP) -> Any:
        """Return the offsets of active or standby copies, wherever this one belongs; None if nothing of it is read."""
        if tp in self.active_tps:
            # What comes behind the end that was to be recovered is of a worker out of touch: its rows are ours now.
            return self.active_offsets if self.in_recovery else None
        if tp in self.standby_tps:
            return self.standby_offsets
        if tp not in self._strangers:
            self._strangers.add(tp)
            log.warning("records of a changelog that is not ours are dropped", topic=tp.topic, partition=tp.partition)
        return None

    def _end_if_recovered(self) -> None:
        if self.in_recovery and not self.need_recovery():
            self._set_recovery_ended()
            self.signal_recovery_end.set()

    def _set_recovery_started(self) -> None:
        super()._set_recovery_started()
        # Faust's task clears it with each record.
        self.signal_recovery_end.clear()

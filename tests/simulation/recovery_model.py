"""Faust's recovery, modelled, and the way of a run of changelog records into the copy of a partition.

Actives are read up to where their changelog ended when recovery began; then standbys flow. A run is asked for, fetched,
and handed to the real recovery, which applies it in pieces: a kill, a revocation or a seek may come between any two of
these steps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from faust.tables.recovery import Recovery
from faust.types import TP

from cj_stream.engine.overrides.recovery import LOOK_SECONDS, SeekFirstRecovery

if TYPE_CHECKING:
    from simulation.faust_model import SimApp

LONGEST_RUN = 50
"""Records that are fetched at once at most."""
PIECE = 1
"""Records that are applied before others get their turn: the real thousand, in the measure of a simulation."""
LONGEST_TURN = 0.2
"""Seconds that others have then, at most."""
CATCHING_UP = 0.02
"""Seconds between two fetches of a standby that is behind, and those that a fetch takes, at most."""
LOST = 0.02
"""Chance that a run of records gets lost on its way into the copy, while actives are read."""


class _FaustRecovery(Recovery):  # type: ignore[misc]
    """Model of the parts of Faust's recovery that ours calls or extends (``tables/recovery.py``)."""

    log: Any = SimpleNamespace(info=lambda *_: None, warning=lambda *_: None)
    app: Any
    tables: Any

    def __init__(self, app: SimApp) -> None:
        self.app = app
        self.completed = asyncio.Event()
        self.tables = _Tables({"batches": app.table})
        self.active_tps: set[TP] = set()
        self.standby_tps: set[TP] = set()
        self.active_offsets: Any = {}
        self.standby_offsets: Any = {}
        self.active_highwaters: dict[TP, int] = {}
        self.standby_highwaters: Any = {}
        self.in_recovery = False
        self.fetched: dict[TP, int] = {}
        self.tp_to_table: Any = {}
        self.actives_for_table: Any = {app.table: self.active_tps}
        self.standbys_for_table: Any = {app.table: self.standby_tps}
        self._active_events_received_at: dict[TP, float] = {}

    def _set_recovery_started(self) -> None:
        self.in_recovery = True

    def _set_recovery_ended(self) -> None:
        self.in_recovery = False

    def _is_changelog_tp(self, tp: TP) -> bool:
        return bool(tp.topic == self.app.changelog_topic)

    async def _wait(self, coro: Awaitable[None], timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 (Faust's signature)
        await coro

    def on_partitions_revoked(self, _revoked: set[TP]) -> None:
        """Nothing to do."""

    async def on_rebalance(self, actives: set[TP], standbys: set[TP]) -> None:
        for offsets in (self.active_offsets, self.standby_offsets):
            for tp in [tp for tp in offsets if tp not in actives | standbys]:
                del offsets[tp]
        for mine, given in ((self.active_tps, actives), (self.standby_tps, standbys)):
            mine.clear()
            mine.update(given)
        for tp in sorted(standbys):
            self._add(self.app.table, tp, self.standby_offsets)
        for tp in sorted(actives):
            self._add(self.app.table, tp, self.active_offsets)
        self.active_offsets = {tp: self.active_offsets[tp] for tp in actives}

    def _add(self, table: Any, tp: TP, offsets: Any) -> None:
        self.tp_to_table[tp] = table
        persisted = self.app.disk.databases[tp.partition].offset
        if persisted is not None:
            offsets[tp] = persisted
        offsets.setdefault(tp, None)

    async def recover(self, generation: int) -> None:
        """Recover, and again when that is asked for; then let everything flow."""
        again = True
        while again:
            self.signal_recovery_start.clear()
            await self._read_actives()
            self.app.flow_control.resume()
            self.app.consumer.resume_flow()
            await self._start_standbys()
            await self.on_recovery_completed(generation)
            again = self.signal_recovery_start.is_set()

    def active_remaining(self) -> dict[TP, int]:
        return {tp: end - self.active_offsets[tp] for tp, end in self.active_highwaters.items()}

    async def _read_actives(self) -> None:
        ends = {tp: len(self.app.process.broker.logs[tp]) for tp in sorted(self.active_tps)}
        self.fetched = {tp: _next(self.active_offsets[tp]) for tp in ends}
        self.active_offsets = {tp: start - 1 for tp, start in self.fetched.items()}
        self.active_highwaters = {tp: end - 1 for tp, end in ends.items()}
        self._set_recovery_started()
        for tp, end in ends.items():
            seen: dict[TP, tuple[int, int]] = {}
            while self.active_offsets[tp] < end - 1:
                await self._fetch(tp, end)
                if self.fetched[tp] == end and self.active_offsets[tp] < end - 1:
                    await asyncio.sleep(LOOK_SECONDS)
                    seen = await self._look(seen)
        self._set_recovery_ended()

    async def _fetch(self, tp: TP, end: int) -> None:
        """Take a run of records from the log; now and then it gets lost within the process."""
        process, chance, term = self.app.process, self.app.process.world.chance, self.term
        await asyncio.sleep(chance.random() * CATCHING_UP)
        start = self.fetched[tp]
        records = process.broker.logs[tp][start : min(start + chance.randint(1, LONGEST_RUN), end)]
        self.fetched[tp] += len(records)
        if records and chance.random() >= LOST:
            # It is the consumer that hands it over: that goes on when the recovery is given up.
            await asyncio.shield(process.spawn(self.take(tp, records, term)))

    async def _look(self, seen: dict[TP, tuple[int, int]]) -> dict[TP, tuple[int, int]]:
        """Look once at the ends of the changelogs."""
        raise NotImplementedError

    async def _start_standbys(self) -> None:
        if self.standby_tps:
            await self.app.process.ask_broker(lambda: None)
            self.app.consumer.resume_standbys({tp: _next(self.standby_offsets[tp]) for tp in sorted(self.standby_tps)})
            self.app.flow_control.resume()
            self.app.consumer.resume_flow()


class SimRecovery(SeekFirstRecovery, _FaustRecovery):
    """The real recovery on the model of Faust's."""

    most_at_once = PIECE

    async def _let_others_go_on(self) -> None:
        await asyncio.sleep(self.app.process.world.chance.random() * LONGEST_TURN)

    def _fetched_to(self, tps: set[TP]) -> dict[TP, int]:
        return {tp: self.fetched[tp] for tp in tps}

    def behind(self) -> bool:
        """Return whether a standby has not read all that there is."""
        logs = self.app.process.broker.logs
        return any(_next(self.standby_offsets.get(tp)) < len(logs[tp]) for tp in self.standby_tps)


class _Tables(dict[str, Any]):
    standbys_ready = False

    def on_actives_ready(self) -> None:
        """Nothing to do."""

    def on_standbys_ready(self) -> None:
        """Nothing to do."""


def _next(offset: int | None) -> int:
    return 0 if offset is None else offset + 1

"""Recovery that seeks before it resumes.

Hazard in Faust 0.15.3 (upstream issue 596): ``Recovery.on_recovery_completed`` (``tables/recovery.py`` 649-660) resumes
the source partitions before it seeks them to their committed offsets, with the flow already active; what arrives in
between is cleared and never read again. Here the order is: seek, then resume, with no await in between.

Hazard, ditto: its last step also resumes the flow control, which clears every queue (``mode/utils/queues.py`` 97-101),
while the standby partitions already flow. What they had in the queue was applied nowhere, the next record moved their
offset past it, and the copy lacked those rows for good. Here a flow that is active is left alone.

Test: ``test_recovery.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from cj_stream.streaming.engine import Engine
from cj_stream.streaming.fence import now


class SeekFirstRecovery(Recovery):
    """Faust's recovery with its last step in a safe order."""

    _revoked = False

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Seek the source partitions to their committed offsets, then let them flow."""
        app, consumer = self.app, self.app.consumer
        self.log.info("Restore complete!")
        await app.on_rebalance_complete.send()
        self._set_recovery_ended()
        await asyncio.gather(*(self._tell(table) for table in self.tables.values()))
        if app.consumer_generation_id != generation_id:
            self.log.warning("rebalanced again during recovery")
            return
        sources = {tp for tp in consumer.assignment() if not self._is_changelog_tp(tp)}
        if sources:
            await self._wait(consumer.perform_seek(), timeout=app.conf.broker_request_timeout)
        if self._revoked or app.consumer_generation_id != generation_id:
            self.log.warning("the partitions were taken away during the seek")
            return
        # No await from here to resume_flow: nothing can be delivered in between.
        consumer.resume_partitions(sources)
        self.completed.set()
        if not app.flow_control.is_active():
            app.flow_control.resume()
        consumer.resume_flow()
        await cast("Any", app)._fetcher.maybe_start()  # noqa: SLF001 (as the overridden method does)
        self.tables.on_actives_ready()
        if not app.assignor.assigned_standbys():
            self.tables.on_standbys_ready()
        app.on_rebalance_end()
        self._engine.opener.assigned({tp.partition for tp in sources if tp.topic == self._engine.events_topic})
        self.log.info("Worker ready")

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Remember that what is being recovered is ours no longer: the generation does not tell."""
        self._revoked = True
        super().on_partitions_revoked(revoked)

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """Begin to recover what was assigned; the assignment itself is a sign of life from the group."""
        self._revoked = False
        self._engine.fence.contact(now())
        await super().on_rebalance(*args, **kwargs)

    @property
    def _engine(self) -> Engine:
        engine: Engine = cast("Any", self.app).engine
        return engine

    async def _tell(self, table: Any) -> None:
        await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])


class SeekFirstTableManager(TableManager):
    """Faust's table manager with `SeekFirstRecovery`."""

    async def on_start(self) -> None:
        """Begin at once: Faust waits a second for tables that are still to be added, and ours are all there."""
        await self._update_channels()
        await self.recovery.start()

    @property
    def recovery(self) -> Recovery:
        """Return the recovery service."""
        recovery: Recovery | None = self.__dict__.get("_recovery")
        if recovery is None:
            recovery = self._recovery = SeekFirstRecovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return recovery

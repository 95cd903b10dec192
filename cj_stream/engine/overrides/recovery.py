"""Recovery that seeks before it resumes, and serves no partition whose copy is not complete.

Hazard in Faust 0.15.3 (upstream issue 596): ``Recovery.on_recovery_completed`` (``tables/recovery.py`` 649-660) resumes
the source partitions before it seeks them to their committed offsets, with the flow already active; what arrives in
between is cleared and never read again. Here the order is: seek, then resume, with no await in between.

Hazard, ditto: there are more ways for a copy to lack a record, all of them silent. An offset of an earlier time as a
standby stays when the database has none (`_add`); a deletion may be compacted away before a copy that lay still has
read it. So the copy of a partition is compared with what its last writer told (``table.py``) before it is served, and
rebuilt from the beginning of the changelog when it differs.

Hazard, ditto: recovery waits for the last offset of the changelog to be delivered, and the end of a transaction, which
takes an offset, never is: a changelog that somebody has written to in a transaction would never be recovered. Here it
is read to its end when it is fetched to its end and nothing has come for a while. Records that were lost on their way
into the copy look just the same, and no later record tells of them: so the rest is fetched once more before.

Tests: ``test_recovery.py``, ``tests/kafka/test_standbys.py``, ``tests/kafka/test_foreign_rows.py``; the mutations "a
copy is not verified" and "the end of a changelog is not fetched again" in ``tests/simulation``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Protocol, cast

import structlog
from aiokafka.errors import IllegalStateError
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.types import TP

from cj_stream.engine.fence import now
from cj_stream.engine.hardening import Engine, engine_of
from cj_stream.engine.overrides.changelog_runs import RunRecovery
from cj_stream.engine.overrides.consumer import positions

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
LOOKS = 3
"""So often in a row nothing has come of a changelog that is fetched to its end before it is fetched again, or counts as
read to its end when it has been."""


class VerifiableCopies(Protocol):
    """A table, whose partitions have copies that can be verified."""

    def summing_up(self, partition: int) -> Iterator[None]:
        """Look at all rows, with pauses."""

    def is_complete(self, partition: int) -> bool:
        """Return whether the copy has all rows; at once when they were summed up."""

    def rows(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over the rows of the copy."""

    def empty(self, partition: int) -> None:
        """Delete the copy."""

    def trust(self, partition: int) -> None:
        """Take the copy for complete."""


class SeekFirstRecovery(RunRecovery):
    """Recovery from runs, with Faust's last step in a safe order."""

    _revoked = False
    ready = False
    """Whether what was assigned last is recovered and sought: from any thread."""
    closed: frozenset[int] = frozenset()
    """Partitions of this worker whose table could not be read to its end: what lives there is not served."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._rebuilt: dict[TP, dict[bytes, int]] = {}
        """Copies that are being rebuilt, and what each of them had instead: keys, and hashes of the values."""
        self._fetched_again: dict[TP, int] = {}
        """Changelogs whose end was fetched once more, and the offset after which it was."""
        super().__init__(*args, **kwargs)

    async def on_recovery_completed(self, generation_id: int = 0) -> None:
        """Verify the copies; seek the source partitions to their committed offsets, then let them flow."""
        app, consumer = self.app, self.app.consumer
        self.closed = frozenset(tp.partition for tp in self._engine.guard.standing() if self._cannot_be_read(tp))
        incomplete = await self._incomplete(generation_id)
        if self._is_past(generation_id):
            self.log.warning("rebalanced again during recovery")
            return
        if incomplete:
            self._rebuild(incomplete)
            return
        self.log.info("Restore complete!")
        await app.on_rebalance_complete.send()
        self._set_recovery_ended()
        await asyncio.gather(*(self._tell(table) for table in self.tables.values()))
        if self._is_past(generation_id):
            self.log.warning("rebalanced again during recovery")
            return
        closed = {TP(self._engine.events_topic, partition) for partition in self.closed}
        sources = {tp for tp in consumer.assignment() if not self._is_changelog_tp(tp)} - closed
        events = {tp.partition for tp in sources if tp.topic == self._engine.events_topic}
        if sources:
            self._engine.faust.life.before_seek(events)
            await self._wait(consumer.perform_seek(), timeout=app.conf.broker_request_timeout)
            await self._engine.faust.life.after_seek()
        if self._is_past(generation_id):
            self.log.warning("the partitions were taken away during the seek")
            return
        # No await from here to resume_flow: nothing can be delivered in between.
        consumer.resume_partitions(sources)
        self.completed.set()
        app.flow_control.resume()
        consumer.resume_flow()
        await cast("Any", app)._fetcher.maybe_start()  # noqa: SLF001 (as the overridden method does)
        self.tables.on_actives_ready()
        if not app.assignor.assigned_standbys():
            self.tables.on_standbys_ready()
        app.on_rebalance_end()
        self._engine.opener.assigned(events)
        self.ready = True
        self.log.info("Worker ready")

    def need_recovery(self) -> bool:
        """Return whether something is to be read that can be: who waits for the rest would wait for ever."""
        return any(left > 0 for tp, left in self.active_remaining().items() if not self._cannot_be_read(tp))

    async def on_start(self) -> None:
        """Watch the ends of the changelogs too."""
        await super().on_start()
        self.add_future(self._watch_ends())

    async def _watch_ends(self) -> None:
        seen: dict[TP, tuple[int, int]] = {}
        while not self.should_stop:
            await self.sleep(LOOK_SECONDS)
            seen = await self._look(seen)

    async def _look(self, seen: dict[TP, tuple[int, int]]) -> dict[TP, tuple[int, int]]:
        """Look once at the ends of the changelogs: fetch them once more, or take them for read, if it is time."""
        seen = self._quiet(seen)
        await self._end({tp: offset for tp, (offset, times) in seen.items() if times >= LOOKS})
        self._end_if_recovered()
        return seen

    def _quiet(self, seen: dict[TP, tuple[int, int]]) -> dict[TP, tuple[int, int]]:
        """Return the changelogs that are fetched to their end and not read to it, and how often each was ``seen`` so.

        With each of them stands the last offset that was read, which is the same in each of these times.
        """
        left = {tp for tp, count in self.active_remaining().items() if count > 0} if self.in_recovery else set()
        if not left or self.taking:
            return {}
        fetched = self._fetched_to(left)
        ended = {tp for tp in left if fetched.get(tp, -1) > self.active_highwaters[tp]}
        return {tp: (self.active_offsets[tp], _times(seen.get(tp), self.active_offsets[tp])) for tp in ended}

    async def _end(self, quiet: dict[TP, int]) -> None:
        """Fetch once more what lies behind those offsets; when that has been done, there are no records."""
        for tp in [tp for tp, offset in quiet.items() if self._fetched_again.get(tp) == offset]:
            self._is_read_to_end(tp, quiet.pop(tp))
        if not quiet:
            return
        log.warning("nothing comes of the end of a changelog: fetching it once more", behind=_told(quiet))
        try:
            # Nothing is awaited between the look at the offsets and this: a later seek of another comes later.
            await self.app.consumer.seek_wait({tp: offset + 1 for tp, offset in quiet.items()})
        except (IllegalStateError, TimeoutError) as failed:
            log.warning("the end of a changelog could not be fetched once more", error=repr(failed))
        else:
            self._fetched_again.update(quiet)

    def _is_read_to_end(self, tp: TP, offset: int) -> None:
        log.warning(
            "what lies at the end of a changelog is no record, and not waited for: somebody has written there "
            "in a transaction, or it was compacted away",
            topic=tp.topic,
            partition=tp.partition,
            first=offset + 1,
        )
        self.active_offsets[tp] = self.active_highwaters[tp]

    def _fetched_to(self, tps: set[TP]) -> dict[TP, int]:
        """Return the offset that is fetched next of each partition."""
        consumer = cast("Any", self.app.consumer)._thread._consumer  # noqa: SLF001 (the consumer lives in its thread)
        return {} if consumer is None else positions(consumer, tps)

    def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Remember that what is being recovered is ours no longer: the generation does not tell."""
        self._revoked = True
        self.ready = False
        self.end_term()
        super().on_partitions_revoked(revoked)

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """Begin to recover what was assigned; the assignment itself is a sign of life from the group."""
        self._revoked = self.ready = False
        self.end_term()
        self._rebuilt = {}
        self._fetched_again = {}
        self._engine.fence.contact(now())
        await super().on_rebalance(*args, **kwargs)

    def _add(self, table: Any, tp: TP, offsets: Any) -> None:
        # What is remembered of an earlier assignment holds only if the database says so too.
        offsets.pop(tp, None)
        super()._add(table, tp, offsets)

    async def _seek_offsets(self, consumer: Any, tps: set[TP], offsets: Any, title: str) -> None:
        # What was assigned since has no offset yet: Faust would end, but another recovery is about to begin for it.
        await super()._seek_offsets(consumer, {tp for tp in tps if offsets[tp] is not None}, offsets, title)

    def _is_past(self, generation_id: int) -> bool:
        """Return whether what is being recovered is ours no longer, or no longer all that is ours."""
        return self._revoked or self.app.consumer_generation_id != generation_id

    async def _incomplete(self, generation_id: int) -> list[TP]:
        """Return the partitions to be served whose copy must be rebuilt, until it is as told or two readings agree."""
        incomplete = []
        for tp in sorted(tp for tp in self.active_tps if tp.partition not in self.closed):
            copy = self._copy(tp)
            for _ in copy.summing_up(tp.partition):
                await asyncio.sleep(0)
                if self._is_past(generation_id):
                    return []
            complete = copy.is_complete(tp.partition)
            if tp in self._rebuilt and self._is_settled(tp, self._rebuilt[tp], as_told=complete):
                self._rebuilt.pop(tp)
                # Not again because of what is as it is; from here on we are the last writer.
                copy.trust(tp.partition)
            elif not complete:
                incomplete.append(tp)
        return incomplete

    def _rebuild(self, incomplete: list[TP]) -> None:
        """Recover once more, those partitions from the beginning."""
        # As at a revocation: what is under way is dropped, and all partitions are sought again.
        self.end_term()
        self.app.consumer.pause_partitions(self.app.consumer.assignment())
        for tp in incomplete:
            rows = self._rebuilt[tp] = self._rows(tp)
            log.warning(
                "the copy of a partition is not complete: rebuilding it from the changelog",
                topic=tp.topic,
                partition=tp.partition,
                rows=len(rows),
                has_read_to=self.active_offsets[tp],
            )
            self._copy(tp).empty(tp.partition)
            self.active_offsets[tp] = None
        self.signal_recovery_start.set()

    def _is_settled(self, tp: TP, before: dict[bytes, int], *, as_told: bool) -> bool:
        """Return whether a rebuilt copy is what the changelog says; ``before`` are the rows that were read before."""
        rows = self._rows(tp)
        log.warning(
            "the copy of a partition is rebuilt from the changelog",
            topic=tp.topic,
            partition=tp.partition,
            rows=len(rows),
            missing=len(rows.keys() - before.keys()),
            outdated=sum(key in before and before[key] != value for key, value in rows.items()),
            too_many=len(before.keys() - rows.keys()),
        )
        if as_told:
            return True
        # Something may have been lost on its way once more: then the next reading differs.
        agree = rows == before
        log.warning(
            "the rebuilt copy is not what the last writer of the changelog had: it was out of touch, or rows of a "
            "worker that was came later; going on with what the changelog says"
            if agree
            else "the rebuilt copy is not what the last writer of the changelog had: reading once more",
            topic=tp.topic,
            partition=tp.partition,
        )
        return agree

    def _rows(self, tp: TP) -> dict[bytes, int]:
        return {key: hash(value) for key, value in self._copy(tp).rows(tp.partition)}

    def _copy(self, tp: TP) -> VerifiableCopies:
        return cast("VerifiableCopies", self.tp_to_table[tp])

    def _cannot_be_read(self, tp: TP) -> bool:
        return tp in self._engine.guard.standing() and self.active_remaining()[tp] > 0

    @property
    def _engine(self) -> Engine[Any]:
        return engine_of(self.app)

    async def _tell(self, table: Any) -> None:
        await table.on_recovery_completed(self.actives_for_table[table], self.standbys_for_table[table])


def _times(seen: tuple[int, int] | None, offset: int) -> int:
    return seen[1] + 1 if seen is not None and seen[0] == offset else 1


def _told(offsets: dict[TP, int]) -> dict[str, int]:
    return {f"{tp.topic}[{tp.partition}]": offset for tp, offset in sorted(offsets.items())}


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

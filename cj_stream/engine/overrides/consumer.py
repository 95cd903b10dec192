"""The commit barrier, the watch over the membership, and fetches that lose nothing in a rebalance.

Hazard in Faust 0.15.3: ``Consumer._commit_offsets`` (``transport/consumer.py`` 1073) flushes a leaky buffer and
commits, so an offset can be committed before the changelog record that it caused is acknowledged. Here the commit
first waits for everything the sender has outstanding, and afterwards releases the effects of what was committed.

Hazard, ditto: a fetch under way looks at the live set of active partitions, and to aiokafka 0.14.0 an empty set means
all of them (``consumer/fetcher.py`` 1221). Recovery empties the set before it seeks the sources, partition by
partition; so that fetch takes what the first of them have, ``Consumer.getmany`` (759) drops it as not active, and the
next record is booked as the end of a compaction gap (1215): lost, and committed over. Here a fetch sees the set as it
was when it began, and is cut off before anything is sought.

Hazard, ditto: the search for partitions that do not move (907) reads positions that may be none, and so crashes the
worker when a topic is deleted at that moment. The watchdog asks the broker instead, and this search is left out.

Hazard, ditto: a rebalance that comes to a worker while it stops has the main thread close the client and the group that
live in the consumer's thread (``app/base.py`` 1848, ``transport/drivers/aiokafka.py`` 766): the process hangs or dies
of a segmentation fault, and without leaving the group. Here the thread closes them itself, in its turn.

Tests: ``test_barrier.py``, ``test_fetching.py``, ``test_reading.py``, ``tests/kafka/test_lost_workers.py``; the
mutation "a commit does not wait for what is outstanding" in ``tests/simulation``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.types import TP, Message

from cj_stream.engine.clients import READ_COMMITTED
from cj_stream.engine.fence import now
from cj_stream.engine.hardening import engine_of
from cj_stream.engine.overrides.commits import GonePartitions
from cj_stream.engine.overrides.drain import DrainingConsumer, RunMessage
from cj_stream.engine.overrides.inputs import Inputs
from cj_stream.engine.overrides.isolation import written_ends
from cj_stream.engine.overrides.membership import MembershipWatch
from cj_stream.engine.process import end_process
from cj_stream.engine.reading import Reading

PATIENCE_SECONDS = 1.0
FETCH_WAIT_MILLISECONDS = 200
"""How long the broker may keep a fetch that brings nothing."""
RECOVERY_WAIT_MILLISECONDS = 10
"""The same while partitions are taken over: on the same connection each step of that waits for the fetch before it."""


class FencedConsumerThread(AIOKafkaConsumerThread):
    """The consumer's thread: watches the membership, leaves the group when it stops, lets no fetch outlive a seek."""

    _fetch: asyncio.Future[Any] | None = None
    _gone: GonePartitions | None = None

    async def on_start(self) -> None:
        """Start the consumer and watch what the group's coordinator answers."""
        await super().on_start()
        coordinator = self._consumer._coordinator  # noqa: SLF001 (aiokafka has no hook for these answers)
        fence = engine_of(self.app).fence
        conf, names = self.app.conf, engine_of(self.app).settings.names
        watch = MembershipWatch(coordinator._send_req, fence, conf.consumer_group_instance_id, conf.id, names)  # noqa: SLF001 (as above)
        coordinator._send_req = watch.send  # noqa: SLF001 (as above)
        self._gone = GonePartitions(self._consumer)
        fence.contact(now())
        engine_of(self.app).watchdog.watch_loop()

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = RECOVERY_WAIT_MILLISECONDS  # noqa: SLF001 (Faust has 1.5 s, and no setting for it)
        consumer._isolation_level = READ_COMMITTED  # noqa: SLF001 (Faust has it for its own transactions only)
        engine_of(self.app).guard.attach(consumer)
        client, send, commit = consumer._client, consumer._client.send, consumer.commit  # noqa: SLF001 (no hook for answers)

        async def sent(node_id: int, request: Any, **kwargs: Any) -> Any:
            response = await send(node_id, request, **kwargs)
            self._inputs.answered(consumer, request, response)
            return response

        async def committed(offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
            await commit(self._inputs.identified(offsets))

        client.send, consumer.commit = sent, committed
        return consumer

    def close(self) -> None:
        """Do nothing: whoever asks for it stops the worker, and `on_thread_stop` closes in the thread it belongs to."""

    async def on_thread_stop(self) -> None:
        """Leave the group: aiokafka does not with a name, and the partitions would stand still for a session."""
        if self._consumer is not None:
            self._consumer._coordinator._group_instance_id = None  # noqa: SLF001 (aiokafka has no setting for this)
        await super().on_thread_stop()

    async def seek_to_committed(self) -> Any:
        """Seek the sources to where reading begins, with no fetch under way."""
        await self.call_thread(self._cut_off_fetch)
        return await self.call_thread(self._seek_sources)

    async def _seek_sources(self) -> dict[TopicPartition, int | None]:
        consumer = self._ensure_consumer()
        assigned = consumer.assignment()
        sources = [tp for tp in assigned if self.app.topics.acks_enabled_for(tp.topic)]
        begins = await self._inputs.seek(consumer, sources)
        return {tp: begins.get(tp) for tp in assigned}

    @property
    def left_out(self) -> Collection[TopicPartition]:
        """What the last commit left out because it is gone; from any thread."""
        return () if self._gone is None else self._gone.left_out

    @property
    def _inputs(self) -> Inputs:
        return engine_of(self.app).inputs

    async def _highwaters(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        # Faust takes the stable ends: rows of ours that lie behind somebody's open transaction would not be recovered.
        return await written_ends(self._ensure_consumer(), list(partitions))

    async def _seek_wait(self, consumer: Any, partitions: Mapping[TP, int]) -> None:
        await self._cut_off_fetch()
        await super()._seek_wait(consumer, partitions)

    async def _fetch_records(self, consumer: Any, active_partitions: Collection[TP], *args: Any, **kwargs: Any) -> Any:
        reading = cast("BarrierConsumer", self.consumer).reading
        wanted = frozenset(active_partitions) - reading.left_out
        if not wanted:
            return {}
        self._note_positions(consumer, wanted)
        ready = cast("Any", self.app.tables).recovery.ready
        wait = FETCH_WAIT_MILLISECONDS if ready else RECOVERY_WAIT_MILLISECONDS
        consumer._fetcher._fetch_max_wait_ms = wait  # noqa: SLF001 (aiokafka has no setting for it once it is started)
        fetch = self._fetch = asyncio.ensure_future(super()._fetch_records(consumer, wanted, *args, **kwargs))
        await asyncio.wait([fetch])
        return {} if fetch.cancelled() else fetch.result()

    def _note_positions(self, consumer: Any, wanted: Collection[TP]) -> None:
        # Not what standbys read: a committed position would be where another standby begins to read.
        sources = [tp for tp in wanted if self.app.topics.acks_enabled_for(tp.topic)]
        begins = positions(consumer, sources)
        self._inputs.moved(consumer, begins)
        unread = max(((consumer.highwater(tp) or 0) - begin for tp, begin in begins.items()), default=0)
        cast("BarrierConsumer", self.consumer).reading.fetching(begins, unread)

    async def _cut_off_fetch(self) -> None:
        if self._fetch is not None and not self._fetch.done():
            self._fetch.cancel()
            await asyncio.wait([self._fetch])


class BarrierConsumer(DrainingConsumer):
    """Faust's consumer, reading in runs, and committing only what is safe to commit."""

    def __init__(self, transport: Any, callback: Any, *args: Any, **kwargs: Any) -> None:
        self.reading = Reading()
        super().__init__(transport, self._noting(callback), *args, **kwargs)

    def _noting(self, callback: Any) -> Any:
        def noted(message: Message) -> Any:
            if isinstance(message, RunMessage):
                self.reading.given(message)
            return callback(message)

        return noted

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Trust no position any more: what the agents were given is dropped."""
        self.reading.interrupt()
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Seek all partitions to their committed positions: the agents get everything from there."""
        self.reading.interrupt()
        await super().perform_seek()
        # Not what Faust takes for committed: it forgets that at a revocation, and an offset of 0 is none to it.
        self.reading.restart({tp: begin for tp, begin in self._read_offset.items() if begin is not None})

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: the watchdog looks, and this trips over a partition whose topic was just deleted."""

    def _filter_committable_offsets(self, _tps: Iterable[TP]) -> dict[TP, int]:
        # Faust's own book of them is not asked, so nobody else would empty it.
        self._acked.clear()
        self._acked_index.clear()
        unmarked = engine_of(self.app).guard.unmarked()
        found = self.reading.committable(unmarked)
        owned = self.assignment() if found else ()
        offsets = {tp: offset for tp, offset in found.items() if tp in owned}
        for tp, offset in offsets.items():
            passed = self.reading.passed(tp, offset)
            if passed is not None:
                end_process(
                    "a commit would have passed a message that is still being handled",
                    topic=tp.topic,
                    partition=tp.partition,
                    commit=offset,
                    unacknowledged=passed,
                )
        return offsets

    def _new_consumer_thread(self) -> FencedConsumerThread:
        return FencedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        engine = engine_of(self.app)
        generation = self.app.consumer_generation_id
        while not await engine.sender.settled(PATIENCE_SECONDS):
            engine.fence.check()
        engine.fence.check()
        committed = bool(await super()._commit_offsets(offsets, start_new_transaction))
        left_out = cast("FencedConsumerThread", self._thread).left_out
        offsets = {tp: at for tp, at in offsets.items() if tp not in left_out}
        self.reading.committed(offsets)
        # During a rebalance nothing is started; the next marker releases every live subject.
        if committed and not self.app.rebalancing and generation == self.app.consumer_generation_id:
            owned = self.assignment()
            engine.releases.committed(
                {tp.partition: at for tp, at in offsets.items() if tp.topic == engine.events_topic and tp in owned}
            )
        return committed


def positions(consumer: Any, partitions: Iterable[TP]) -> dict[TP, int]:
    """Return what is fetched next from each partition that has been sought; from any thread."""
    assignment = consumer._subscription.subscription.assignment  # noqa: SLF001 (the public call waits for a position)
    states = {tp: assignment.state_value(tp) for tp in partitions} if assignment is not None else {}
    return {tp: state.position for tp, state in states.items() if state is not None and state.has_valid_position}

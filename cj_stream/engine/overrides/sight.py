"""What the watchdog sees of a worker: asked of the broker through the consumer's thread, whatever the main thread does.

Hazard in Faust 0.15.3: its own figures tell nothing of a standstill. ``Consumer._committed_offset`` moves on when a
commit has failed (``transport/consumer.py`` 1080), and the high water mark is as old as the last fetch.

Tests: ``test_sight.py``; ``test_watchdog.py`` on a real broker.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from aiokafka.structs import TopicPartition

from cj_stream.engine.fence import now
from cj_stream.engine.overrides.isolation import OpenTransactions, written_ends

ANSWER_SECONDS = 10.0
"""The broker counts as away when it has not answered for this long."""


@dataclass(frozen=True)
class Lag:
    """How far a source partition is read, and how far it goes: the next offsets."""

    committed: int
    end: int


@dataclass(frozen=True)
class Sight:
    """One look at a worker, with the broker's own answers."""

    ready: bool
    """Whether every partition of this worker is open."""
    lags: Mapping[TopicPartition, Lag]
    """Source partitions of this worker of which something is unread."""
    standing: Hashable
    """Changes with every step that a rebalance, a recovery or an opening makes."""
    recovering: Mapping[str, str]
    """By changelog partition what is recovered, as "offset of end"."""


class Eye:
    """Looks at one worker: ``app`` is its hardened Faust app."""

    def __init__(self, app: Any, transactions: OpenTransactions) -> None:
        self._app = app
        self._transactions = transactions

    @property
    def consumer_thread(self) -> Any:
        """Return the consumer's service thread, None while there is none."""
        consumer = self._app._consumer  # noqa: SLF001 (the public property would make one)
        thread = None if consumer is None else consumer._thread  # noqa: SLF001 (the consumer lives in its thread)
        return thread if thread is not None and thread._consumer is not None else None  # noqa: SLF001 (as above)

    def look(self) -> concurrent.futures.Future[Sight] | None:
        """Begin to look, from any thread; None while there is no consumer to look through."""
        thread = self.consumer_thread
        if thread is None:
            return None
        return asyncio.run_coroutine_threadsafe(self._look(thread._consumer), thread.thread_loop)  # noqa: SLF001 (as above)

    def unread(self, sources: Collection[str]) -> list[str]:
        """Return a sentence for each of the topics ``sources`` that is gone, and each partition that is not read yet.

        From any thread; nothing while there is no consumer. What stands is told elsewhere, as degraded.
        """
        thread = self.consumer_thread
        if thread is None:
            return []
        consumer = thread._consumer  # noqa: SLF001 (as above)
        gone = [topic for topic in sources if not consumer.partitions_for_topic(topic)]
        read = self._app._consumer.reading.begun()  # noqa: SLF001 (as above)
        known = read | set(self._where_nothing_can_be_read(dict.fromkeys(consumer.assignment(), 0)))
        waiting = sorted(tp for tp in consumer.assignment() if tp.topic in sources and tp not in known)
        return [
            *(f"topic {topic} is not on the broker any more" for topic in gone),
            *(f"partition {tp.partition} of {tp.topic} is this worker's and is not read yet" for tp in waiting),
        ]

    async def _look(self, consumer: Any) -> Sight:
        async with asyncio.timeout(ANSWER_SECONDS):
            lags = await self._lags(consumer)
            await self._app.engine.inputs.look(consumer, consumer.subscription() - self._app.tables.changelog_topics)
        opener, recovery = self._app.engine.opener, self._app.tables.recovery
        offsets, ends = dict(recovery.active_offsets), dict(recovery.active_highwaters)
        return Sight(
            ready=opener.ready and not self._app.rebalancing,
            lags=lags,
            standing=(
                self._app.rebalancing_count,
                self._app.consumer_generation_id,
                frozenset(offsets.items()),
                frozenset(opener.opened_at),
                frozenset((tp, lag.committed) for tp, lag in lags.items()),
            ),
            recovering={
                f"{tp.topic}-{tp.partition}": f"{offsets.get(tp)} of {end}"
                for tp, end in ends.items()
                if (offsets.get(tp) or 0) < end
            },
        )

    async def _lags(self, consumer: Any) -> dict[TopicPartition, Lag]:
        changelogs = self._app.tables.changelog_topics
        sources = [tp for tp in consumer.assignment() if tp.topic not in changelogs]
        # Asked for even without any partition: an answer tells that the broker is there.
        asked = list(consumer.assignment()) or [TopicPartition(self._app.engine.events_topic, 0)]
        ends = await consumer.end_offsets(asked)
        self._transactions.observe(now(), ends, await written_ends(consumer, asked))
        found = await consumer._coordinator.fetch_committed_offsets(sources)  # noqa: SLF001 (the public call is one each)
        committed = {tp: known.offset for tp, known in found.items() if known.offset >= 0}
        fresh = [tp for tp in sources if tp not in committed]
        begins = {**(await consumer.beginning_offsets(fresh) if fresh else {}), **committed}
        ends = {**ends, **self._where_nothing_can_be_read(begins)}
        return {tp: Lag(begins[tp], ends[tp]) for tp in sources if begins[tp] < ends[tp]}

    def _where_nothing_can_be_read(self, begins: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        standing = {tp: found.offset for tp, found in self._app.engine.guard.standing().items() if tp in begins}
        return {**standing, **{tp: begins[tp] for tp in self._closed() if tp in begins}}

    def _closed(self) -> set[TopicPartition]:
        """Return the partitions that are not served because their table could not be read."""
        return {TopicPartition(self._app.engine.events_topic, number) for number in self._app.tables.recovery.closed}

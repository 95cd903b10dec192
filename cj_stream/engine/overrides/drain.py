"""What a fetch brought reaches the agents in runs: one message of Faust's for up to 500 records of a partition.

Hazard in Faust 0.15.3: a record costs 85 microseconds on its way from the fetch to the agent, most of it in
``wait_first`` and the stream iterator (``transport/consumer.py`` 1155-1240, ``_cython/streams.pyx``): 6 when a message
stands for a run of records.

Hazard, ditto: Faust knows one offset of a message. Were it that of the last record, what lies before it would count as
a gap that compaction left, and be committed before it is handled (1215, `_add_gap`). With that of the first, the rest
of a run is such a gap as soon as the next run comes; and behind a run at offset 0, which is none to Faust, there is no
gap, and nothing would ever be committed. So its book of gaps and acknowledged offsets is not asked: `reading` is.

Hazard, ditto: it takes what is fetched into its queues, 4,096 messages for each topic, whatever their size. A partition
of which `RUNS_IN_HAND` runs are in hand is left out of the fetches here; what the agents do not get to stays with the
broker, and arrives in longer runs later.

What is fetched of a changelog goes to the table as it comes, see `recovery`, and to no queue.

Tests: ``test_drain.py``; the mutations "acknowledges a run at its first record" and "commits the position with a run in
hand" in ``tests/simulation``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, cast

from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage

from cj_stream.engine.reading import Reading
from cj_stream.engine.runs import Run, runs_of

NOTHING_TO_FETCH_SECONDS = 0.05
ROOM_SECONDS = 0.01
"""How often it is looked whether a partition that was left out has room again."""

Fetched = Mapping[TP, Sequence[Any]]
"""Records as aiokafka fetched them, by partition."""


class RunMessage(ConsumerMessage):
    """What Faust hands from the fetch to the agent, in the place of the records of ``run``."""

    def __init__(self, tp: TP, run: Run, generation_id: int) -> None:
        super().__init__(*tp, run.first, 0.0, 0, None, None, None, None, tp=tp, generation_id=generation_id)
        self.run = run


class DrainingConsumer(FaustConsumer):
    """Faust's consumer, with the source partitions read in runs, and acknowledged in runs."""

    reading: Reading

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:  # noqa: ASYNC109 (as Faust has it)
        """Fetch; yield messages by turns of all topics and their partitions, as long as they are ours."""
        generation = self.app.consumer_generation_id
        fetched, _ = await self._wait_next_records(timeout)
        if not fetched or self.should_stop:
            return
        for tp, message in self.scheduler.iterate(self._messages(fetched, generation)):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                # Whoever lets the flow go on seeks before; until then no position is trusted.
                self.reading.interrupt()
                return
            yield tp, message

    def _messages(self, fetched: Fetched, generation: int) -> dict[TP, list[ConsumerMessage]]:
        return {tp: [RunMessage(tp, run, generation) for run in runs_of(records)] for tp, records in fetched.items()}

    async def _getmany(self, active_partitions: Any, timeout: float) -> Fetched:  # noqa: ASYNC109 (as Faust has it)
        full = self.reading.left_out = self.reading.full()
        if active_partitions <= full:
            await asyncio.sleep(ROOM_SECONDS)
            return {}
        recovery = cast("Any", self.app.tables).recovery
        term = recovery.term
        fetched: Fetched = await super()._getmany(active_partitions, min(timeout, ROOM_SECONDS) if full else timeout)
        for tp in filter(self._is_changelog_tp, fetched):
            await recovery.take(TP(*tp), fetched[tp], term)
        return {tp: records for tp, records in fetched.items() if not self._is_changelog_tp(tp)}

    async def _wait_next_records(self, *args: Any, **kwargs: Any) -> Any:
        if self.flow_active and not self._get_active_partitions():
            # Faust sleeps for a second here, and so each time between the recovery of a table and its sources.
            await asyncio.sleep(NOTHING_TO_FETCH_SECONDS)
            return {}, set()
        return await super()._wait_next_records(*args, **kwargs)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Keep no book of the offsets between messages: most of them are the rest of a run."""

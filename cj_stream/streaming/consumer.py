"""The commit barrier, and the heartbeat that feeds the fence.

Hazard in Faust 0.15.3: ``Consumer._commit_offsets`` (``transport/consumer.py`` 1073) flushes a leaky buffer and
commits, so an offset can be committed before the changelog record that it caused is acknowledged. Here the commit
first waits for everything the sender has outstanding, and afterwards releases the effects of what was committed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as FaustConsumer
from faust.types import TP

from cj_stream.streaming.engine import Engine
from cj_stream.streaming.fence import now
from cj_stream.streaming.process import end_process

PATIENCE_SECONDS = 1.0


class FencedConsumerThread(AIOKafkaConsumerThread):
    """The consumer's thread, telling the fence of every heartbeat that the coordinator answered."""

    async def on_start(self) -> None:
        """Start the consumer and watch its heartbeats."""
        await super().on_start()
        coordinator = self._consumer._coordinator  # noqa: SLF001 (aiokafka has no hook for heartbeats)
        fence = cast("Any", self.app).engine.fence
        heartbeat = coordinator._do_heartbeat  # noqa: SLF001 (as above)

        async def watched() -> Any:
            sent = now()
            success = await heartbeat()
            if success:
                # As of the request: the answer may have lain unread while this process was stopped.
                fence.contact(sent)
            elif coordinator.generation < 0:
                end_process("the group has dropped this worker: its partitions belong to others")
            return success

        coordinator._do_heartbeat = watched  # noqa: SLF001 (as above)
        fence.contact(now())


class BarrierConsumer(FaustConsumer):
    """Faust's consumer, committing only what is safe to commit."""

    def _new_consumer_thread(self) -> FencedConsumerThread:
        return FencedConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        engine: Engine = cast("Any", self.app).engine
        generation = self.app.consumer_generation_id
        while not await engine.sender.settled(PATIENCE_SECONDS):
            engine.fence.check()
        engine.fence.check()
        committed = bool(await super()._commit_offsets(offsets, start_new_transaction))
        # During a rebalance nothing is started; the next marker releases every live batch.
        if committed and not self.app.rebalancing and generation == self.app.consumer_generation_id:
            owned = self.assignment()
            engine.releases.committed(
                {tp.partition: at for tp, at in offsets.items() if tp.topic == engine.events_topic and tp in owned}
            )
        return committed

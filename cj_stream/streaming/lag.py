"""Whether a topic has been read: compared with the broker's end offsets, not with what was fetched last.

Hazard in Faust 0.15.3: ``highwater`` is the value of the last fetch, so a worker that is cut off would always report
that it has caught up, and time out batches whose callbacks lie unread. What nobody gets to read is committed by the
owner of the partition once it is idle (`reading`).

Tests: ``test_lag.py``; ``tests/kafka/test_transactions.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import faust
from aiokafka.structs import TopicPartition

POLL_SECONDS = 0.1


async def caught_up(app: faust.App, topic: str, patience: float) -> bool:
    """Return whether the group's commits reach, within ``patience`` seconds, what the topic holds now.

    A commit means handled and acknowledged, whichever worker of the group made it.
    """
    thread = cast("Any", app.consumer)._thread  # noqa: SLF001 (the consumer lives in its thread)
    consumer = thread._ensure_consumer()  # noqa: SLF001 (as above)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    if not partitions:
        return False
    beginnings: dict[TopicPartition, int] = await thread.call_thread(consumer.beginning_offsets, partitions)
    ends: dict[TopicPartition, int] = await thread.call_thread(consumer.end_offsets, partitions)
    unread = {partition for partition in partitions if beginnings[partition] < ends[partition]}
    deadline = asyncio.get_running_loop().time() + patience
    while unread:
        for partition in list(unread):
            committed = await thread.call_thread(consumer.committed, partition)
            if committed is not None and committed >= ends[partition]:
                unread.discard(partition)
        if unread and asyncio.get_running_loop().time() > deadline:
            return False
        if unread:
            await asyncio.sleep(POLL_SECONDS)
    return True

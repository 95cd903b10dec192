"""Whether everything has been read: committed offsets compared with the broker's ends, not with what was fetched last.

Hazard in Faust 0.15.3: ``highwater`` is the value of the last fetch, so a worker that is cut off would always report
that it has caught up, and find overdue what has its answer lying unread. What nobody gets to read is committed by the
owner of the partition once it is idle (`reading`).

An open transaction hides what lies behind it (`isolation`). So it is waited for: what was written when the question was
put has to be readable, and read. One that hangs is waited for no longer than ``OPEN_TRANSACTION_SECONDS``; after that
its partition counts as read when all that can be read is, and each answer says so in the log.

A partition that stands (`standing`) is waited for until it has stood for a limit; after that it counts as read when it
is read up to there, and the answer says which partitions those are.

A commit that lies beyond the end tells nothing: the log is another one than that which was read (`offsets`).

Tests: ``test_lag.py``; ``tests/kafka/test_transactions.py``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Collection
from typing import Any, NamedTuple, cast

import faust
import structlog
from aiokafka.structs import TopicPartition

from cj_stream.engine.overrides.isolation import written_ends
from cj_stream.engine.standing import read_mark
from cj_stream.engine.standstill import Standstill

POLL_SECONDS = 0.1
OPEN_TRANSACTION_SECONDS = 30 * 60
"""A transaction that is open for longer is not waited for: twice what a broker allows unless configured."""

log = structlog.get_logger(__name__)

Blocked = Standstill[TopicPartition]
"""For how many seconds partitions have been readable up to the same open transaction."""


def nothing_blocked() -> Blocked:
    """Return a memory of open transactions, empty."""
    return Standstill(math.inf)


class Read(NamedTuple):
    """Whether everything has been read. ``standing`` names partitions of which only that is that can be."""

    everything: bool
    standing: tuple[str, ...] = ()


async def caught_up(app: faust.App, topic: str, patience: float, blocked: Blocked, standing_limit: float) -> Read:
    """Return whether the group's commits reach, within ``patience`` seconds, what the topic holds now.

    A commit means handled and acknowledged, whichever worker of the group made it. ``blocked`` is kept by the caller.
    A partition that has stood for ``standing_limit`` seconds is not waited for.
    """
    thread = cast("Any", app.consumer)._thread  # noqa: SLF001 (the consumer lives in its thread)
    consumer = thread._ensure_consumer()  # noqa: SLF001 (as above)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
    if not partitions:
        return Read(everything=False)
    beginnings: dict[TopicPartition, int] = await thread.call_thread(consumer.beginning_offsets, partitions)
    ends = await _to_be_read(thread, consumer, partitions, blocked)
    unread = {partition for partition in partitions if beginnings[partition] < ends[partition]}
    deadline = asyncio.get_running_loop().time() + patience
    standing: tuple[str, ...] = ()
    while unread:
        left = {partition for partition in unread if not await _read(thread, consumer, partition, ends[partition])}
        stood = await _standing(thread, consumer, left, standing_limit)
        standing, unread = (*standing, *stood.values()), left - stood.keys()
        if unread and asyncio.get_running_loop().time() > deadline:
            return Read(everything=False)
        if unread:
            await asyncio.sleep(POLL_SECONDS)
    return Read(everything=True, standing=standing)


async def _standing(
    thread: Any, consumer: Any, partitions: Collection[TopicPartition], limit: float
) -> dict[TopicPartition, str]:
    coordinator = consumer._coordinator  # noqa: SLF001 (the public call leaves out what was committed beside the offset)
    found = await thread.call_thread(coordinator.fetch_committed_offsets, list(partitions))
    marks = {partition: (known.offset, read_mark(known.metadata)) for partition, known in found.items()}
    now = time.time()
    return {
        partition: f"partition {partition.partition} of {partition.topic} stands at offset {offset}: {mark.why}"
        for partition, (offset, mark) in marks.items()
        if mark is not None and now - mark.standing_since >= limit
    }


async def _to_be_read(
    thread: Any, consumer: Any, partitions: Collection[TopicPartition], blocked: Blocked
) -> dict[TopicPartition, int]:
    stable: dict[TopicPartition, int] = await thread.call_thread(consumer.end_offsets, partitions)
    written: dict[TopicPartition, int] = await thread.call_thread(written_ends, consumer, partitions)
    behind = {partition: end for partition, end in stable.items() if end < written[partition]}
    blocked.observe(asyncio.get_running_loop().time(), behind)
    for partition, seconds in blocked.seconds.items():
        if seconds > OPEN_TRANSACTION_SECONDS:
            written[partition] = stable[partition]
            log.warning(
                "a transaction is not waited for any longer: what lies behind it counts as not written",
                topic=partition.topic,
                partition=partition.partition,
                offset=stable[partition],
                open_seconds=round(seconds),
            )
    return written


async def _read(thread: Any, consumer: Any, partition: TopicPartition, end: int) -> bool:
    committed: int | None = await thread.call_thread(consumer.committed, partition)
    if committed is None or committed < end:
        return False
    if committed == end:
        return True
    ends: dict[TopicPartition, int] = await thread.call_thread(written_ends, consumer, [partition])
    return committed <= ends[partition]

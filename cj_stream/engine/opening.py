"""A marker in the log opens a partition.

After recovery a worker has the table, but not yet what was sent to the partition and not read: an acceptance lying
there unread must not be submitted again. So the worker sends a marker to its own partition and starts effects only
when it has read the marker: everything sent before has then been applied.

Hazard in Faust 0.15.3: no signal tells this. ``on_partitions_assigned`` comes before recovery,
``on_rebalance_complete`` before the generation is checked and the partitions are sought (``tables/recovery.py`` 628,
642-653).

Tests: ``test_opening.py``; the mutation "effects start before the marker is read" in ``tests/simulation``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from uuid import uuid4

import msgspec
import structlog

from cj_stream.engine.messages import PartitionOpened, encode_message
from cj_stream.engine.process import end_process
from cj_stream.engine.sender import Sender

log = structlog.get_logger(__name__)


class Opener:
    """Sends the markers of the partitions that were assigned and recognises them when they are read.

    ``standing`` returns the partitions whose markers may lie behind what cannot be read.
    """

    def __init__(
        self, sender: Sender, topic: str, now: Callable[[], float], standing: Callable[[], Collection[int]] = tuple
    ) -> None:
        self._sender = sender
        self._topic = topic
        self._now = now
        self._standing = standing
        self._nonces: dict[int, str] = {}
        self._opened_at: dict[int, float] = {}
        self._assigned = False
        self._tasks: set[asyncio.Task[None]] = set()

    def assigned(self, partitions: set[int]) -> None:
        """Take over partitions whose table is recovered: send each its marker."""
        for partition in partitions:
            self._nonces[partition] = uuid4().hex
        self._assigned = True
        log.info("partitions are ours and recovered", partitions=sorted(partitions))
        task = asyncio.get_running_loop().create_task(self._send(dict(self._nonces)))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def revoked(self) -> None:
        """Close all partitions: an assignment starts afresh."""
        if self._nonces:
            log.info("partitions are given up", partitions=sorted(self._nonces))
        self._assigned = False
        self._nonces.clear()
        self._opened_at.clear()

    def read(self, partition: int, marker: PartitionOpened) -> bool:
        """Open the partition if ``marker`` is the one sent for this assignment; return whether it is."""
        if self._nonces.get(partition) != marker.nonce:
            return False
        self._opened_at[partition] = self._now()
        if self.ready:
            log.info("all partitions are open", partitions=sorted(self._opened_at))
        return True

    @property
    def owned(self) -> frozenset[int]:
        """Partitions that are assigned and recovered."""
        return frozenset(self._nonces)

    @property
    def opened_at(self) -> Mapping[int, float]:
        """Open partitions, and since when, in seconds since the epoch: as they are whenever it is looked at."""
        return MappingProxyType(self._opened_at)

    @property
    def ready(self) -> bool:
        """Whether partitions were assigned, be it none, and all of them are open but for those that stand."""
        return self._assigned and self._nonces.keys() - self._standing() <= self._opened_at.keys()

    async def _send(self, nonces: dict[int, str]) -> None:
        for partition, nonce in sorted(nonces.items()):
            marker = encode_message([msgspec.msgpack.encode(PartitionOpened(nonce=nonce))])
            await self._sender.send(self._topic, key=None, value=marker, partition=partition)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception():
            end_process("the opening markers were not sent", error=repr(task))

"""Stands between aiokafka's fetcher and the broker: a partition that cannot be read stands, and all others are served.

Hazards in aiokafka 0.14.0: what is wrong in one partition is raised to whoever asked for records of any (see
`record_batches`), and Faust ends the worker. An error that a broker answers for one partition is asked for again at
once, without end (``consumer/fetcher.py`` 812). A batch that is cut off is skipped by one offset (777).

So each answer is looked at before the fetcher gets it: it gets what can be read. A partition that has nothing readable
at its position is left out of the fetches, but for a look every `LOOK_SECONDS`. Its position stays where it is, and so
does what is committed. An operator may have that one batch stepped over: then one record stands in its place, which
the agents write to the dead letters.

Tests: ``test_fetch_guard.py``; ``tests/kafka/test_standing_partitions.py``.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.record_batches import Damage, Readable, is_compressed, readable, stand_in
from cj_stream.engine.standing import Standing, read_mark

LOOK_SECONDS = 10.0
"""How often a standing partition is looked at: it may be readable again, from another broker for example."""
REFUSED_SECONDS = 10.0
"""For how long a broker may answer an error for a partition before it counts as standing."""
PAUSE_SECONDS = 1.0
"""How long a partition is left out after such an error."""
IDLE_SECONDS = 0.2
"""How long nothing is fetched when there is nothing to ask a broker for."""
PARTITION_ROOM = 4 * 1024 * 1024
ROOM = 32 * 1024 * 1024
"""Bytes that the compressed records of one partition, and of one answer, may have unpacked before the rest has to wait
for the next fetch."""
_NOT_FOR_US = frozenset({0, 1, 3, 6, 29})
"""No error, and those that aiokafka deals with: out of range, unknown topic, not the leader, not authorized."""
_NOTHING = SimpleNamespace(API_VERSION=4, topics=[])


class _Refusal(NamedTuple):
    offset: int
    error: int
    since: float
    at: float


class FetchGuard:
    """The guard of one worker's fetches, and what it knows of standing partitions; in the consumer's thread.

    `standing` may be asked in any thread. ``is_changelog`` says of a topic whether it is one. ``now`` returns seconds
    since the epoch. Without ``conditions`` nobody is told: whoever reads asks. ``step_over`` is the command that people
    are told of.
    """

    def __init__(
        self,
        conditions: Conditions | None,
        is_changelog: Callable[[str], bool],
        now: Callable[[], float],
        step_over: str = "",
    ) -> None:
        self._command = step_over
        self._conditions = conditions
        self._is_changelog = is_changelog
        self._now = now
        self._consumer: Any = None
        self._standing: dict[TopicPartition, Standing] = {}
        self._damages: dict[TopicPartition, Damage] = {}
        self._looked_at: dict[TopicPartition, float] = {}
        self._refusals: dict[TopicPartition, _Refusal] = {}
        self._over: dict[TopicPartition, tuple[int, int]] = {}
        self._marked: dict[TopicPartition, int] = {}
        self._told: Mapping[TopicPartition, Standing] = {}

    def attach(self, consumer: Any) -> None:
        """Guard the fetches of an aiokafka consumer, and mark its commits."""
        client = consumer._client  # noqa: SLF001 (aiokafka has no hook for what it fetches)
        self._send, client.send = client.send, self.send
        self._commit, consumer.commit = consumer.commit, self.commit
        self._consumer = consumer

    def standing(self) -> dict[TopicPartition, Standing]:
        """Return the partitions that stand now."""
        found = dict(self._standing)
        return {at: standing for at, standing in found.items() if self._position(at, standing) == standing.offset}

    def damages(self) -> dict[TopicPartition, Damage]:
        """Return the batches that partitions stand at now."""
        return {at: self._damages[at] for at in self.standing()}

    def unmarked(self) -> dict[TopicPartition, int]:
        """Return the source partitions that stand and whose offset was not committed with a mark yet, and where."""
        return {
            at: standing.offset
            for at, standing in self.standing().items()
            if not standing.is_changelog and self._marked.get(at) != standing.offset
        }

    def step_over(self, at: TopicPartition, offset: int, behind: int) -> None:
        """Have one record stand in place of the batch that the partition stands at, and go on at ``behind``."""
        self._over[at] = (offset, behind)
        self._looked_at.pop(at, None)

    async def send(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request; of what was fetched, return what can be read."""
        if not isinstance(request, FetchRequest):
            return await self._send(node_id, request, **options)
        self.tell()
        wanted = {
            TopicPartition(topic, partition): offset
            for topic, partitions in request.topics
            for partition, offset, _ in partitions
        }
        left_out = {at for at, offset in wanted.items() if self._is_left_out(at, offset)}
        if len(left_out) == len(wanted):
            await asyncio.sleep(IDLE_SECONDS)
            return _NOTHING
        response = await self._send(node_id, _without(request, left_out), **options)
        room = ROOM
        topics = []
        for topic, partitions in response.topics:
            looked_at = []
            for partition, error, end, *rest in partitions:
                at = TopicPartition(topic, partition)
                rest[-1] = await self._readable(at, wanted[at], error, end, rest[-1] or b"", min(room, PARTITION_ROOM))
                room = max(room - len(rest[-1]), 1)
                looked_at.append((partition, error, end, *rest))
            topics.append((topic, looked_at))
        response.topics = topics
        self.tell()
        return response

    async def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit, and say with the offset of each standing partition that it stands."""
        marks = {at: offset for at, offset in self.unmarked().items() if at in offsets and offsets[at].offset == offset}
        standing = self.standing()
        marked = {
            at: OffsetAndMetadata(offset, standing[at].mark.beside(offsets[at].metadata))
            for at, offset in marks.items()
            if at in standing
        }
        await self._commit({**offsets, **marked})
        self._marked.update(marks)

    def tell(self) -> None:
        """Tell everybody which partitions stand now, and which do not any more."""
        if self._conditions is None:
            return
        standing = self.standing()
        for at, known in self._told.items():
            if at not in standing:
                self._conditions.end(ConditionKind.STANDING_PARTITION, known.subject)
        for found in standing.values():
            self._conditions.begin(ConditionKind.STANDING_PARTITION, found.subject, found.what, found.meaning)
        self._told = standing

    def _position(self, at: TopicPartition, standing: Standing) -> int | None:
        subscription = self._consumer._subscription.subscription  # noqa: SLF001 (the public call waits for a position)
        assignment = None if subscription is None else subscription.assignment
        if assignment is None or assignment is not standing.assignment or not assignment.active:
            return None
        state = assignment.state_value(at)
        return int(state.position) if state is not None and state.has_valid_position else None

    def _is_left_out(self, at: TopicPartition, offset: int) -> bool:
        if at in self._over and self._over[at][0] != offset:
            del self._over[at]
        refusal = self._refusals.get(at)
        if refusal is not None and refusal.offset == offset and time.monotonic() - refusal.at < PAUSE_SECONDS:
            return True
        standing = self._standing.get(at)
        if standing is None or standing.offset != offset:
            return False
        return time.monotonic() - self._looked_at.get(at, -LOOK_SECONDS) < LOOK_SECONDS

    async def _readable(self, at: TopicPartition, offset: int, error: int, end: int, data: bytes, room: int) -> bytes:
        if error not in _NOT_FOR_US:
            await self._refused(at, offset, error)
            return data
        self._refusals.pop(at, None)
        if error or not data:
            return data
        read = partial(readable, data, offset, end, room, replace=not self._is_changelog(at.topic))
        found: Readable = await asyncio.to_thread(read) if is_compressed(data) else read()
        if found.damage is None or found.records:
            self._standing.pop(at, None)
            self._damages.pop(at, None)
            return found.records
        over_at, behind = self._over.get(at, (None, 0))
        if over_at == offset:
            why = f"offsets {offset} to {behind - 1} could not be read: {found.damage.why}; an operator went on behind"
            return stand_in(offset, behind, why, found.damage.batch)
        await self._stand(at, found.damage)
        return b""

    async def _refused(self, at: TopicPartition, offset: int, error: int) -> None:
        now, known = time.monotonic(), self._refusals.get(at)
        since = known.since if known is not None and known[:2] == (offset, error) else now
        self._refusals[at] = _Refusal(offset, error, since, now)
        if now - since >= REFUSED_SECONDS:
            why = f"the broker answers {for_code(error).__name__} to whoever reads there"
            await self._stand(at, Damage(offset, why, None, b""))

    async def _stand(self, at: TopicPartition, damage: Damage) -> None:
        self._looked_at[at] = time.monotonic()
        assignment = self._consumer._subscription.subscription.assignment  # noqa: SLF001 (as in `_position`)
        known = self._standing.get(at)
        if known is not None and known.offset == damage.offset and known.assignment is assignment:
            return
        is_changelog = self._is_changelog(at.topic)
        since = self._now() if is_changelog else await self._since(at, damage.offset)
        self._marked.pop(at, None)
        self._damages[at] = damage
        self._standing[at] = Standing(
            at.topic,
            at.partition,
            damage.offset,
            damage.behind,
            damage.why,
            is_changelog,
            since,
            assignment,
            self._command,
        )

    async def _since(self, at: TopicPartition, offset: int) -> float:
        """Return since when it is known that the partition stands there, to whichever worker."""
        try:
            found = await self._consumer._coordinator.fetch_committed_offsets([at])  # noqa: SLF001 (gives no metadata)
        except KafkaError:
            return self._now()
        mark = read_mark(found[at].metadata) if at in found and found[at].offset == offset else None
        return self._now() if mark is None else mark.standing_since


def _without(request: FetchRequest, left_out: set[TopicPartition]) -> FetchRequest:
    if not left_out:
        return request
    kept = [
        (topic, [part for part in partitions if TopicPartition(topic, part[0]) not in left_out])
        for topic, partitions in request.topics
    ]
    narrowed = copy.copy(request)
    narrowed._topics = [(topic, partitions) for topic, partitions in kept if partitions]  # noqa: SLF001 (no public way)
    return narrowed

"""Where reading begins in each source partition, and what is gone before it was read: said, with its offsets.

A committed offset may lie outside the log. Below its beginning: retention, or a person, deleted records before they
were read. Beyond its end: the topic was deleted and made anew, or the broker lost its tail. The same happens to the
position of a worker that reads. Hazards: aiokafka 0.14.0 then goes to the beginning without a word
(``consumer/fetcher.py``, ``_proc_fetch_request``), and Faust 0.15.3 drops whatever has a lower offset than what it has
read before (``transport/consumer.py`` 1209): a topic that begins again at 0 is unread up to the old offset, for good.

So, whenever partitions are sought:

- below the beginning, reading begins there, and what lies between is told as lost;
- beyond the end, or when the topic has another id than the commit was made for, it begins at the beginning. What was
  read before is read again, since nobody can tell which of it is new; the app knows a second copy;
- where nothing is committed, it begins at the beginning, and that is committed at once: so what retention takes before
  the first message is read can be told too.

Rows were made from our own events topic, and what it holds must not be applied twice. When its log is another one than
they were made from, reading begins at the first record that is not older than the newest row, by the broker's clock;
and what is read from there on gets positions beyond those of all rows (`positions`), since a log that
begins at 0 again would lose against them.

The new beginning is committed, with the id of the topic, so that all see it and it is told once. A worker that meets a
shorter log, or a topic with another id, while it reads joins its group anew, and so seeks.

Tests: ``test_inputs.py``; ``tests/kafka/test_offsets.py``.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError, OffsetOutOfRangeError
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.structs import OffsetAndMetadata, TopicPartition

from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.engine.naming import Names
from cj_stream.engine.overrides.isolation import written_ends
from cj_stream.engine.overrides.topic_ids import topic_ids
from cj_stream.engine.standing import read_topic_id

log = structlog.get_logger(__name__)

Commits = Mapping[TopicPartition, OffsetAndMetadata]

SECOND_LOOK_SECONDS = 1.0
"""Before an end below a commit is believed, the broker is asked once more: it may just have got a new leader."""


@dataclass(frozen=True)
class LogRange:
    """A partition as the broker has it: from ``begin`` up to, without it, ``end``; ``topic_id`` is empty if unknown."""

    begin: int
    end: int
    topic_id: str = ""


@dataclass(frozen=True)
class Gone:
    """Offsets that are there no more: from ``first`` up to, without it, ``end``; None where nobody knows."""

    first: int
    end: int | None
    why: str

    @property
    def records(self) -> int:
        """How many unread records there may have been at most; 0 where nobody knows."""
        return 0 if self.end is None else self.end - self.first


class AppliedUpTo(NamedTuple):
    """How far the log of a partition of the events topic was applied: its newest event, in seconds since the epoch."""

    offset: int
    at: float


DELETED = "deleted before it was read: by retention, or by somebody"
MADE_ANEW = "the topic was deleted and made anew: it is read from its beginning, what was unread in the old one is gone"
SHORTER = "read before, and not there any more: a topic made anew, or a lost tail; all there is, is read again"


def begin(commit: OffsetAndMetadata | None, found: LogRange) -> tuple[int, Gone | None]:
    """Return where reading begins in a log, and what is gone; ``commit`` has the topic's id in its metadata."""
    if commit is None:
        return found.begin, None
    topic_id = read_topic_id(commit.metadata)
    if topic_id and found.topic_id and topic_id != found.topic_id:
        return found.begin, Gone(commit.offset, None, MADE_ANEW)
    if commit.offset < found.begin:
        return found.begin, Gone(commit.offset, found.begin, DELETED)
    if commit.offset > found.end:
        return found.begin, Gone(found.end, commit.offset, SHORTER)
    return commit.offset, None


@dataclass
class Inputs:
    """The source partitions of one worker. All in the consumer's thread, but for `lost`."""

    conditions: Conditions
    names: Names
    applied: dict[TopicPartition, AppliedUpTo] = field(default_factory=dict)
    """By partition of the events topic; to be set before a seek, by who has the rows."""
    begun_anew: dict[TopicPartition, int] = field(default_factory=dict)
    """Of those, the ones whose log is another one, and where reading begins; after a seek, until the next one."""
    _lost: Counter[str] = field(default_factory=Counter)
    _ids: dict[str, str] = field(default_factory=dict)
    _out_of_range: dict[TopicPartition, int] = field(default_factory=dict)
    _again: set[TopicPartition] = field(default_factory=set)
    _positions: dict[TopicPartition, int] = field(default_factory=dict)

    def lost(self) -> Mapping[str, int]:
        """Return, by topic, how many records were gone before this worker could read them."""
        return dict(self._lost)

    def identified(self, offsets: Commits) -> dict[TopicPartition, OffsetAndMetadata]:
        """Return ``offsets`` for a commit, each with the id of its topic."""
        return {tp: OffsetAndMetadata(at.offset, self._ids.get(tp.topic, at.metadata)) for tp, at in offsets.items()}

    async def seek(self, consumer: Any, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """Seek where reading begins, commit it where it is not what was committed, and return it."""
        commits: Commits = await consumer._coordinator.fetch_committed_offsets(  # noqa: SLF001 (the public call is one each)
            partitions
        )
        known = dict(self._ids)
        logs = await self._logs(consumer, partitions)
        if any(commits[tp].offset > at.end for tp, at in logs.items() if tp in commits):
            await asyncio.sleep(SECOND_LOOK_SECONDS)
            logs = await self._logs(consumer, partitions)
        self._anew(tp for tp in logs if known.get(tp.topic, self._ids.get(tp.topic)) != self._ids.get(tp.topic))
        found = {tp: self._begin(tp, commits.get(tp), at) for tp, at in logs.items()}
        self.begun_anew = await self._first_unread(consumer, logs, commits)
        begins = {tp: offset for tp, (offset, _) in found.items()} | self.begun_anew
        if not begins.keys() <= consumer.assignment():
            raise IllegalStateError("the partitions were taken away during the seek")
        for tp, offset in begins.items():
            consumer.seek(tp, offset)
        self._again.clear()
        self._out_of_range.clear()
        self._positions.update(begins)
        wanted = self.identified({tp: OffsetAndMetadata(offset, "") for tp, offset in begins.items()})
        changed = {tp: at for tp, at in wanted.items() if tp not in commits or not _same(commits[tp], at)}
        if await _committed(consumer, changed):
            for tp, (_, gone) in found.items():
                if gone is not None:
                    self._tell(tp, gone)
        return begins

    def answered(self, consumer: Any, request: Any, response: Any) -> None:
        """Note which offsets a fetch asked for that are not in the log. To be called before aiokafka has the answer."""
        if not isinstance(request, FetchRequest):
            return
        asked = {TopicPartition(topic, at[0]): at[1] for topic, found in request.topics for at in found}
        for topic, found in response.topics:
            for number, code, *_ in found:
                tp = TopicPartition(topic, number)
                # A fetch that was under way when its partition was sought asked for another position.
                if code == OffsetOutOfRangeError.errno and _position(consumer, tp) == asked[tp]:
                    self._out_of_range[tp] = asked[tp]

    def moved(self, consumer: Any, positions: Mapping[TopicPartition, int]) -> None:
        """Note where reading is, and look where aiokafka went on from offsets that were not in the log."""
        self._positions.update(positions)
        for tp in self._out_of_range.keys() & positions.keys():
            before, now = self._out_of_range.pop(tp), positions[tp]
            if now > before:
                self._tell(tp, Gone(before, now, DELETED))
            elif now < before:
                self._tell(tp, Gone(before, None, SHORTER))
                self._again.add(tp)
                consumer._coordinator.request_rejoin()  # noqa: SLF001 (aiokafka's public way is another subscription)

    async def look(self, consumer: Any, topics: Collection[str]) -> None:
        """Look whether the source ``topics`` are there, and are still those that are being read."""
        found = await _ids(consumer, topics)
        if found is None:
            return
        for topic in topics:
            self._exists(topic, exists=topic in found)
            known = self._ids.get(topic)
            another = known is not None and found.get(topic, known) != known
            if another and self._anew(tp for tp in consumer.assignment() if tp.topic == topic):
                consumer._coordinator.request_rejoin()  # noqa: SLF001 (aiokafka's public way is another subscription)

    def _anew(self, partitions: Iterable[TopicPartition]) -> bool:
        """Note that these begin again; return whether that is news."""
        news = set(partitions) - self._again
        for tp in sorted(news):
            self._tell(tp, Gone(self._positions.get(tp, 0), None, MADE_ANEW))
        self._again.update(news)
        return bool(news)

    def _exists(self, topic: str, *, exists: bool) -> None:
        if exists:
            self.conditions.end(ConditionKind.TOPIC_MISSING, topic)
            return
        self.conditions.begin(
            ConditionKind.TOPIC_MISSING,
            topic,
            f"topic {topic} does not exist any more: create it with {self.names.command} topics create",
            "nothing is read from it; when it is there again, it is read from its beginning within half a minute",
        )

    def _begin(self, tp: TopicPartition, commit: OffsetAndMetadata | None, found: LogRange) -> tuple[int, Gone | None]:
        if tp in self._again:  # and told
            return found.begin, None
        offset, gone = begin(commit, found)
        applied = self.applied.get(tp)
        if gone is None and applied is not None and applied.offset >= found.end:
            return found.begin, Gone(found.end, applied.offset + 1, SHORTER)
        return offset, gone

    async def _first_unread(
        self, consumer: Any, logs: Mapping[TopicPartition, LogRange], commits: Commits
    ) -> dict[TopicPartition, int]:
        """Return where reading begins in logs that are others than the rows were made from."""
        times = {
            tp: int(applied.at * 1000)
            for tp, applied in self.applied.items()
            if tp in logs and self._is_another(tp, commits.get(tp), logs[tp])
        }
        found = await consumer.offsets_for_times(times) if times else {}
        return {tp: logs[tp].end if found.get(tp) is None else found[tp].offset for tp in times}

    def _is_another(self, tp: TopicPartition, commit: OffsetAndMetadata | None, found: LogRange) -> bool:
        _, gone = self._begin(tp, commit, found)
        return tp in self._again or (gone is not None and gone.why != DELETED)

    def _tell(self, tp: TopicPartition, gone: Gone) -> None:
        self._lost[tp.topic] += gone.records if gone.why == DELETED else 0
        end = "nobody knows where" if gone.end is None else gone.end
        log.error(
            "input is gone",
            topic=tp.topic,
            partition=tp.partition,
            first=gone.first,
            end=end,
            records=gone.records or "unknown",
            why=gone.why,
        )
        self.conditions.begin(
            ConditionKind.LOST_INPUT,
            f"{tp.topic}-{tp.partition}",
            f"offsets {gone.first} to {end} (not included): {gone.why}",
            "what nobody has read cannot be had back: who sent it has to send it again. All else goes on",
        )

    async def _logs(self, consumer: Any, partitions: Collection[TopicPartition]) -> dict[TopicPartition, LogRange]:
        known = [tp for tp in partitions if tp.partition in (consumer.partitions_for_topic(tp.topic) or ())]
        begins = await consumer.beginning_offsets(known)
        ends = await written_ends(consumer, known)
        try:
            self._ids |= await _ids(consumer, {tp.topic for tp in known}) or {}
        except KafkaError as error:
            # What was known stays; `look` asks again.
            log.info("whether topics were made anew is not known yet", why=repr(error))
        return {tp: LogRange(begins[tp], ends[tp], self._ids.get(tp.topic, "")) for tp in known}


def _same(known: OffsetAndMetadata, wanted: OffsetAndMetadata) -> bool:
    # Beside the id there may be a mark, which has to stay.
    return (known.offset, read_topic_id(known.metadata)) == (wanted.offset, wanted.metadata)


async def _ids(consumer: Any, topics: Collection[str]) -> dict[str, str] | None:
    found = await topic_ids(consumer._client, topics)  # noqa: SLF001 (aiokafka does not tell them)
    return None if found is None else {topic: str(known) for topic, known in found.items()}


def _position(consumer: Any, tp: TopicPartition) -> int | None:
    assignment = consumer._subscription.subscription.assignment  # noqa: SLF001 (the public call waits for a position)
    state = None if assignment is None else assignment.state_value(tp)
    return state.position if state is not None and state.has_valid_position else None


async def _committed(consumer: Any, offsets: Commits) -> bool:
    """Commit; return False when the group is just being rearranged, and whoever has the partitions next seeks too."""
    try:
        if offsets:
            await consumer.commit(offsets)
    except (CommitFailedError, IllegalStateError) as error:
        log.info("where reading begins is decided once more: the group is being rearranged", why=repr(error))
        return False
    except KafkaError as error:
        log.warning("where reading begins was not committed", why=repr(error))
    return True

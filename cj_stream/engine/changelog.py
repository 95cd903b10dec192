"""The changelog beside a worker's local copy of it: what is missing there, and how it gets there again.

The changelog is the truth, and a folder that was not left cleanly is emptied at start. But a changelog that vanished,
was made anew or lost its end is not the truth any more, and the local copy may be the last one: so they are compared
before anything is deleted, and the worker stops.

Tests: ``test_changelog.py``; ``tests/kafka/test_changelog.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from cj_stream.engine.clients import Kafka
from cj_stream.engine.local_copies import LocalCopy, Row, UnreadableCopyError
from cj_stream.engine.local_store import ID_FILE
from cj_stream.engine.naming import Names
from cj_stream.engine.overrides.topic_ids import topic_id

log = structlog.get_logger(__name__)

IN_FLIGHT = 500
Found = Iterable[LocalCopy | UnreadableCopyError]
"""The copies in a folder, or why one cannot be read."""


class ChangelogError(Exception):
    """The changelog cannot be asked or written; the text says why."""


@dataclass(frozen=True)
class Changelog:
    """What the broker says of the changelog: its id, None where that is not known, and the next offsets."""

    topic: str
    topic_id: str | None
    ends: Mapping[int, int]


async def describe_changelog(kafka: Kafka, topic: str) -> Changelog:
    """Ask the broker. Raises `ChangelogError`."""
    admin = kafka.admin()
    consumer = kafka.consumer()
    try:
        await admin.start()
        await consumer.start()
        found = await admin.describe_topics([topic])
        numbers = [partition["partition"] for partition in found[0]["partitions"]]
        ends = await consumer.end_offsets([TopicPartition(topic, number) for number in numbers])
        known = await topic_id(admin, topic)
    except (KafkaError, OSError, TimeoutError) as error:
        raise ChangelogError(f"Kafka at {kafka.bootstrap} does not tell about topic {topic}: {error!r}") from error
    finally:
        await admin.close()
        await consumer.stop()
    return Changelog(topic, None if known is None else str(known), {tp.partition: end for tp, end in ends.items()})


@dataclass(frozen=True)
class CopiesCheck:
    """How the copies of one folder go with the changelog."""

    fits: bool
    """Whether each copy is one of this changelog, which goes on where the copy ends."""
    losses: Sequence[str]
    """A sentence, with its remedy, for what the copies hold and the changelog does not."""


def compare(changelog: Changelog, folder: Path, found: Found, names: Names) -> CopiesCheck:
    """Compare the copies found in ``folder`` with the changelog.

    A copy that cannot be read is left out, with a warning: nothing can be got out of it.
    """
    copies = list(_readable(found))
    known = known_id(folder)
    if copies and changelog.topic_id is not None and known not in {None, changelog.topic_id}:
        what = f"was deleted and made anew (id {known}, now {changelog.topic_id})"
        return CopiesCheck(False, _losses(changelog, folder, what, copies, names))
    ahead = [copy for copy in copies if copy.offset >= changelog.ends.get(copy.partition, 0)]
    ends = ", ".join(
        f"partition {copy.partition} ends at {changelog.ends.get(copy.partition, 0)}, the copy at {copy.offset + 1}"
        for copy in ahead
    )
    return CopiesCheck(
        not ahead, _losses(changelog, folder, f"is shorter than the local copy of it ({ends})", ahead, names)
    )


def _readable(found: Found) -> Iterator[LocalCopy]:
    for copy in found:
        if isinstance(copy, UnreadableCopyError):
            log.warning("a local copy is damaged, and not compared with the changelog", why=str(copy))
        else:
            yield copy


def _losses(changelog: Changelog, folder: Path, what: str, copies: Sequence[LocalCopy], names: Names) -> list[str]:
    return [_loss(changelog, folder, what, names)] if any(copy.has_rows for copy in copies) else []


def _loss(changelog: Changelog, folder: Path, what: str, names: Names) -> str:
    return (
        f"the changelog {changelog.topic} {what}. The copy in {folder} may be the last one, so nothing of it is "
        f"touched: stop all workers and write it back with {names.command} changelog rebuild {folder}. "
        f"If what it holds is in the changelog, or not needed, move {folder} away and start again"
    )


def known_id(folder: Path) -> str | None:
    """Return the id of the topic that the folder is a copy of, None if it has none."""
    with suppress(FileNotFoundError):
        return (folder / ID_FILE).read_text().strip() or None
    return None


def note_id(folder: Path, changelog: Changelog) -> None:
    """Note which topic the folder is a copy of from now on."""
    (folder / ID_FILE).write_text(f"{changelog.topic_id or ''}\n")


def best_copies(folders: Mapping[Path, Found]) -> dict[int, LocalCopy]:
    """Return for each partition the copy that goes furthest; ``folders`` has what was found in each folder.

    Raises:
        ChangelogError: they are not copies of one topic.
        UnreadableCopyError: one is damaged.

    """
    ids = {folder: known_id(folder) for folder in folders}
    if len({known for known in ids.values() if known is not None}) > 1:
        told = ", ".join(f"{folder} of {known}" for folder, known in ids.items())
        raise ChangelogError(f"the folders are copies of different topics: {told}; name those of one")
    best: dict[int, LocalCopy] = {}
    for found in folders.values():
        for copy in found:
            if isinstance(copy, UnreadableCopyError):
                raise copy
            if copy.partition not in best or copy.offset > best[copy.partition].offset:
                best[copy.partition] = copy
    return dict(sorted(best.items()))


async def write_rows(
    kafka: Kafka, topic: str, partition: int, rows: Iterable[Row], told: Callable[[int], None] = lambda _: None
) -> int:
    """Append rows to a partition of the changelog, in order, and return how many once all are acknowledged.

    ``told`` is called with how many are acknowledged so far. Raises `ChangelogError`.
    """
    producer = kafka.producer(enable_idempotence=True, linger_ms=5, max_request_size=64 * 1024 * 1024)
    written = 0
    try:
        await producer.start()
        for portion in _portions(rows):
            sent = [await producer.send(topic, value, key, partition=partition) for key, value in portion]
            await asyncio.gather(*sent)
            written += len(portion)
            told(written)
    except (KafkaError, OSError, TimeoutError) as error:
        raise ChangelogError(
            f"partition {partition} of {topic} was not written to its end ({written} rows were): {error!r}; "
            "run the command again, it begins afresh"
        ) from error
    finally:
        await producer.stop()
    return written


def _portions(rows: Iterable[Row]) -> Iterator[Sequence[Row]]:
    portion: list[Row] = []
    for row in rows:
        portion.append(row)
        if len(portion) >= IN_FLIGHT:
            yield portion
            portion = []
    if portion:
        yield portion


async def group_members(kafka: Kafka, group: str) -> int:
    """Return how many members the group has now. Raises `ChangelogError`."""
    admin = kafka.admin()
    try:
        await admin.start()
        (response,) = await admin.describe_consumer_groups([group])
    except (KafkaError, OSError, TimeoutError) as error:
        raise ChangelogError(f"Kafka at {kafka.bootstrap} does not tell about the group {group}: {error!r}") from error
    finally:
        await admin.close()
    ((_error, _group, _state, _type, _protocol, members, *_),) = response.groups
    found: list[Any] = members
    return len(found)

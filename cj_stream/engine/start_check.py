"""What is checked before a worker starts: codecs, the broker, that every topic is as it has to be, the changelog.

Hazard in Faust 0.15.3: a topic that is missing is left out of the assignment without a word
(``assignor/partition_assignor.py`` 180), and with other partitions than the table's it is assigned apart from it.

Tests: ``test_start_check.py``; ``tests/kafka/test_worker_start.py``, ``tests/kafka/test_changelog.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import TypeVar

import structlog
from yarl import URL

from cj_stream.engine.changelog import ChangelogError, compare, describe_changelog, note_id
from cj_stream.engine.connections import why_closed
from cj_stream.engine.engine_settings import EngineSettings
from cj_stream.engine.local_copies import Copies
from cj_stream.engine.local_store import LocalStore
from cj_stream.engine.overrides import codecs
from cj_stream.engine.process import refuse_to_start
from cj_stream.engine.provisioning import ProvisioningError, largest_records, topic_problems
from cj_stream.engine.rows import RowKeys
from cj_stream.engine.topics import TopicSpec

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)

DEFAULT_PORT = 9092
_NO_KAFKA = "it takes connections, but does not answer as Kafka without TLS does: is it the right port?"
PAUSE_SECONDS = 3.0
LOG_SECONDS = 30.0


def check_codecs() -> None:
    """End the process with exit code 78 if a record compressed with one of Kafka's codecs could not be read."""
    if problems := codecs.codec_problems():
        refuse_to_start(problems)


async def check_topics(settings: EngineSettings, specs: Sequence[TopicSpec]) -> None:
    """Wait for the broker, then end the process with exit code 78 if a topic is missing or wrong."""
    problems = await _patiently(settings, lambda: topic_problems(settings.kafka, specs))
    if problems:
        refuse_to_start(problems)


async def check_changelog(settings: EngineSettings, store: LocalStore, keys: RowKeys) -> None:
    """End the process with exit code 78 if the locked ``store`` holds what the changelog does not.

    A store that does not go with the changelog, and holds nothing, is not trusted.
    """
    changelog = await _patiently(settings, lambda: describe_changelog(settings.kafka, settings.changelog_topic))
    copies = Copies(settings.table, keys)
    found = await asyncio.to_thread(compare, changelog, store.folder, copies.of(store.databases()), settings.names)
    if found.losses:
        refuse_to_start(found.losses)
    if not found.fits:
        store.distrust()
    note_id(store.folder, changelog)


async def _patiently(settings: EngineSettings, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    told_at = float("-inf")
    while True:
        try:
            return await ask()
        except (ProvisioningError, ChangelogError) as error:
            # By the time, not by the attempts: one may take half a minute where nothing answers.
            if monotonic() - told_at >= LOG_SECONDS:
                told_at = monotonic()
                found = await _at_the_door(settings.kafka_bootstrap)
                log.warning("waiting for Kafka", why=str(error), found=found, again_in_seconds=PAUSE_SECONDS)
            await asyncio.sleep(PAUSE_SECONDS)


async def _at_the_door(bootstrap: str) -> str:
    """Return what there is at the bootstrap addresses, where no Kafka answers."""
    servers = [server.strip() for server in bootstrap.split(",")]
    closed = await asyncio.gather(
        *(why_closed(URL(f"kafka://{server}").with_port(_port(server))) for server in servers)
    )
    return "; ".join(f"{server}: {why or _NO_KAFKA}" for server, why in zip(servers, closed, strict=True))


def _port(server: str) -> int:
    return URL(f"kafka://{server}").port or DEFAULT_PORT


async def topic_limits(settings: EngineSettings, topics: Sequence[str]) -> dict[str, int]:
    """Return the largest record that each of these topics takes, in bytes, where the broker tells it."""
    try:
        return await largest_records(settings.kafka, topics)
    except ProvisioningError as error:
        log.warning("the largest records of topics are not known", topics=list(topics), why=str(error))
        return {}

"""Batches that wait for their callbacks: the state that a worker leaves which goes when all comparisons are accepted.

Written straight to the changelog, as the decider makes it: to have a worker come so far takes longer than what is
measured afterwards. A worker that starts reads it as it would read what another one has left.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import msgspec
from aiokafka import AIOKafkaProducer
from decider import accepted, deliver, partition_of
from installation import Installation, callback

from cj_stream.contracts.comparison_api import echo_metadata
from cj_stream.domain import computations
from cj_stream.domain.batch import Batch
from cj_stream.domain.events import BatchRequested, ContentLoaded
from cj_stream.domain.identifiers import CorrelationIds
from cj_stream.domain.policy import Policy
from cj_stream.domain.records import Content, Context, Essay, Roster, Row
from cj_stream.engine.partitioning import home_partition
from cj_stream.operations.settings import Settings
from cj_stream.tables.codec import encode_row, row_key

COMPARISONS_PER_ESSAY = 10
AT_ONCE = 20_000
"""Records that are sent before the first of them is waited for."""
_DAY = 24 * 3600.0
_POLICY = Policy(
    comparisons_per_essay=COMPARISONS_PER_ESSAY,
    completion_threshold_pct=100,
    max_iterations=1,
    # However long all runs take.
    comparison_deadline=_DAY,
    batch_timeout=7 * _DAY,
    max_age=14 * _DAY,
)


class Backlog(NamedTuple):
    """Batches and the callbacks they wait for, made once for all runs."""

    batches: list[Batch]
    accepted: dict[UUID, dict[str, Any]]
    """The metadata of every comparison by correlation id, in random order."""
    callbacks: dict[UUID, bytes]

    async def lay_out(self, stage: Installation) -> None:
        """Write the batches to the changelog, and have the provider know their comparisons."""
        stage.accepted.update(self.accepted)
        await write_rows(stage, ((batch.batch_id, rows_of(batch)) for batch in self.batches))

    async def put_on_the_topic(self, stage: Installation) -> None:
        """Send all callbacks, and wait until the broker has them."""
        waiting = list(self.callbacks.items())
        for first in range(0, len(waiting), AT_ONCE):
            await asyncio.gather(*[await stage.answer(*one) for one in waiting[first : first + AT_ONCE]])


def backlog(batches: int, comparisons: int) -> Backlog:
    """Return batches with this many comparisons each, all accepted by the provider."""
    essays = 2 * comparisons // COMPARISONS_PER_ESSAY
    policy = msgspec.structs.replace(_POLICY, max_concurrent_comparisons=comparisons)
    made = [accepted_batch(f"batch-{number}", essays, policy, time.time()) for number in range(batches)]
    comparisons_of = [entry for batch in made for entry in _accepted(batch, Settings())]
    random.Random(1).shuffle(comparisons_of)
    return Backlog(made, dict(comparisons_of), {found: callback(found, echo) for found, echo in comparisons_of})


def accepted_batch(batch_id: str, essays: int, policy: Policy, at: float) -> Batch:
    """Return a batch whose first iteration is planned and accepted by the provider."""
    partition = partition_of(policy=policy)
    listed = tuple(Essay(id=f"essay-{i}", storage_id=f"text-{i}") for i in range(essays))
    request = BatchRequested(
        batch_id=batch_id, correlation_id=str(uuid4()), digest="d", essays=listed, context=Context()
    )
    deliver(partition, [request, ContentLoaded(batch_id=batch_id, run=1)], at)
    deliver(partition, [computations.plan(next(iter(partition)))], at)
    return accepted(next(iter(partition)), at)


def rows_of(batch: Batch) -> list[Row]:
    """Return the rows of a batch whose texts are all usable, the control row last."""
    content = Content(usable=tuple(range(len(batch.roster.essays))), unusable={})
    return [batch.roster, content, *batch.plans, *batch.comparisons, batch.control]


async def write_rows(stage: Installation, batches: Iterable[tuple[str, Sequence[Row]]]) -> int:
    """Write the rows of batches to the changelog, each under the name that is given; return how many they are."""
    servers, topic = stage.settings.kafka_bootstrap, stage.settings.changelog_topic
    written, sent = 0, []
    async with AIOKafkaProducer(bootstrap_servers=servers, acks="all", linger_ms=20, max_batch_size=2**19) as producer:
        for name, rows in batches:
            for key, value, partition in _encoded(name, rows, stage.settings.partitions):
                sent.append(await producer.send(topic, value, key, partition))
            written += len(rows)
            if len(sent) >= AT_ONCE:
                await asyncio.gather(*sent)
                sent.clear()
        await asyncio.gather(*sent)
    return written


def _encoded(name: str, rows: Sequence[Row], partitions: int) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield the key, the value and the partition of each row of a batch of this name."""
    partition = home_partition(name, partitions)
    for row in rows:
        own = msgspec.structs.replace(row, batch_id=name) if isinstance(row, Roster) else row
        yield row_key(name, 1, row), encode_row(own, 0), partition


def _accepted(batch: Batch, settings: Settings) -> Iterator[tuple[UUID, dict[str, Any]]]:
    """Yield the correlation ids of a batch, and what the provider echoes of each comparison."""
    ids = CorrelationIds(settings.correlation_key.get_secret_value().encode())
    partition = home_partition(batch.batch_id, settings.partitions)
    for index in range(batch.total_comparisons):
        pair = batch.essay_ids(index)
        found = ids.make(partition=partition, batch_id=batch.batch_id, run=1, index=index, attempt=1, pair=pair)
        yield (
            found,
            echo_metadata(
                essay_a_id=pair[0],
                essay_b_id=pair[1],
                batch_id=batch.batch_id,
                job_id=f"{batch.batch_id}-1",
                retry=False,
            ),
        )

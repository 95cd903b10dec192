"""Who asks again for what has ended is told again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from faust.types import TP
from simulation.checks import events_of

from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.events import BatchRequested, OutcomePublished
from cj_stream.domain.records import Origin

if TYPE_CHECKING:
    from simulation.world import World

TOLD_AGAIN = "who asks again for what has ended is told again"


def check_repeats(world: World) -> None:
    """Report the requests that came after the outcome was told, and that no outcome came after."""
    newest = _newest_answers(world)
    for number in range(world.settings.partitions):
        for at, correlation_id in _asked_again(world, number):
            if newest.get(correlation_id, 0.0) < at:
                world.history.violated(TOLD_AGAIN, f"{correlation_id} asked at {at:.3f} in partition {number}")


def _newest_answers(world: World) -> dict[str, float]:
    settings = world.settings
    told = (settings.assessment_completed_topic, settings.assessment_failed_topic)
    records = [record for tp, log in world.broker.logs.items() if tp.topic in told for record in log]
    return {
        json.loads(record.value or b"")["correlation_id"]: record.timestamp
        for record in sorted(records, key=lambda record: record.timestamp)
    }


def _asked_again(world: World, number: int) -> Iterator[tuple[float, str]]:
    """Iterate over the requests in a log behind the report that their requester was told, and before no other one."""
    told: set[tuple[str, str]] = set()
    asked: dict[tuple[str, str], float] = {}
    seen: set[Origin] = set()
    for record in world.broker.logs[TP(world.settings.batch_events_topic, number)]:
        for event in events_of(record):
            if isinstance(event, OutcomePublished):
                kind, correlation_id = Outcome.named(event.outcome)
                if kind is not OutcomeKind.RESULT:
                    told.add((event.batch_id, correlation_id))
                    # Who asks once more before the report of the new answer may have had it already.
                    asked.pop((event.batch_id, correlation_id), None)
            elif isinstance(event, BatchRequested) and event.origin is not None and event.origin not in seen:
                seen.add(event.origin)
                requester = (event.batch_id, event.correlation_id)
                if requester in told:
                    asked[requester] = record.timestamp
                told.discard(requester)
    yield from ((at, correlation_id) for (_, correlation_id), at in asked.items())

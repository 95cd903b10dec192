"""What a fault has cost: verdicts lost, submissions repeated, batches that do not end or end wrongly, and time."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from typing import Any, NamedTuple
from uuid import UUID

from scene import Scene

from cj_stream.contracts.request_reader import AssessmentRequest
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.domain.ranking import ranking

from support.installation.counting_provider import judge_of  # isort: skip -- scene.py sets the path to it
from support.domain.oracle import expected_batch  # isort: skip -- the same

QUIET_SECONDS = 12.0
"""Nothing new on any topic for so long, two sessions: what has not ended by then waits for a deadline."""

HANGING_SECONDS = 45.0
"""The same, when not every partition is served."""
AFTERWARDS_SECONDS = 3.0
"""Batches that have ended are watched for so long: one that was rolled back begins again."""


class Account(NamedTuple):
    """What is missing, double or late once everything is quiet."""

    lost: int
    """Comparisons whose verdict was published, but is not in the table of the worker that serves the batch now."""
    repeated: int
    """Submissions of a comparison that had been submitted before."""
    cut_off: int
    """Effects that workers say they have cut off: each may excuse one submission that was repeated."""
    told_again: int
    """Results published more than once, under the same event id."""
    open: int
    """Batches without an outcome; they wait for the deadline of a comparison, an hour by default."""
    wrong: int
    """Batches with another outcome than the verdicts make, or with different ones."""
    seconds: float | None
    """From the fault until the last batch has its outcome, None when some have none."""
    restarts: int
    """Workers that ended by themselves and were started again."""


async def settled(scene: Scene) -> None:
    """Wait until every batch has its outcome, all is committed and nothing follows, or nothing happens any more."""

    async def over() -> bool:
        ended = _with_outcome(scene) >= _batch_ids(scene) and await scene.committed_all()
        if ended and _is_quiet(scene, AFTERWARDS_SECONDS):
            return True
        # A worker that has to start first is no silence; one that hangs never serves.
        return _is_quiet(scene, HANGING_SECONDS) or (_is_quiet(scene, QUIET_SECONDS) and await scene.is_served())

    await scene.until(over, "the end of all batches, or silence")


async def account(scene: Scene, fault_at: float) -> Account:
    """Add up what the workers that run now know, and what the provider and the topics have seen."""
    outcomes = {request.batch_id: _outcomes(scene, request.batch_id) for request in scene.requests}
    published = _published(scene)
    judged = {request.batch_id: await scene.judged(request.batch_id) for request in scene.requests}
    wrong = [
        request for request in scene.requests if outcomes[request.batch_id] and not await _is_right(scene, request)
    ]
    return Account(
        lost=sum(max(len(published[batch_id]) - count, 0) for batch_id, count in judged.items() if count >= 0),
        repeated=scene.provider.repeated,
        cut_off=sum(worker.cut_off() for worker in scene.workers),
        told_again=sum(max(len(found) - 1, 0) for found in outcomes.values()),
        open=sum(not found for found in outcomes.values()),
        wrong=len(wrong),
        seconds=max(map(max, outcomes.values())) - fault_at if all(outcomes.values()) else None,
        restarts=sum(worker.ended_itself for worker in scene.workers),
    )


def _batch_ids(scene: Scene) -> set[str]:
    return {request.batch_id for request in scene.requests}


def _with_outcome(scene: Scene) -> set[str]:
    return {batch_id for batch_id in _batch_ids(scene) if _outcomes(scene, batch_id)}


def _is_quiet(scene: Scene, seconds: float) -> bool:
    newest = max((records[-1].timestamp / 1000 for records in scene.mailbox.records.values() if records), default=0.0)
    return time.time() - newest > seconds


def _outcomes(scene: Scene, batch_id: str) -> list[float]:
    """Return when the outcomes of a batch were published, seconds since the epoch."""
    records = [record for kind in ("result", "failed") for record in scene.mailbox.outcome_records(kind)]
    return [record.timestamp / 1000 for record in records if _entity(record.value) == batch_id]


def _entity(value: bytes | None) -> str:
    return str(json.loads(value or b"")["data"]["entity_id"])


def _published(scene: Scene) -> dict[str, set[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for record in scene.mailbox.records[scene.settings.llm_provider_callback_topic]:
        correlation_id = json.loads(record.value or b"")["data"]["correlation_id"]
        attempt = read_correlation_id(UUID(correlation_id))
        if attempt is not None:
            found[scene.provider.requests[correlation_id]["metadata"]["bos_batch_id"]].add(attempt.index)
    return found


async def _is_right(scene: Scene, request: AssessmentRequest) -> bool:
    expected = await expected_batch(request, scene.settings, judge_of())
    wanted = [(row.essay_id, row.rank, round(row.theta, 6)) for row in ranking(expected)]
    results = scene.mailbox.outcomes("result", request.batch_id)
    return (
        not scene.mailbox.outcomes("failed", request.batch_id)
        and {event["event_id"] for event in results} == {results[0]["event_id"]}
        and all(_ranking(event) == wanted for event in results)
    )


def _ranking(event: dict[str, Any]) -> list[tuple[str, int, float]]:
    rows = event["data"]["essay_results"]
    return [(row["essay_id"], row["rank"], round(row["bt_score"], 6)) for row in rows]

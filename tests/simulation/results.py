"""What a batch has published against its comparisons, counted anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from simulation.provider_model import MISSING

from cj_stream.domain.batch import Batch
from cj_stream.domain.records import ComparisonStatus
from cj_stream.domain.states import BatchState

if TYPE_CHECKING:
    from simulation.world import World


def wrong_results(world: World, batch: Batch) -> Iterator[str]:
    """Yield what is wrong in the outcome events of a completed batch."""
    if batch.state is not BatchState.COMPLETED:
        return
    texts = {essay.id: not essay.storage_id.startswith(MISSING) for essay in batch.roster.essays}
    for event in _told(world, world.settings.assessment_completed_topic, batch):
        summary = event["data"]["processing_summary"]
        told = dict.fromkeys(summary["successful_essay_ids"], True) | dict.fromkeys(summary["failed_essay_ids"], False)
        if told != texts:
            yield f"completed says {told}, the texts are {texts}"
    for event in _told(world, world.settings.assessment_result_topic, batch):
        yield from _wrong_ranking(batch, event["data"], [essay for essay, usable in texts.items() if usable])


def _wrong_ranking(batch: Batch, data: dict[str, Any], usable: list[str]) -> Iterator[str]:
    ranked = [row["essay_id"] for row in data["essay_results"]]
    scores = [row["bt_score"] for row in data["essay_results"]]
    judged = [row for row in batch.comparisons if row.status is ComparisonStatus.JUDGED]
    if sorted(ranked) != sorted(usable) or scores != sorted(scores, reverse=True):
        yield f"the ranking of {usable} is {ranked} with {scores}"
    if data["assessment_metadata"]["comparison_count"] != len(judged):
        yield f"{data['assessment_metadata']} of {len(judged)} verdicts"
    if not judged:
        return
    wins = Counter(batch.essay_ids(row.index)[row.winner == "B"] for row in judged)
    fitted = dict(zip(usable, batch.scores[-1].wins, strict=False))
    if fitted != {essay: wins[essay] for essay in usable}:
        yield f"fitted are the wins {fitted}, counted {wins}"
    if dict(zip(usable, batch.scores[-1].theta, strict=False)) != dict(zip(ranked, scores, strict=False)):
        yield f"the scores {scores} of {ranked} are not those fitted: {batch.scores[-1]}"


def _told(world: World, topic: str, batch: Batch) -> list[dict[str, Any]]:
    requester = batch.roster.correlation_id
    return list(world.checks.outcomes[topic, f"{batch.batch_id}-{batch.run}", requester].values())

"""A whole installation for one test: broker topics, a provider, workers, and a mailbox that sees everything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid4, uuid5

import pytest
from support.installation.counting_provider import JUDGE, CountingProvider
from support.installation.fleet import APP, Fleet
from support.installation.topic_mailbox import Mailbox

from cj_stream.contracts.request_reader import AssessmentRequest, RequestedEssay, RequestedOverrides
from cj_stream.contracts.request_writer import write_request
from cj_stream.domain.batch import Batch
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.domain.ranking import ranking
from cj_stream.engine.partitioning import home_partition
from cj_stream.operations.settings import Settings


@dataclass
class Stage:
    """What a test acts with. Texts are files in ``content``; batches of `ask` have theirs there already."""

    settings: Settings
    fleet: Fleet
    mailbox: Mailbox
    provider: CountingProvider
    content: Path

    async def ask(self, request: AssessmentRequest, partition: int | None = None) -> None:
        """Send a request, as a new event; store texts for its essays unless there are some."""
        for essay in request.essays:
            path = self.content / f"{essay.text_storage_id}.txt"
            if not path.exists():
                path.write_text(f"An essay called {essay.essay_id}.")
        topic, value, key = self.settings.assessment_request_topic, write_request(request, uuid4()), request.batch_id
        await self.mailbox.send(topic, value, key=key.encode(), partition=partition)

    async def ended(self, *batch_ids: str) -> None:
        """Wait until each batch has ended and has told everybody, and all that happened is committed and read."""
        asked = set(batch_ids)

        async def told() -> bool:
            # Asking the workers costs them time; the outcomes lie here.
            if not asked <= self._with_outcome():
                return False
            shown = [await self.fleet.batch(batch_id) for batch_id in batch_ids]
            return all(batch and batch["finished_at"] and _has_told(batch) for batch in shown)

        await self.fleet.until(told, f"the ends of {', '.join(batch_ids)}")
        await self.settled()

    def _with_outcome(self) -> set[str]:
        records = self.mailbox.outcome_records("completed") + self.mailbox.outcome_records("failed")
        return {document_of(record.value)["data"]["entity_id"] for record in records}

    async def settled(self) -> None:
        """Wait until the workers have read and committed everything, and the mailbox has it all."""

        async def nothing_left() -> bool:
            return not await self.mailbox.lag() and await self.mailbox.is_all_read()

        await self.fleet.until(nothing_left, "no input is left uncommitted")

    def check_outcome(self, expected: Batch) -> None:
        """Assert that exactly the outcome of ``expected`` was published, under its deterministic event ids."""
        assert expected.state == "COMPLETED", expected.control
        batch_id, run = expected.key
        correlation_id = expected.roster.correlation_id
        for kind in ("completed", "result"):
            ids = {event["event_id"] for event in self.of_run(kind, batch_id, run, correlation_id)}
            assert ids == {str(outcome_event_id(batch_id, run, kind, correlation_id))}, f"{kind} of {batch_id}"
        assert not self.of_run("failed", batch_id, run, correlation_id)
        check_result(self.of_run("result", batch_id, run, correlation_id)[0], expected)

    def of_run(self, kind: str, batch_id: str, run: int, correlation_id: str) -> list[dict[str, Any]]:
        """Return the outcome events of one run that answer one requester."""
        return [
            event
            for event in self.mailbox.outcomes(kind, batch_id)
            if event["correlation_id"] == correlation_id
            and event["data"]["cj_assessment_job_id"] == f"{batch_id}-{run}"
        ]


def check_result(result: dict[str, Any], expected: Batch) -> None:
    """Assert that a result event says what the oracle says, scores to 1e-9."""
    ranked = [(row["essay_id"], row["rank"]) for row in result["data"]["essay_results"]]
    thetas = [row["bt_score"] for row in result["data"]["essay_results"]]
    rows = ranking(expected)
    assert ranked == [(row.essay_id, row.rank) for row in rows]
    assert thetas == pytest.approx([row.theta for row in rows], abs=1e-9, rel=0)
    assert result["data"]["assessment_metadata"]["comparison_count"] == expected.progress.judged
    assert expected.progress.judged == expected.total_comparisons


def _has_told(batch: dict[str, Any]) -> bool:
    # What no topic takes counts as told.
    return all(outcome["published"] or "refused" in outcome for outcome in batch["outcomes"])


@asynccontextmanager
async def staged(
    settings: Settings, folder: Path, *, judge: str = JUDGE, latency: float = 0.05, **changes: Any
) -> AsyncIterator[Stage]:
    """Set the stage, without workers yet; ``changes`` are settings of the workers. Everything is ended afterwards."""
    async with staged_with(CountingProvider(settings, judge=judge, latency=latency), settings, folder, **changes) as it:
        yield it


@asynccontextmanager
async def staged_with(
    provider: CountingProvider, settings: Settings, folder: Path, *, app: str = APP, **changes: Any
) -> AsyncIterator[Stage]:
    """Set the stage with this provider, for workers that run ``app``."""
    content = folder / "content"
    content.mkdir()
    # Shorter sessions are lost on a busy machine, and the tests are about other things.
    timings = {"session_timeout_seconds": 6.0, "heartbeat_seconds": 1.0}
    async with Mailbox(settings) as mailbox, provider:
        provider.answers_through(mailbox)
        places = {"content_service_url": f"file:{content}", "llm_provider_service_url": provider.url}
        own = settings.model_copy(update={**timings, **places, **changes})
        async with Fleet(own, folder, app) as fleet:
            yield Stage(own, fleet, mailbox, provider, content)


def new_request(batch_id: str, essays: int = 8, *, content: str = "essay", **fields: Any) -> AssessmentRequest:
    """Return a request that waits for every verdict; the same arguments are the same content and requester."""
    defaults: dict[str, Any] = {
        "correlation_id": uuid5(NAMESPACE_OID, batch_id),
        "completion_threshold": 1.0,
        "language": "en",
        "course_code": "ENG5",
        "overrides": RequestedOverrides(),
        "user_id": "a teacher",
        "requested_at": datetime.now(UTC),
    }
    listed = tuple(RequestedEssay(f"{content}-{i}", f"{content}-{i}-of-{batch_id}") for i in range(essays))
    return AssessmentRequest(batch_id=batch_id, essays=listed, **{**defaults, **fields})


def batches_everywhere(count: int, settings: Settings) -> list[str]:
    """Return batch ids that are spread evenly over all partitions."""
    free = [f"batch-{number}" for number in range(100 * count)]
    return [
        next(name for name in free[100 * i :] if home_partition(name, settings.partitions) == i % settings.partitions)
        for i in range(count)
    ]


def document_of(value: bytes | None) -> dict[str, Any]:
    """Return a JSON record."""
    document: dict[str, Any] = json.loads(value or b"")
    return document

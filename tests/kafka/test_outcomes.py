from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.stage import Stage, document_of, new_request, staged
from support.wire import contract_samples as samples

from cj_stream.contracts.outcome_writer import COMPLETED_EVENT_TYPE, RESULT_EVENT_TYPE
from cj_stream.contracts.request_reader import read_request
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

MARKER = "Only-the-content-service-and-the-provider-may-see-this"


async def test_a_request_becomes_a_completed_and_a_result_event_that_are_known_in_advance(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path) as stage:
        await stage.fleet.start()
        request = new_request("batch-1", 9, prompt_storage_id="task", assignment_id="assignment-1")
        for storage_id in ("task", *(essay.text_storage_id for essay in request.essays)):
            (stage.content / f"{storage_id}.txt").write_text(f"{MARKER}: {storage_id}")
        expected = await expected_batch(request, stage.settings, judge_of())
        await stage.ask(request)
        await stage.ended("batch-1")
        stage.check_outcome(expected)

        (completed,) = stage.mailbox.outcome_records("completed")
        (result,) = stage.mailbox.outcome_records("result")
        assert (completed.key, result.key) == (b"batch-1", b"batch-1-1")
        assert document_of(completed.value)["event_type"] == COMPLETED_EVENT_TYPE
        assert document_of(result.value)["event_type"] == RESULT_EVENT_TYPE
        for record in (completed, result):
            assert UUID(document_of(record.value)["correlation_id"]) == request.correlation_id
        summary = document_of(completed.value)["data"]["processing_summary"]
        assert summary["successful_essay_ids"] == [essay.essay_id for essay in request.essays]

        shown = await stage.fleet.batch("batch-1")
        assert shown is not None
        assert shown["current_iteration"] == expected.control.iteration > 1
        assert shown["stop_reason"] == expected.control.stop_reason

        prompts = [body["user_prompt"] for body in stage.provider.requests.values()]
        assert all(prompt.count(MARKER) == len(("task", "first essay", "second essay")) for prompt in prompts)
        assert not list(_topics_with_texts(stage))


def _topics_with_texts(stage: Stage) -> Iterator[str]:
    for topic in (stage.settings.batch_events_topic, stage.settings.changelog_topic):
        assert stage.mailbox.records[topic], f"nothing on {topic}"
    for topic in stage.mailbox.topics:
        for record in stage.mailbox.records[topic]:
            if MARKER in repr((record.key, record.value, record.headers)):
                yield topic


async def test_every_shape_of_the_request_completes(settings: Settings, tmp_path: Path) -> None:
    names = samples.on_topic(samples.REQUESTS)
    async with staged(settings, tmp_path) as stage:
        for storage_id, text in samples.CONTENT.items():
            (stage.content / f"{storage_id}.txt").write_text(text)
        await stage.fleet.start()
        requests = [read_request(samples.raw(name), max_essays=samples.MAX_ESSAYS) for name in names]
        for name, request in zip(names, requests, strict=True):
            key = request.batch_id.encode()
            await stage.mailbox.send(settings.assessment_request_topic, samples.raw(name), key=key)
        await stage.ended(*(request.batch_id for request in requests))
        for request in requests:
            if request.completion_threshold is None:
                stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
            (result,) = stage.mailbox.outcomes("result", request.batch_id)
            ranked = {row["essay_id"] for row in result["data"]["essay_results"]}
            assert ranked == {essay.essay_id for essay in request.essays}
            assert UUID(result["correlation_id"]) == request.correlation_id
        assert len(stage.mailbox.outcome_records("result")) == len(names)
        assert not stage.mailbox.dead_letters

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from support.domain.oracle import expected_batch
from support.installation.counting_provider import judge_of
from support.installation.stage import Stage, document_of, new_request, staged
from support.wire import contract_samples as samples

from cj_stream.contracts.outcome_writer import JOB_ID_OF_REFUSED
from cj_stream.domain.identifiers import read_correlation_id
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

Letter = tuple[str, bytes | None, bytes | None]
PARTITIONS = 3


def _sent_to(settings: Settings) -> list[tuple[str, str]]:
    topics = {"request": [settings.assessment_request_topic], "callback": [settings.llm_provider_callback_topic]}
    topics["any"] = [*topics["request"], *topics["callback"]]
    return [(name, topic) for name, kind, _, _ in samples.expectations() for topic in topics[kind]]


async def test_bad_input_of_every_kind_becomes_a_dead_letter_and_harms_nobody(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path) as stage:
        (worker,) = await stage.fleet.start()
        sent: Counter[Letter] = Counter()
        for number, (name, topic) in enumerate(_sent_to(settings)):
            letter = (topic, f"key of {name}".encode(), samples.raw(f"invalid/{name}"))
            await stage.mailbox.send(topic, letter[2], key=letter[1], partition=number % PARTITIONS)
            sent[letter] += 1
        # The partitions move on: valid requests, and the callbacks that they lead to, come after the bad input.
        requests = [new_request(f"batch-{partition}", 4) for partition in range(PARTITIONS)]
        turns = itertools.cycle(range(PARTITIONS))
        stage.provider.partitions = lambda: next(turns)
        for partition, request in enumerate(requests):
            await stage.ask(request, partition)
        await stage.ended(*(request.batch_id for request in requests))
        for request in requests:
            stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))

        assert _letters(stage) == sent
        for stored in stage.mailbox.dead_letters:
            assert stored.reason
            assert stored.detail
            assert stored.is_whole
        assert _told(stage) == _to_be_told()
        assert sorted(await stage.fleet.batches()) == [request.batch_id for request in requests]
        expected = float(sent.total())
        assert sum([await stage.fleet.metric("cj_dead_letters_total", reason=r) for r in _reasons(stage)]) == expected

        # Nothing is refused again by the next worker, which reads on where this one had committed.
        worker.terminate()
        assert await stage.fleet.ended(worker) == 0
        worker.start()
        await stage.fleet.ready()
        for topic, partition in itertools.product(
            (settings.assessment_request_topic, settings.llm_provider_callback_topic), range(PARTITIONS)
        ):
            await stage.mailbox.send(topic, b"the last one", partition=partition)
            sent[topic, None, b"the last one"] += 1
        await stage.settled()
        assert _letters(stage) == sent


def _letters(stage: Stage) -> Counter[Letter]:
    return Counter((letter.topic, letter.key, letter.value) for letter in stage.mailbox.dead_letters)


def _reasons(stage: Stage) -> set[str]:
    return {letter.reason for letter in stage.mailbox.dead_letters}


def _told(stage: Stage) -> Counter[tuple[str, str]]:
    events = [document_of(record.value) for record in stage.mailbox.outcome_records("failed")]
    assert {event["data"]["cj_assessment_job_id"] for event in events} == {JOB_ID_OF_REFUSED}
    return Counter((event["data"]["entity_id"], event["correlation_id"]) for event in events)


def _to_be_told() -> Counter[tuple[str, str]]:
    refused = [samples.document(f"invalid/{name}") for name, _, _, told in samples.expectations() if told != "no"]
    return Counter((document["data"]["entity_id"], document["correlation_id"]) for document in refused)


async def test_a_refused_callback_leaves_its_comparison_open_for_a_valid_one(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path) as stage:
        await stage.fleet.start()
        stage.provider.holds = lambda _: True
        request = new_request("batch-1", 4)
        await stage.ask(request)
        await stage.fleet.until(lambda: len(stage.provider.held) == 6, "all comparisons are submitted")
        ids = itertools.cycle(callback.correlation_id for callback in stage.provider.held)
        damaged = [_about(samples.document(f"invalid/{name}"), next(ids)) for name in _damaged_callbacks()]
        for value in damaged:
            await stage.provider.say(value)
        await stage.settled()
        assert Counter(letter.value for letter in stage.mailbox.dead_letters) == Counter(damaged)
        statuses = {row["status"] for row in await stage.fleet.comparisons("batch-1")}
        assert statuses == {"ACCEPTED"}
        await stage.provider.release()
        await stage.ended("batch-1")
        stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert set(stage.provider.submissions.values()) == {1}


def _damaged_callbacks() -> list[str]:
    # With a live id in it, what is refused for its id only would be valid.
    about_the_id = {"callback_no_correlation_id.json", "callback_correlation_not_uuid.json"}
    return [name for name, kind, _, _ in samples.expectations() if kind == "callback" and name not in about_the_id]


def _about(document: dict[str, object], correlation_id: str) -> bytes:
    assert read_correlation_id(UUID(correlation_id)) is not None
    data = document.get("data")
    own = {"data": {**data, "correlation_id": correlation_id}} if isinstance(data, dict) else {}
    return json.dumps({**document, "correlation_id": correlation_id, **own}).encode()

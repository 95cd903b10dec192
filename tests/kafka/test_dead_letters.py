"""Dead letters on a real broker: an operator looks at them, sends them again, deletes them; a flood stops a worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from click.testing import Result
from support.domain.oracle import expected_batch
from support.installation.command_runs import run_command
from support.installation.counting_provider import judge_of
from support.installation.fleet import environment
from support.installation.stage import Stage, new_request, staged

from cj_stream.contracts.message_limits import REQUEST_LIMIT
from cj_stream.contracts.request_reader import AssessmentRequest
from cj_stream.dead_letters.sending import REPLAY_HEADER
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

BAD_INPUT = 65
LIMIT: dict[str, Any] = {"invalid_input_window": 50, "invalid_input_minimum": 10}

Command = Callable[..., Result]


def commands(settings: Settings) -> Command:
    variables = environment(settings)
    return lambda *arguments, **options: run_command("dlq", *arguments, env=variables, **options)


async def in_thread(command: Command, *arguments: str, **options: Any) -> Result:
    """Run a command beside this event loop: it has one of its own."""
    return await asyncio.to_thread(command, *arguments, **options)


async def test_an_operator_lists_shows_sends_again_and_deletes_dead_letters(settings: Settings, tmp_path: Path) -> None:
    async with staged(settings, tmp_path, max_essays=3) as stage:
        await stage.fleet.start()
        request = new_request("batch-1", 4)
        topic = settings.assessment_request_topic
        hostile = b"\x1b]0;owned\x07 not JSON"
        await stage.mailbox.send(topic, hostile, key=b"a key", partition=1)
        await stage.settled()
        await stage.ask(request, 2)
        # Compressed: what counts for the topic is what is sent.
        async with AIOKafkaProducer(
            bootstrap_servers=settings.kafka_bootstrap, compression_type="gzip", max_request_size=2 * REQUEST_LIMIT
        ) as producer:
            await producer.send_and_wait(topic, b'{"a": "' + b"x" * REQUEST_LIMIT + b'"}', partition=0)
        await stage.settled()
        numbers = {letter.reason: number for number, letter in enumerate(stage.mailbox.dead_letters)}
        assert numbers.keys() == {"not_json", "too_many_essays", "too_large"}
        dlq = commands(stage.settings)

        await _are_listed(dlq, numbers, topic)
        await _are_shown(dlq, numbers, hostile, tmp_path)

        refused = await in_thread(dlq, "replay", "--all", "--json")
        assert refused.exit_code == 1
        why = {entry["number"]: entry["why_not"] for entry in json.loads(refused.stdout)["dead_letters"]}
        assert "refused again: not_json" in why[numbers["not_json"]]
        assert "refused again: too_many_essays" in why[numbers["too_many_essays"]]
        assert "only the first 65536 of" in why[numbers["too_large"]]
        await stage.settled()
        assert len(stage.mailbox.records[topic]) == 3

        await _is_sent_again(stage, request, str(numbers["too_many_essays"]))
        await _are_deleted(dlq)


async def _are_listed(dlq: Command, numbers: dict[str, int], topic: str) -> None:
    listed = json.loads((await in_thread(dlq, "list", "--json")).stdout)
    assert [row["number"] for row in listed["dead_letters"]] == [2, 1, 0]
    found = await in_thread(dlq, "list", "--reason", "too_many_essays", "--topic", topic, "--since", "1h", "--json")
    (row,) = json.loads(found.stdout)["dead_letters"]
    assert (row["number"], row["batch_id"]) == (numbers["too_many_essays"], "batch-1")
    newest = json.loads((await in_thread(dlq, "list", "--limit", "1", "--json")).stdout)
    assert (newest["kept"], [row["number"] for row in newest["dead_letters"]]) == (3, [2])
    assert "No dead letters like that" in (await in_thread(dlq, "list", "--batch", "another")).output
    assert "not_json" in (await in_thread(dlq, "list")).output


async def _are_shown(dlq: Command, numbers: dict[str, int], hostile: bytes, folder: Path) -> None:
    number, file = str(numbers["not_json"]), folder / "value"
    shown = await in_thread(dlq, "show", number, "--output", str(file))
    assert shown.exit_code == 0
    assert r"\x1b]0;owned\x07 not JSON" in shown.output
    assert "\x1b" not in shown.output
    assert "a key" in shown.output
    assert file.read_bytes() == hostile
    missing = await in_thread(dlq, "show", "3")
    assert (missing.exit_code, missing.stderr) == (1, "Error: no dead letter 3: there are 0 to 2\n")


async def _is_sent_again(stage: Stage, request: AssessmentRequest, number: str) -> None:
    """What was refused under one setting is taken under another, and once: the worker has to have it too."""
    (worker,) = stage.fleet.workers
    worker.terminate()
    assert await stage.fleet.ended(worker) == 0
    generous = stage.settings.model_copy(update={"max_essays": 4})
    dlq = commands(generous)
    rehearsed = await in_thread(dlq, "replay", number, "--dry-run")
    assert rehearsed.output == "1 of 1 dead letters would be sent again.\n"
    for _ in range(2):
        assert (await in_thread(dlq, "replay", number)).output == "1 of 1 dead letters were sent again.\n"
    stage.fleet.settings = generous
    await stage.fleet.start()
    await stage.ended("batch-1")
    stage.check_outcome(await expected_batch(request, generous, judge_of()))
    first, *again = [
        record for record in stage.mailbox.records[stage.settings.assessment_request_topic] if record.key == b"batch-1"
    ]
    assert [(record.key, record.value) for record in again] == [(first.key, first.value)] * 2
    assert [dict(record.headers) for record in again] == [{REPLAY_HEADER: number.encode()}] * 2
    assert len(stage.mailbox.dead_letters) == 3


async def _are_deleted(dlq: Command) -> None:
    asked = await in_thread(dlq, "drop", "--through", "1", input="n\n")
    assert asked.exit_code == 1
    assert "Delete 2 dead letters, 0 to 1, for good?" in asked.stderr
    assert (await in_thread(dlq, "drop", "--before", "1h", "--yes")).output == "No dead letters to delete.\n"
    dropped = await in_thread(dlq, "drop", "--through", "1", "--yes", "--json")
    assert json.loads(dropped.stdout) == {"dropped": 2, "first": 0, "end": 2}
    listed = json.loads((await in_thread(dlq, "list", "--json")).stdout)
    assert [row["number"] for row in listed["dead_letters"]] == [2]
    gone = await in_thread(dlq, "show", "1")
    assert (gone.exit_code, gone.stderr) == (1, "Error: no dead letter 1: there are 2 to 2\n")
    assert (await in_thread(dlq, "drop", "--all", "--yes")).output == "1 dead letters deleted.\n"
    assert (await in_thread(dlq, "list")).output == "No dead letters.\n"


async def test_a_flood_of_rubbish_stops_a_worker_which_goes_on_once_told_to(settings: Settings, tmp_path: Path) -> None:
    async with staged(settings, tmp_path, **LIMIT) as stage:
        (worker,) = await stage.fleet.start()
        topic = settings.assessment_request_topic
        for _ in range(9):
            await stage.mailbox.send(topic, b"rubbish", partition=0)
        await stage.settled()
        for _ in range(51):
            await stage.mailbox.send(topic, b"rubbish", partition=0)
        assert await stage.fleet.ended(worker) == BAD_INPUT
        for part in (
            topic,
            "10 of the last 10 (100%)",
            "10 x not_json",
            "partition 0: 0..9",
            "CJ_INVALID_INPUT_SHARE=1",
        ):
            assert part in worker.log

        # Started again as it was, it remembers and stops at the next one: the topic is not dead-lettered bit by bit.
        worker.start(may_end=True)
        assert await stage.fleet.ended(worker) == BAD_INPUT
        assert {letter.offset for letter in stage.mailbox.dead_letters} <= set(range(9))
        assert await stage.mailbox.lag()

        request = new_request("batch-1", 4)
        await stage.ask(request, 0)
        stage.fleet.settings = stage.settings.model_copy(update={"invalid_input_share": 1.0})
        await stage.fleet.start()
        await stage.ended("batch-1")
        stage.check_outcome(await expected_batch(request, stage.settings, judge_of()))
        assert {letter.offset for letter in stage.mailbox.dead_letters} == set(range(60))

"""What an operator has forgotten is gone: from the table, the dead letters, and the changelog once it is compacted."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from msgspec import structs
from pydantic import SecretStr
from support.installation.command_runs import run_command
from support.installation.fleet import environment
from support.installation.stage import Stage, new_request, staged
from support.installation.topic_config import configure
from support.installation.topics_read import bytes_of

from cj_stream.engine.partitioning import home_partition
from cj_stream.operations.settings import Settings

pytestmark = pytest.mark.kafka

CANARY = "canary-4b1d"
"""What a judge wrote of a pupil's text."""
OPERATOR = SecretStr("an operator")
PUPIL = "pupil-77"
COMPACTED_AT_ONCE: dict[str, Any] = {
    "cleanup_policy": "compact",
    "segment_ms": 500,
    "min_compaction_lag_ms": 0,
    "max_compaction_lag_ms": 500,
    "delete_retention_ms": 100,
}


async def forget(stage: Stage, *arguments: str) -> Result:
    """Run the command beside this event loop: it has one of its own."""
    urls = [word for worker in stage.fleet.workers for word in ("--url", worker.url)]
    variables = environment(stage.settings)
    return await asyncio.to_thread(run_command, "forget", *arguments, *urls, env=variables)


async def letters(settings: Settings) -> list[tuple[int, str, Any]]:
    """Return number, reason and time of refusal of every dead letter that there is."""
    answer = await asyncio.to_thread(run_command, "dlq", "list", "--json", env=environment(settings))
    found = json.loads(answer.output)["dead_letters"]
    return sorted((row["number"], row["reason"], row["refused_at"]) for row in found)


async def test_a_users_batch_is_gone_from_table_dead_letters_and_compacted_changelog(
    settings: Settings, tmp_path: Path
) -> None:
    async with staged(settings, tmp_path, operator_token=OPERATOR) as stage:
        own = stage.settings
        await configure(own.kafka_bootstrap, own.changelog_topic, **COMPACTED_AT_ONCE)
        await stage.fleet.start(2)
        stage.provider.holds = lambda _: True
        for batch_id, user in (("theirs", PUPIL), ("of-others", "somebody")):
            await stage.ask(structs.replace(new_request(batch_id, 2), user_id=user))
        await stage.fleet.until(lambda: _is(len(stage.provider.held) >= 2), "both are submitted")

        live = await forget(stage, "--user", PUPIL, "--yes")
        assert live.exit_code == 1
        assert "cancel it" in live.output

        stage.provider.holds = lambda _: False
        for held in stage.provider.held:
            about = held.document["data"]["request_metadata"]["bos_batch_id"]
            await stage.provider.say(held.changed(justification=f"{CANARY} of {about}"))
        await stage.ended("theirs", "of-others")
        topic = own.llm_provider_callback_topic
        for value in (b'{"batch": "of-others", "a": ', b'{"batch": "theirs", "b": ', b'{"batch": "of-others", "c": '):
            await stage.mailbox.send(topic, value, partition=0)
        await stage.settled()
        before = await letters(own)
        assert len(before) == 3
        assert f"{CANARY} of theirs".encode() in await bytes_of(own, own.changelog_topic)

        done = await forget(stage, "--user", PUPIL, "--yes", "--json")

        assert done.exit_code == 0, done.output
        told = json.loads(done.output)
        assert (told["forgotten"], told["left"], told["missing"]) == (["theirs"], {}, [])
        assert told["dead_letters"] == {"deleted": 1, "written_again": 1}
        assert {place["topic"] for place in told["kept"]} >= {own.changelog_topic, own.batch_events_topic}
        assert await stage.fleet.batch("theirs") is None
        assert await stage.fleet.batch("of-others"), "nobody else's is touched"
        left = await bytes_of(own, own.dead_letters_topic)
        assert b"theirs" not in left
        after = await letters(own)
        assert sorted(row[1:] for row in after) == sorted(row[1:] for row in (before[0], before[2])), "with their times"

        again = await forget(stage, "--user", PUPIL, "--yes", "--json")
        assert (again.exit_code, json.loads(again.output)["forgotten"]) == (0, [])
        named = await forget(stage, "--batch", "theirs", "--yes", "--json")
        assert (named.exit_code, json.loads(named.output)["dead_letters"]["deleted"]) == (0, 0)

        await _compacted_without(stage, f"{CANARY} of theirs".encode())
        assert f"{CANARY} of of-others".encode() in await bytes_of(own, own.changelog_topic)


async def _compacted_without(stage: Stage, secret: bytes) -> None:
    """Wait until the changelog has lost these bytes; what comes meanwhile closes its segments."""
    own = stage.settings
    homes = {home_partition("theirs", own.partitions)}
    for number in range(60):
        if secret not in await bytes_of(own, own.changelog_topic):
            return
        if home_partition(f"later-{number}", own.partitions) in homes:
            await stage.ask(new_request(f"later-{number}", 2))
        await asyncio.sleep(1)
    pytest.fail("the bytes are still in the changelog a minute later")


async def _is(condition: bool) -> bool:
    return condition

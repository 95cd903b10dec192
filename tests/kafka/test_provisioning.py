from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from cj_stream.cli.main import main
from cj_stream.devkit.kafka_config import free_port
from cj_stream.engine.clients import Kafka
from cj_stream.engine.provisioning import ProvisioningError, create_topics, partition_counts, topic_problems
from cj_stream.operations.settings import NAMES, Settings
from cj_stream.operations.topic_registry import registry

pytestmark = pytest.mark.kafka


async def test_created_topics_have_no_problems(settings: Settings) -> None:
    assert await topic_problems(settings.kafka, registry(settings)) == []


async def test_only_missing_topics_are_created(settings: Settings) -> None:
    specs = registry(settings)
    missing = replace(specs[0], name=f"{settings.app_id}.missing")
    assert await create_topics(settings.kafka, [*specs, missing], 1) == [missing.name]
    assert await create_topics(settings.kafka, [*specs, missing], 1) == []


async def test_topics_get_the_partitions_of_the_registry(settings: Settings) -> None:
    counts = await partition_counts(settings.kafka)
    specs = registry(settings)
    assert {spec.name: counts[spec.name] for spec in specs} == {spec.name: spec.partitions for spec in specs}


async def test_a_missing_topic_is_named_with_the_command_that_creates_it(settings: Settings) -> None:
    missing = replace(registry(settings)[0], name=f"{settings.app_id}.missing")
    (problem,) = await topic_problems(settings.kafka, [missing])
    assert f"topic {missing.name} does not exist" in problem
    assert "cj-stream topics create" in problem


async def test_a_topic_of_ours_with_another_partition_count_is_a_problem(settings: Settings) -> None:
    grown = settings.model_copy(update={"partitions": 6})
    problems = await topic_problems(settings.kafka, registry(grown))
    assert len(problems) == 3
    events = next(problem for problem in problems if settings.batch_events_topic in problem)
    assert "partition count of 4 instead of 6" in events
    assert "CJ_PARTITIONS" in events


async def test_a_topic_of_the_platform_may_have_any_partition_count(settings: Settings) -> None:
    specs = [replace(spec, partitions=spec.partitions + 5) for spec in registry(settings) if spec.external]
    assert await topic_problems(settings.kafka, specs) == []


async def test_a_changelog_that_is_not_compacted_is_a_problem(settings: Settings) -> None:
    (changelog,) = [spec for spec in registry(settings) if spec.name == settings.changelog_topic]
    deleting = replace(changelog, name=f"{settings.app_id}-other-changelog", cleanup="delete")
    await create_topics(settings.kafka, [deleting], 1)
    (problem,) = await topic_problems(settings.kafka, [replace(deleting, cleanup="compact")])
    assert "cleanup.policy=delete instead of compact" in problem
    assert "--add-config cleanup.policy=compact" in problem


async def test_more_replicas_than_brokers_are_refused_with_the_topic_and_the_reason(settings: Settings) -> None:
    spec = replace(registry(settings)[0], name=f"{settings.app_id}.replicated")
    with pytest.raises(ProvisioningError, match=rf"{spec.name}.*replication factor of 99"):
        await create_topics(settings.kafka, [spec], 99)


async def test_an_absent_broker_is_told_with_what_to_do(settings: Settings) -> None:
    with pytest.raises(ProvisioningError, match=r"no Kafka answers at .* \(CJ_KAFKA_BOOTSTRAP\)"):
        await topic_problems(Kafka(f"127.0.0.1:{free_port()}", NAMES), registry(settings))


def test_the_command_creates_then_finds_nothing_wrong(broker: str, settings: Settings) -> None:
    prefix = f"{settings.app_id}.commanded"
    environment = {
        "CJ_KAFKA_BOOTSTRAP": broker,
        "CJ_APP_ID": prefix,
        "CJ_BATCH_EVENTS_TOPIC": f"{prefix}.events",
    }
    created = json.loads(CliRunner(env=environment).invoke(main, ["topics", "create", "--json"]).stdout)
    assert {f"{prefix}.events", f"{prefix}-batches-changelog"} <= set(created["created"])
    checked = CliRunner(env=environment).invoke(main, ["topics", "check", "--json"])
    assert (checked.exit_code, json.loads(checked.stdout)) == (0, {"problems": []})
    wrong = CliRunner(env={**environment, "CJ_PARTITIONS": "3"}).invoke(main, ["topics", "check"])
    assert wrong.exit_code == 1
    assert "partition count of 8 instead of 3" in wrong.stderr

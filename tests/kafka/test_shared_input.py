from __future__ import annotations

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from support.installation.fleet import Fleet

from cj_stream.engine.process import NOT_CONFIGURED
from cj_stream.engine.provisioning import create_topics
from cj_stream.operations.settings import Settings
from cj_stream.operations.topic_registry import registry

pytestmark = pytest.mark.kafka


async def test_an_application_does_not_start_on_the_input_of_another(settings: Settings, tmp_path: Path) -> None:
    other = f"{settings.app_id}-other"
    await _with_changelog(settings, other)
    await _commit(settings, "somebody", settings.assessment_request_topic)
    async with Fleet(settings, tmp_path) as fleet:
        first = fleet.worker(shared_input=True)
        first.start()
        await fleet.ready()
        assert "another group works on our input" in first.log
        second = fleet.worker(app_id=other)
        second.start(may_end=True)
        assert await fleet.ended(second) == NOT_CONFIGURED
        # What another group has read does not have to live to be read twice.
        assert f"group somebody has committed offsets of {settings.assessment_request_topic}" in second.log
        assert "and has no members now" in second.log
        assert f"group {settings.app_id} has committed offsets of" in second.log
        assert settings.batch_events_topic in second.log
        assert "and has members now (1)" in second.log
        assert first.runs


@pytest.mark.soak
async def test_of_two_applications_that_start_together_on_one_input_not_both_go_on(
    settings: Settings, tmp_path: Path
) -> None:
    other = f"{settings.app_id}-other"
    await _with_changelog(settings, other)
    async with Fleet(settings, tmp_path) as fleet:
        both = [fleet.worker(), fleet.worker(app_id=other)]
        for worker in both:
            worker.start(may_end=True)
        await fleet.until(lambda: not all(worker.runs for worker in both), "one of them ends")
        (ended, *_) = [worker for worker in both if not worker.runs]
        assert ended.exit_code == NOT_CONFIGURED
        assert "has committed offsets of" in ended.log


async def test_a_worker_does_not_join_a_group_that_somebody_else_is_in(settings: Settings, tmp_path: Path) -> None:
    topic, bootstrap = settings.assessment_request_topic, settings.kafka_bootstrap
    async with (
        AIOKafkaConsumer(
            topic, bootstrap_servers=bootstrap, group_id=settings.app_id, client_id="stranger"
        ) as consumer,
        Fleet(settings, tmp_path) as fleet,
    ):
        await fleet.until(lambda: bool(consumer.assignment()), "the stranger is a member")
        worker = fleet.worker()
        worker.start(may_end=True)
        assert await fleet.ended(worker) == NOT_CONFIGURED
        assert f"is a member of group {settings.app_id} and no worker of ours" in worker.log
        assert "stranger" in worker.log


async def _with_changelog(settings: Settings, app_id: str) -> None:
    specs = registry(settings.model_copy(update={"app_id": app_id}))
    await create_topics(settings.kafka, specs, 1)


async def _commit(settings: Settings, group: str, topic: str) -> None:
    at = TopicPartition(topic, 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_bootstrap, group_id=group, enable_auto_commit=False
    ) as consumer:
        consumer.assign([at])
        await consumer.commit({at: 0})

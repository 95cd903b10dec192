from __future__ import annotations

import json
from typing import Any

import pytest
from scripted_judges import judges, refuses
from story import BATCH, FIRST, SECOND, Story, requested

from cj_stream.agents.outcomes import outcome_message
from cj_stream.domain.batch import Batch
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.operations.settings import Settings

SETTINGS = Settings()


def ended(judge: Any, *more: str) -> Batch:
    """Return a batch that has ended, asked for by FIRST and, while it was live, by others."""
    story = Story()
    story.start(3)
    for correlation_id in more:
        story.tell(requested(3, correlation_id))
    return story.play(judge)


def told(batch: Batch, outcome: str) -> tuple[str, bytes | None, dict[str, Any]]:
    topic, event = outcome_message(batch, outcome, SETTINGS, "job")
    return topic, event.key, json.loads(event.value)


@pytest.mark.parametrize(("judge", "kind"), [(judges, "completed"), (judges, "result"), (refuses, "failed")])
@pytest.mark.parametrize("who", [FIRST, SECOND])
def test_each_requester_of_a_batch_is_told_under_its_own_id(judge: Any, kind: str, who: str) -> None:
    topic, _, event = told(ended(judge, SECOND), f"{kind}:{who}")
    assert topic == getattr(SETTINGS, f"assessment_{kind}_topic")
    assert event["correlation_id"] == who
    assert event["event_id"] == str(outcome_event_id(BATCH, 1, kind, who))
    assert event["data"]["entity_id"] == BATCH
    assert event["data"]["cj_assessment_job_id"] == "job"


def test_who_was_refused_is_told_under_its_own_id_and_why() -> None:
    story = Story()
    story.start(3)
    story.tell(requested(4, SECOND, content="other"))
    topic, key, event = told(story.batch, f"refused:{SECOND}")
    assert (topic, key) == (SETTINGS.assessment_failed_topic, BATCH.encode())
    assert event["correlation_id"] == SECOND
    assert event["event_id"] == str(outcome_event_id(BATCH, 1, "refused", SECOND))
    assert "is being judged with other content" in json.dumps(event["data"])


def test_the_same_batch_always_gives_the_same_bytes() -> None:
    batch = ended(judges, SECOND)
    for outcome in batch.control.published:
        assert outcome_message(batch, outcome, SETTINGS, "job") == outcome_message(batch, outcome, SETTINGS, "job")
    assert len(batch.control.published) == 3

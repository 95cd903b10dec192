from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from msgspec import structs
from msgspec.structs import replace
from support.domain.scripted_judges import judges, refuses
from support.domain.story import BATCH, FIRST, SECOND, Story, requested

from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import Outcome
from cj_stream.domain.identifiers import outcome_event_id
from cj_stream.domain.records import Context, Overrides
from cj_stream.effects.outcomes import outcome_message
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
    topic, event = outcome_message(batch, Outcome.named(outcome), SETTINGS, "job")
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
    for outcome in map(Outcome.named, batch.control.published):
        assert outcome_message(batch, outcome, SETTINGS, "job") == outcome_message(batch, outcome, SETTINGS, "job")
    assert len(batch.control.published) == 3


def test_what_came_with_the_request_is_handed_on_with_the_outcome() -> None:
    story = Story()
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    context = Context(course_code="ENG6", assignment_id="assignment-1", traceparent=trace)
    story.tell(replace(requested(3), context=context))
    batch = story.play(judges)
    _, key, completed = told(batch, f"completed:{FIRST}")
    _, _, result = told(batch, f"result:{FIRST}")
    assert key == BATCH.encode()
    assert completed["metadata"] == result["metadata"] == {"traceparent": trace}
    metadata = result["data"]["assessment_metadata"]
    assert (metadata["course_code"], metadata["assignment_id"]) == ("ENG6", "assignment-1")
    assert metadata["comparison_count"] == batch.progress.judged == 3
    assert metadata["llm_temperature"] == SETTINGS.llm_temperature


def test_a_result_names_the_judge_that_judged_else_the_one_that_was_asked_for() -> None:
    asked = replace(requested(3), context=Context(overrides=Overrides(provider="anthropic", model="asked")))
    story = Story()
    story.tell(asked)
    data = told(story.play(judges), f"result:{FIRST}")[2]["data"]
    assert (data["model_used"], data["model_provider"]) == ("judge-1", "openai")
    alone = Story(unusable={1: "blank", 2: "blank"})
    alone.tell(asked)
    data = told(alone.finish(), f"result:{FIRST}")[2]["data"]
    assert (data["model_used"], data["model_provider"]) == ("asked", "anthropic")


def test_a_failure_is_told_with_its_reason_and_the_end_with_its_time() -> None:
    failed = ended(refuses)
    _, _, event = told(failed, f"failed:{FIRST}")
    assert failed.control.failure == "low_success_rate"
    assert failed.control.failure in json.dumps(event["data"])
    completed = ended(judges)
    finished = completed.control.finished_at
    later = structs.replace(completed.control, state_since=completed.control.state_since + 7)
    _, _, event = told(structs.replace(completed, control=later), f"completed:{FIRST}")
    assert datetime.fromisoformat(event["event_timestamp"]).timestamp() == pytest.approx(finished, abs=1e-5)

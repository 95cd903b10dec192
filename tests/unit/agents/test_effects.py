from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import judges
from support.domain.story import BATCH, FIRST, PARTITION, Story, requested
from support.engine.fake_producer import FakeProducer, ProcessEndedError, no_exit
from support.engine.scraped import samples

from cj_stream.content.client import ContentUnavailable, TextMissing
from cj_stream.contracts.comparison_api import Accepted, ImmediateVerdict, NotAccepted
from cj_stream.domain.batch import Batch
from cj_stream.domain.due_outcomes import Outcome, OutcomeKind
from cj_stream.domain.events import (
    ComparisonFailed,
    ContentLoaded,
    Event,
    OutcomePublished,
    ProviderTold,
    SubmissionAccepted,
    VerdictReceived,
)
from cj_stream.domain.identifiers import CorrelationIds, read_correlation_id
from cj_stream.domain.records import Context, Overrides
from cj_stream.domain.reuse import Judgements
from cj_stream.domain.todo import Effect, LoadContent, PlanPairs, Publish, Submit, TellProvider
from cj_stream.effects import outcomes
from cj_stream.effects.carry_out import Effects
from cj_stream.engine.dispatcher import PostponedError
from cj_stream.engine.fence import Fence
from cj_stream.operations.metrics import Metrics
from cj_stream.operations.settings import Settings
from cj_stream.provider.client import ProviderUntold, Submission
from cj_stream.provider.prompts import JudgingInstructions, judging

IDS = CorrelationIds(b"a key")
ATTEMPT: dict[str, Any] = {"batch_id": BATCH, "run": 1, "index": 3, "attempt": 2}


async def _no_judgements(_batch: Batch) -> None:
    return None


class Outside:
    """Content service and provider: tells what is submitted, and gives one answer to everything."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer
        self.fence = Fence(session_timeout=10)
        self.submissions: list[Submission] = []
        self.found: Judgements | None = None
        self.cancelled: list[str] = []
        self.untold: ProviderUntold | None = None
        self.silence = 0.0
        self.missing: dict[str, Exception] = {}
        self.trouble: str | None = None
        self.metrics = Metrics(dict, dict, dict)

    async def text(self, storage_id: str) -> str:
        if storage_id in self.missing:
            raise self.missing[storage_id]
        self.fence.contact(self.fence._contact - self.silence)
        return f"the text of {storage_id}"

    async def submit(self, submission: Submission) -> Any:
        self.submissions.append(submission)
        return self.answer

    async def judgements(self, _batch: Batch) -> Judgements | None:
        return self.found

    def judging(self, overrides: Overrides, task: str | None) -> JudgingInstructions:
        return judging(task=task, rubric=overrides.judge_rubric, provider="p", model=overrides.model, temperature=0.0)

    async def cancel_run(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        if self.untold is not None:
            raise self.untold

    async def cancel_comparison(self, correlation_id: UUID) -> None:
        self.cancelled.append(str(correlation_id))

    def effects(self) -> Effects:
        parts: Any = {"content": self, "provider": self, "publisher": None}
        return Effects(
            Settings(), **parts, correlation_ids=IDS, fence=self.fence, metrics=self.metrics, judgements=self.judgements
        )

    async def carry_out(self, effect: Effect, batch: Batch) -> Any:
        return await self.effects()(effect, batch, PARTITION)


@pytest.fixture
def batch() -> Batch:
    story = Story()
    story.start(4)
    return story.batch


@pytest.mark.parametrize("attempt", [1, 2])
async def test_an_attempt_is_submitted_under_its_own_id_with_the_texts_in_presented_order(
    batch: Batch, attempt: int
) -> None:
    outside = Outside(NotAccepted(kind="failed", code="X", message="x"))
    await outside.carry_out(Submit(batch.batch_id, 1, 3, attempt), batch)
    (sent,) = outside.submissions
    first, second = (batch.roster.essays[position] for position in batch.pair(3))
    assert (sent.essay_a_id, sent.text_a) == (first.id, f"the text of {first.storage_id}")
    assert (sent.essay_b_id, sent.text_b) == (second.id, f"the text of {second.storage_id}")
    found = read_correlation_id(sent.correlation_id)
    assert found is not None
    assert (found.partition, found.index, found.attempt) == (PARTITION, 3, attempt)
    seal = IDS.seal(partition=PARTITION, batch_id=batch.batch_id, run=1)
    assert seal.verifies(found, (first.id, second.id))
    assert sent.is_retry == (attempt > 1)


async def test_a_busy_provider_is_asked_again_when_it_says(batch: Batch) -> None:
    outside = Outside(NotAccepted(kind="busy", code="X", message="x", retry_after_seconds=42.0))
    with pytest.raises(PostponedError) as postponed:
        await outside.carry_out(Submit(batch.batch_id, 1, 0, 1), batch)
    assert postponed.value.seconds == 42.0


@pytest.mark.parametrize(("waited", "gives_up"), [(3599.0, False), (3600.0, True)])
async def test_an_attempt_is_used_up_only_after_a_whole_deadline_of_refusals(
    batch: Batch, monkeypatch: pytest.MonkeyPatch, *, waited: float, gives_up: bool
) -> None:
    now = 1000.0
    monkeypatch.setattr("cj_stream.effects.patience.time.monotonic", lambda: now)
    outside = Outside(NotAccepted(kind="busy", code="HTTP_503", message="out of order"))
    effects = outside.effects()
    submit = Submit(batch.batch_id, 1, 0, 1)
    end = now + waited
    while now < end:
        with pytest.raises(PostponedError):
            await effects(submit, batch, PARTITION)
        now = min(now + 600, end)
    if gives_up:
        failed = await effects(submit, batch, PARTITION)
        assert isinstance(failed, ComparisonFailed)
        assert (failed.error_code, failed.attempt, failed.answered) == ("HTTP_503", 1, False)
        assert "out of order" in failed.error_message
    with pytest.raises(PostponedError):
        await effects(submit, batch, PARTITION)


async def test_an_acceptance_ends_the_time_of_refusals(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("cj_stream.effects.patience.time.monotonic", lambda: now)
    outside = Outside(NotAccepted(kind="busy", code="HTTP_503", message="out of order"))
    effects = outside.effects()
    submit = Submit(batch.batch_id, 1, 0, 1)
    with pytest.raises(PostponedError):
        await effects(submit, batch, PARTITION)
    outside.answer, busy = Accepted("q"), outside.answer
    await effects(submit, batch, PARTITION)
    now, outside.answer = now + 3600, busy
    with pytest.raises(PostponedError):
        await effects(submit, batch, PARTITION)


async def test_a_worker_out_of_touch_since_it_began_to_load_texts_submits_nothing(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_exit(monkeypatch, "fence")
    outside = Outside(NotAccepted(kind="failed", code="X", message="x"))
    outside.silence = 4.0
    with pytest.raises(ProcessEndedError):
        await outside.carry_out(Submit(batch.batch_id, 1, 0, 1), batch)
    assert outside.submissions == []


async def test_a_temperature_of_zero_is_told_as_it_was_asked_for() -> None:
    story = Story()
    asked = requested(3)
    story.tell(replace(asked, context=replace(asked.context, overrides=Overrides(temperature=0.0))))
    story.play(judges)
    assert outcomes._metadata(story.batch, Settings(llm_temperature=0.7)).temperature == 0.0


async def test_an_outcome_is_reported_when_the_broker_has_it_and_not_before() -> None:
    story = Story()
    story.tell(requested(3))
    batch = story.play(judges)
    producer = FakeProducer()
    outside: Any = Outside()
    effects = Effects(
        Settings(),
        content=outside,
        provider=outside,
        publisher=producer.publisher(),
        correlation_ids=IDS,
        fence=outside.fence,
        metrics=Metrics(dict, dict, dict),
        judgements=_no_judgements,
    )
    outcome = Outcome(OutcomeKind.COMPLETED, FIRST)
    publishing = asyncio.create_task(effects(Publish(batch.batch_id, 1, outcome), batch, PARTITION))
    for _ in range(20):
        await asyncio.sleep(0)
    assert [record.topic for record in producer.records] == [Settings().assessment_completed_topic]
    assert not publishing.done()
    producer.acknowledge(0)
    assert await publishing == OutcomePublished(batch_id=batch.batch_id, run=1, outcome=outcome.name)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Accepted(queue_id="q"), "accepted"),
        (
            ImmediateVerdict(winner="A", confidence=4.0, justification="", provider="p", model="m"),
            "judged",
        ),
        *((NotAccepted(kind=kind, code="X", message="x"), kind) for kind in ("busy", "failed", "refused")),
    ],
)
async def test_each_submission_is_counted_once_by_what_came_of_it(batch: Batch, answer: Any, outcome: str) -> None:
    outside = Outside(answer)
    with suppress(PostponedError):
        await outside.carry_out(Submit(batch.batch_id, 1, 0, 1), batch)
    assert samples(outside.metrics, "cj_submissions_total") == {("outcome", outcome): 1.0}


@pytest.mark.parametrize(
    ("answer", "report"),
    [
        (Accepted(queue_id="q"), SubmissionAccepted(**ATTEMPT)),
        (
            ImmediateVerdict(winner="B", confidence=2.0, justification="so", provider="p", model="m"),
            VerdictReceived(**ATTEMPT, winner="B", confidence=2.0, justification="so", provider="p", model="m"),
        ),
        (
            NotAccepted(kind="refused", code="X", message="no"),
            ComparisonFailed(**ATTEMPT, error_code="X", error_message="no"),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_an_answer_becomes_the_report_of_its_own_attempt(batch: Batch, answer: Any, report: Event) -> None:
    assert await Outside(answer).carry_out(Submit(BATCH, 1, 3, 2), batch) == report


@pytest.mark.parametrize(
    ("context", "instructions"),
    [
        (Context(instructions="compare", prompt_storage_id="task"), "compare"),
        (Context(prompt_storage_id="task"), "the text of task"),
        (Context(), None),
    ],
)
async def test_the_judge_is_told_the_task_and_what_was_asked_of_it(context: Context, instructions: str | None) -> None:
    overrides, story, outside = Overrides(model="asked"), Story(), Outside(Accepted(queue_id="q"))
    story.tell(replace(requested(4), context=replace(context, overrides=overrides)))
    story.carry_out(LoadContent, PlanPairs)
    await outside.carry_out(Submit(BATCH, 1, 0, 1), story.batch)
    (sent,) = outside.submissions
    assert (sent.instructions, sent.overrides) == (instructions, overrides)
    assert (sent.batch_id, sent.job_id) == (BATCH, f"{BATCH}-1")


async def test_texts_that_are_missing_are_told_with_their_places_and_a_service_that_is_away_is_waited_for(
    batch: Batch,
) -> None:
    outside = Outside()
    outside.missing = {"storage-1": TextMissing("storage-1", "blank")}
    loaded = await outside.carry_out(LoadContent(BATCH, 1), batch)
    assert isinstance(loaded, ContentLoaded)
    assert loaded.unusable == {1: str(outside.missing["storage-1"])}
    assert [text == b"" for text in loaded.texts] == [False, True, False, False]
    assert loaded.texts[2] == sha256(b"the text of storage-2").digest()[:16]
    asked = outside.judging(batch.roster.context.overrides, None)
    assert loaded.question_sha256 == asked.sha256
    assert json.loads(loaded.question)["template"] == asked.template
    outside.missing = {"storage-2": ContentUnavailable("away")}
    with pytest.raises(PostponedError, match="away"):
        await outside.carry_out(LoadContent(BATCH, 1), batch)


async def test_an_attempt_whose_text_is_missing_fails_without_being_submitted(batch: Batch) -> None:
    outside = Outside()
    first = batch.roster.essays[batch.pair(3)[0]].storage_id
    outside.missing = {first: TextMissing(first, "blank")}
    failed = await outside.carry_out(Submit(BATCH, 1, 3, 2), batch)
    assert failed == ComparisonFailed(**ATTEMPT, error_code="TEXT_MISSING", error_message=str(outside.missing[first]))
    assert outside.submissions == []


def test_every_effect_can_be_carried_out() -> None:
    parts: Any = dict.fromkeys(
        ("content", "provider", "publisher", "correlation_ids", "fence", "metrics", "judgements")
    )
    assert set(Effects(Settings(), **parts)._handlers) == set(Effect.__subclasses__())


@pytest.mark.parametrize(("minutes", "seconds"), [(None, 0.0), (10.0, 900.0), (24 * 60.0, 36 * 3600.0)])
async def test_the_wait_that_the_provider_expects_is_reported_with_a_margin(
    batch: Batch, minutes: float | None, seconds: float
) -> None:
    outside = Outside(Accepted("q", minutes))
    accepted = await outside.carry_out(Submit(batch.batch_id, 1, 0, 1), batch)
    assert isinstance(accepted, SubmissionAccepted)
    assert accepted.expected_wait == seconds
    assert outside.cancelled == []


async def test_a_judge_slower_than_allowed_is_refused_with_the_setting_named_and_called_off(batch: Batch) -> None:
    outside = Outside(Accepted("q", 24 * 60 + 1))
    failed = await outside.carry_out(Submit(batch.batch_id, 1, 0, 1), batch)
    assert isinstance(failed, ComparisonFailed)
    assert failed.error_code == "JUDGE_TOO_SLOW"
    assert "CJ_SLOWEST_JUDGE_HOURS" in failed.error_message
    assert outside.cancelled == [str(outside.submissions[0].correlation_id)]


async def test_the_provider_is_told_which_run_has_ended(batch: Batch) -> None:
    outside = Outside()
    told = await outside.carry_out(TellProvider(batch.batch_id, 1), batch)
    assert told == ProviderTold(batch_id=batch.batch_id, run=1)
    assert outside.cancelled == [f"{batch.batch_id}-1"]


async def test_a_provider_that_is_away_is_told_later_and_given_up_after_a_deadline(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("cj_stream.effects.patience.time.monotonic", lambda: now)
    outside = Outside()
    outside.untold = ProviderUntold("out of order")
    effects = outside.effects()
    tell = TellProvider(batch.batch_id, 1)
    for _ in range(6):
        with pytest.raises(PostponedError, match="out of order"):
            await effects(tell, batch, PARTITION)
        now += 600
    told = await effects(tell, batch, PARTITION)
    assert told == ProviderTold(batch_id=batch.batch_id, run=1, why_not="out of order")


async def test_a_provider_that_refuses_to_be_told_is_told_once(batch: Batch) -> None:
    outside = Outside()
    outside.untold = ProviderUntold("status 400", passes=False)
    told = await outside.carry_out(TellProvider(batch.batch_id, 1), batch)
    assert told == ProviderTold(batch_id=batch.batch_id, run=1, why_not="status 400")

"""Each metric counts what its name says. Those of submissions: ``agents/test_effects.py``."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace
from support.domain.scripted_judges import errs, judges, judges_late, judges_twice, keeps_silent, refuses
from support.domain.story import BATCH, FIRST, SECOND, Judge, Story, requested
from support.engine.scraped import samples, value
from support.wire.contract_samples import document, encoded, raw, with_value
from support.wire.ingress import METRICS, Ingress

from cj_stream.domain.draft import Change, Note, NoteKind
from cj_stream.domain.events import Action, Event, OperatorCommand
from cj_stream.domain.policy import Policy
from cj_stream.domain.states import BatchState
from cj_stream.engine.conditions import ConditionKind, Conditions
from cj_stream.operations import metrics as metrics_module
from cj_stream.operations.away import Away
from cj_stream.operations.metrics import Metrics

HOUR = 3600.0


class CountedStory(Story):
    """A story whose decisions are counted, as the batch agent has them counted."""

    def __init__(self, policy: Policy | None = None, **parts: Any) -> None:
        self.conditions = Conditions(lambda: self.now)
        self.lost: dict[str, int] = {}
        self.metrics = Metrics(
            lambda: Counter(batch.state for batch in self.batches),
            lambda: self.conditions.counts(Away),
            lambda: self.lost,
        )
        super().__init__(policy, **parts)

    def deliver(self, *events: Event, at: float | None = None) -> list[Change]:
        changes = super().deliver(*events, at=at)
        for change in changes:
            self.metrics.observe(change.deleted or change.batch, change.notes)
        return changes

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        return samples(self.metrics, name)

    def value(self, name: str, *labels: str) -> float:
        return value(self.metrics, name, *labels)


@pytest.fixture
def story() -> CountedStory:
    return CountedStory()


def test_a_comparison_counts_as_failed_when_its_attempts_are_used_up_and_not_before() -> None:
    story = CountedStory(Policy(max_attempts=3, retry_pool_size=1))
    story.start(4)
    for attempt in (1, 2):
        story.tell(story.acceptance(0, attempt))
        story.tell(story.error(0, attempt))
        assert story.value("cj_comparison_attempts_failed_total", "code", "EXTERNAL_SERVICE_ERROR") == attempt
        assert story.samples("cj_comparisons_total") == {}
    story.tell(story.refusal(0, attempt=3))
    assert story.samples("cj_comparisons_total") == {("status", "failed"): 1.0}
    assert story.samples("cj_comparison_attempts_failed_total") == {
        ("code", "EXTERNAL_SERVICE_ERROR"): 2.0,
        ("code", "REFUSED"): 1.0,
    }


@pytest.mark.parametrize("judge", [judges, judges_twice, judges_late, refuses, errs, keeps_silent])
def test_at_the_end_every_comparison_was_counted_as_it_is(judge: Judge) -> None:
    story = CountedStory()
    story.tell(requested(5))
    batch = story.play(judge)
    counted = {("status", "completed"): batch.progress.judged, ("status", "failed"): batch.progress.exhausted}
    assert story.samples("cj_comparisons_total") == {labels: count for labels, count in counted.items() if count}
    assert batch.progress.judged + batch.progress.exhausted > 0


def test_a_verdict_that_counts_is_counted_once_and_others_by_why_they_do_not(story: CountedStory) -> None:
    story.start(3)
    story.tell(story.verdict(0))
    assert story.samples("cj_callbacks_processed_total") == {("status", "success"): 1.0}
    story.tell(story.verdict(0))
    story.tell(stray(story))
    story.tell(story.error(1))
    assert story.samples("cj_callbacks_processed_total") == {("status", "success"): 1.0, ("status", "error"): 1.0}
    story.tell(OperatorCommand(batch_id=BATCH, action=Action.CANCEL))
    story.tell(story.verdict(2))
    assert story.samples("cj_callbacks_ignored_total") == {
        ("why", "duplicate"): 1.0,
        ("why", "orphan"): 1.0,
        ("why", "late"): 1.0,
    }
    assert story.samples("cj_callbacks_processed_total") == {("status", "success"): 1.0, ("status", "error"): 1.0}


def stray(story: CountedStory) -> Event:
    """Return a verdict under an id that is not ours."""
    return replace(story.verdict(1), correlation_id=UUID(FIRST), batch_id="nobody's")


def test_requests_are_counted_by_what_became_of_them(story: CountedStory) -> None:
    story.start(3)
    story.tell(requested(3))
    story.tell(requested(3))
    story.tell(requested(3, SECOND))
    story.tell(requested(4, SECOND, content="other"))
    assert story.samples("cj_requests_total") == {
        ("outcome", "batch_started"): 1.0,
        ("outcome", "request_repeated"): 2.0,
        ("outcome", "request_joined"): 1.0,
        ("outcome", "request_refused"): 1.0,
    }


def test_moves_and_decisions_are_counted_by_where_they_lead(story: CountedStory) -> None:
    story.tell(requested(3))
    story.play(judges)
    assert story.samples("cj_batch_transitions_total") == {
        ("state", "GENERATING_PAIRS"): 1.0,
        ("state", "WAITING_CALLBACKS"): 1.0,
        ("state", "SCORING"): 1.0,
        ("state", "COMPLETED"): 1.0,
    }
    assert story.samples("cj_decisions_total") == {("decision", "TRIGGER_FINAL_SCORING"): 1.0}
    story.tell(requested(3, SECOND, content="other"))
    story.play(refuses)
    assert story.value("cj_batch_transitions_total", "state", "FAILED") == 1
    assert story.value("cj_batch_transitions_total", "state", "GENERATING_PAIRS") == 2
    assert story.value("cj_decisions_total", "decision", "PUBLISH_FAILURE") == 1


def test_the_state_of_each_batch_is_told_when_somebody_asks(story: CountedStory) -> None:
    assert story.samples("cj_batch_state") == {}
    story.start(3)
    story.tell(requested(3, batch_id="another"))
    assert story.samples("cj_batch_state") == {("state", "WAITING_CALLBACKS"): 1.0, ("state", "INITIALIZING"): 1.0}


def test_what_is_degraded_is_counted_by_kind_as_long_as_it_lasts(story: CountedStory) -> None:
    for subject in ("requests 0", "requests 1"):
        story.conditions.begin(ConditionKind.STANDING_PARTITION, subject, "what", "meaning")
    assert story.samples("cj_conditions") == {("kind", "standing_partition"): 2.0}
    exposed = story.metrics.exposition().decode()
    assert all(f'cj_conditions{{kind="{kind}"}}' in exposed for kind in ConditionKind)
    story.conditions.end(ConditionKind.STANDING_PARTITION, "requests 0")
    assert story.samples("cj_conditions") == {("kind", "standing_partition"): 1.0}


def test_a_completed_batch_is_measured_once(story: CountedStory) -> None:
    story.tell(requested(9))
    batch = story.play(judges)
    assert batch.iteration > 1
    took = (batch.control.finished_at or 0.0) - batch.control.created_at
    measured = {
        "cj_batch_processing_duration_seconds": took,
        "cj_iterations_per_batch": batch.iteration,
        "cj_batch_progress_percentage": 100.0,
    }
    for name, sum_of_one in measured.items():
        assert story.value(f"{name}_count") == 1
        assert story.value(f"{name}_sum") == pytest.approx(sum_of_one)


def test_a_failed_batch_took_its_time_and_has_neither_progress_nor_iterations(story: CountedStory) -> None:
    story.tell(requested(4))
    batch = story.play(errs)
    assert batch.state is BatchState.FAILED
    took = (batch.control.finished_at or 0.0) - batch.control.created_at
    assert story.value("cj_batch_processing_duration_seconds_sum") == pytest.approx(took)
    assert story.value("cj_batch_processing_duration_seconds_count") == 1
    assert story.value("cj_iterations_per_batch_count") == story.value("cj_batch_progress_percentage_count") == 0


def test_the_change_of_scores_is_measured_at_each_fit_that_has_one_before(story: CountedStory) -> None:
    story.tell(requested(9))
    changes = [fit.largest_change for fit in story.play(judges).scores]
    known = [change for change in changes if change is not None]
    assert len(known) > 1
    assert story.value("cj_score_stability_changes_count") == len(known)
    assert story.value("cj_score_stability_changes_sum") == pytest.approx(sum(known))


@pytest.mark.parametrize(("verdicts", "counted"), [(6, "recovered"), (1, "failed")])
def test_a_stuck_batch_is_counted_by_how_it_ended(verdicts: int, counted: str) -> None:
    story = CountedStory(Policy(batch_timeout=HOUR, timeout_completion_pct=50.0, completion_threshold_pct=100))
    story.start(5)
    for index in range(verdicts):
        story.tell(story.verdict(index))
    story.now += 2 * HOUR
    story.tell(story.due())
    other = {"recovered": "failed", "failed": "recovered"}[counted]
    assert story.value(f"cj_stuck_batches_{counted}_total") == 1
    assert story.value(f"cj_stuck_batches_{other}_total") == 0
    story.finish()
    assert story.batch.state == {"recovered": "COMPLETED", "failed": "FAILED"}[counted]


async def test_refused_input_is_counted_by_reason_and_unreadable_callbacks_once_more() -> None:
    ingress = Ingress()
    requests, callbacks = ingress.settings.assessment_request_topic, ingress.settings.llm_provider_callback_topic
    before = samples(METRICS, "cj_dead_letters_total").get(("reason", "not_json"), 0.0)
    errors = value(METRICS, "cj_callback_processing_errors_total")
    await ingress.take(requests, b"no JSON")  # handled twice
    assert value(METRICS, "cj_dead_letters_total", "reason", "not_json") == before + 2
    assert value(METRICS, "cj_callback_processing_errors_total") == errors
    await ingress.take(callbacks, b"no JSON")
    assert value(METRICS, "cj_dead_letters_total", "reason", "not_json") == before + 4
    assert value(METRICS, "cj_callback_processing_errors_total") == errors + 2


async def test_the_way_of_a_callback_is_measured_and_never_negative(monkeypatch: pytest.MonkeyPatch) -> None:
    ingress = Ingress()
    callbacks = ingress.settings.llm_provider_callback_topic
    sent = with_value(document("callback_success.json"), "event_timestamp", "2026-03-04T09:12:00Z")
    moment = 0.0
    monkeypatch.setattr("cj_stream.agents.callbacks.time.time", lambda: moment)
    seconds, count = (value(METRICS, f"cj_callback_latency_seconds_{kind}") for kind in ("sum", "count"))
    moment = 1772615520.0 + 7  # seven seconds later
    await ingress.take(callbacks, encoded(sent))
    assert value(METRICS, "cj_callback_latency_seconds_sum") == pytest.approx(seconds + 2 * 7)
    moment = 1772615520.0 - 3600  # its clock is ahead
    await ingress.take(callbacks, encoded(sent))
    assert value(METRICS, "cj_callback_latency_seconds_sum") == pytest.approx(seconds + 2 * 7)
    assert value(METRICS, "cj_callback_latency_seconds_count") == count + 4
    await ingress.take(callbacks, raw("callback_success.json")[:50])
    assert value(METRICS, "cj_callback_latency_seconds_count") == count + 4


def test_records_that_were_gone_unread_are_counted_by_topic(story: CountedStory) -> None:
    assert story.samples("cj_lost_input_records") == {}
    story.lost["requests"] = 7
    assert story.samples("cj_lost_input_records") == {("topic", "requests"): 7.0}


def test_a_breaker_that_is_not_closed_is_a_series_of_its_scope() -> None:
    states = {"openai/gpt": 2}
    metrics = Metrics(dict, dict, dict, lambda: states)
    assert samples(metrics, "cj_breaker_state") == {("scope", "openai/gpt"): 2.0}
    states.clear()
    assert samples(metrics, "cj_breaker_state") == {}


def test_an_error_code_that_is_a_text_or_one_too_many_is_counted_as_another() -> None:
    metrics = Metrics(dict, dict, dict)
    codes = ["TIMEOUT", "I saw the smugglers", *(f"CODE_{number}" for number in range(metrics_module.CODES_TOLD))]
    metrics.observe(None, [Note(NoteKind.ATTEMPT_FAILED, code) for code in codes])
    told = metrics.exposition().decode()
    assert 'code="TIMEOUT"' in told
    assert "smugglers" not in told
    assert f'code="CODE_{metrics_module.CODES_TOLD - 1}"' not in told
    assert 'cj_comparison_attempts_failed_total{code="other"} 2.0' in told

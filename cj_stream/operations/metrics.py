"""The metrics of the service, in a registry of their own, under the names of the specification."""

from __future__ import annotations

import re
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any, assert_never

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cj_stream.domain.batch import Batch
from cj_stream.domain.draft import Note, NoteKind
from cj_stream.domain.states import BatchState

LATENCY_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 120, 300)
DURATION_SECONDS = (60, 300, 600, 1800, 3600, 7200)
PERCENTAGES = (50, 60, 70, 80, 90, 95, 99, 100)
ITERATIONS = (1, 2, 3, 4, 5, 10)
SCORE_CHANGES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5)
CODES_TOLD = 100
"""So many error codes have a series of their own: they come from outside, and a series is for ever."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


class Metrics:
    """Counts what happens.

    At scrape time ``states`` is asked how many batches are in each state, ``conditions`` how many things of each
    kind are not as they should be, ``lost`` how many records of each topic were gone before they could be read, and
    ``breakers`` which providers and models are held up.
    """

    def __init__(
        self,
        states: Callable[[], Mapping[BatchState, int]],
        conditions: Callable[[], Mapping[StrEnum, int]],
        lost: Callable[[], Mapping[str, int]],
        breakers: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        registry = self._registry = CollectorRegistry()
        self._codes: set[str] = set()
        self._noted: Tally[tuple[NoteKind, str]] = Tally()
        """Notes that the counters do not have yet: to them each would cost ten times as much, see `exposition`."""
        registry.register(_Asked("cj_batch_state", "Batches of this worker in each state.", "state", states))
        registry.register(_Asked("cj_conditions", "What is degraded at this worker, by kind.", "kind", conditions))
        registry.register(
            _Asked(
                "cj_lost_input_records", "Records deleted unread, since the worker started, by topic.", "topic", lost
            )
        )
        held_up = "Circuit breakers that are not closed, by provider and model: 1 may be probed, 2 open."
        registry.register(_Asked("cj_breaker_state", held_up, "scope", breakers))
        counter, histogram = partial(Counter, registry=registry), partial(Histogram, registry=registry)

        self.requests = counter("cj_requests_total", "Requests, by what became of them.", ["outcome"])
        self.dead_letters = counter("cj_dead_letters_total", "Input sent to the dead letters, by reason.", ["reason"])
        self.unpublished = counter(
            "cj_unpublished_total", "Records that their topic will never take, by what they are.", ["what"]
        )

        self.callbacks = counter("cj_callbacks_processed_total", "Total callbacks processed.", ["status"])
        self.callback_errors = counter("cj_callback_processing_errors_total", "Callbacks refused as unreadable.")
        self.callbacks_ignored = counter(
            "cj_callbacks_ignored_total", "Callbacks that changed nothing: duplicate, late or orphan.", ["why"]
        )
        self.callback_latency = histogram(
            "cj_callback_latency_seconds", "Time between callback sent and received.", buckets=LATENCY_SECONDS
        )
        self.submissions = counter("cj_submissions_total", "Submissions to the LLM provider, by outcome.", ["outcome"])
        self.breaker_changes = counter(
            "cj_breaker_changes_total", "What circuit breakers to providers and models did.", ["change"]
        )
        self.attempts_failed = counter(
            "cj_comparison_attempts_failed_total", "Attempts that failed, by error code.", ["code"]
        )
        self.comparisons = counter("cj_comparisons_total", "Total comparisons processed.", ["status"])

        self.transitions = counter("cj_batch_transitions_total", "Batches that moved to a state.", ["state"])
        self.decisions = counter("cj_decisions_total", "Decisions taken, by kind.", ["decision"])
        self.progress = histogram(
            "cj_batch_progress_percentage", "Progress percentage when batch completes.", buckets=PERCENTAGES
        )
        self.duration = histogram(
            "cj_batch_processing_duration_seconds", "Total time to process a batch.", buckets=DURATION_SECONDS
        )
        self.iterations = histogram(
            "cj_iterations_per_batch", "Number of iterations needed for stability.", buckets=ITERATIONS
        )
        self.score_changes = histogram(
            "cj_score_stability_changes", "Maximum score change between iterations.", buckets=SCORE_CHANGES
        )
        self.stuck_detected = Gauge(
            "cj_stuck_batches_detected", "Batches past a deadline when windows were last closed.", registry=registry
        )
        self.stuck_recovered = counter("cj_stuck_batches_recovered_total", "Stuck batches scored with what was there.")
        self.stuck_failed = counter("cj_stuck_batches_failed_total", "Batches failed due to being stuck.")

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        noted, self._noted = self._noted, Tally()
        for (kind, detail), times in noted.items():
            self._count(kind, detail, times)
        return generate_latest(self._registry)

    def observe(self, batch: Batch | None, notes: Iterable[Note]) -> None:
        """Count what a decision noted; ``batch`` is as it is afterwards."""
        for note in notes:
            self._noted[note.kind, note.detail] += 1
            if note.kind is NoteKind.SCORES_CHANGED:
                self.score_changes.observe(note.value)
            elif note.kind is NoteKind.STATE_CHANGED and batch is not None and batch.finished:
                self._finished(batch)

    def _count(self, kind: NoteKind, detail: str, times: int) -> None:  # noqa: C901 (one case for each kind of note)
        match kind:
            case NoteKind.VERDICT_APPLIED:
                self.callbacks.labels("success").inc(times)
                self.comparisons.labels("completed").inc(times)
            case NoteKind.ATTEMPT_FAILED:
                self.callbacks.labels("error").inc(times)
                self.attempts_failed.labels(self._code(detail)).inc(times)
            case NoteKind.COMPARISON_EXHAUSTED:
                self.comparisons.labels("failed").inc(times)
            case NoteKind.CALLBACK_DUPLICATE | NoteKind.CALLBACK_LATE | NoteKind.CALLBACK_ORPHAN:
                self.callbacks_ignored.labels(kind.removeprefix("callback_")).inc(times)
            case NoteKind.STATE_CHANGED:
                self.transitions.labels(detail).inc(times)
            case NoteKind.DECIDED:
                self.decisions.labels(detail).inc(times)
            case NoteKind.OUTCOME_REFUSED:
                self.unpublished.labels(detail).inc(times)
            case NoteKind.TIMEOUT_RECOVERED:
                self.stuck_recovered.inc(times)
            case NoteKind.TIMEOUT_FAILED:
                self.stuck_failed.inc(times)
            case (
                NoteKind.BATCH_STARTED | NoteKind.REQUEST_REPEATED | NoteKind.REQUEST_JOINED | NoteKind.REQUEST_REFUSED
            ):
                self.requests.labels(kind).inc(times)
            case (
                NoteKind.SCORES_CHANGED  # observed with its value, see `observe`
                | NoteKind.EVENT_STALE
                | NoteKind.EVENT_REPLAYED
                | NoteKind.COMMAND_IGNORED
                | NoteKind.BATCH_DELETED
            ):
                pass  # not counted
            case _:
                assert_never(kind)

    def _code(self, code: str) -> str:
        """Return the label of an error code, anybody's text: what is no code, or one too many, is ``other``."""
        if code not in self._codes and len(self._codes) < CODES_TOLD and _CODE.fullmatch(code):
            self._codes.add(code)
        return code if code in self._codes else "other"

    def _finished(self, batch: Batch) -> None:
        control = batch.control
        self.duration.observe((control.finished_at or control.state_since) - control.created_at)
        if batch.state is BatchState.COMPLETED:
            self.progress.observe(batch.progress_pct)
            self.iterations.observe(batch.iteration)


class _Asked(Collector):
    """A gauge whose values are asked for when it is scraped; it has a series for each key there is."""

    def __init__(self, name: str, text: str, label: str, ask: Callable[[], Mapping[Any, int]]) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._ask = ask

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily(self._name, self._text, labels=[self._label])
        for key, count in self._ask().items():
            gauge.add_metric([str(key)], count)
        yield gauge

"""The metrics of the service, in a registry of their own, under the names of the specification."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cj_stream.domain.batch import Batch
from cj_stream.domain.draft import Note, NoteKind
from cj_stream.domain.states import BatchState


class Metrics:
    """Counts what happens. ``states`` is asked at scrape time how many batches are in each state."""

    def __init__(self, states: Callable[[], Mapping[BatchState, int]]) -> None:
        registry = self._registry = CollectorRegistry()
        registry.register(_States(states))
        self.callbacks = Counter(
            "cj_callbacks_processed_total", "Callbacks processed, by status.", ["status"], registry=registry
        )
        self.callback_errors = Counter(
            "cj_callback_processing_errors_total", "Callbacks refused as unreadable.", registry=registry
        )
        self.callback_latency = Histogram(
            "cj_callback_latency_seconds",
            "Time between callback sent and received.",
            buckets=[0.1, 0.5, 1, 5, 10, 30, 60, 120, 300],
            registry=registry,
        )
        self.callbacks_ignored = Counter(
            "cj_callbacks_ignored_total",
            "Callbacks that changed nothing: duplicate, late or orphan.",
            ["why"],
            registry=registry,
        )
        self.comparisons = Counter(
            "cj_comparisons_total", "Comparisons settled, by status.", ["status"], registry=registry
        )
        self.attempts_failed = Counter(
            "cj_comparison_attempts_failed_total", "Attempts that failed, by error code.", ["code"], registry=registry
        )
        self.transitions = Counter(
            "cj_batch_transitions_total", "Batches that moved to a state.", ["state"], registry=registry
        )
        self.decisions = Counter("cj_decisions_total", "Decisions taken, by kind.", ["decision"], registry=registry)
        self.requests = Counter(
            "cj_requests_total", "Requests, by what became of them.", ["outcome"], registry=registry
        )
        self.progress = Histogram(
            "cj_batch_progress_percentage",
            "Progress percentage when batch completes.",
            buckets=[50, 60, 70, 80, 90, 95, 99, 100],
            registry=registry,
        )
        self.duration = Histogram(
            "cj_batch_processing_duration_seconds",
            "Total time to process a batch.",
            buckets=[60, 300, 600, 1800, 3600, 7200],
            registry=registry,
        )
        self.iterations = Histogram(
            "cj_iterations_per_batch",
            "Number of iterations needed for stability.",
            buckets=[1, 2, 3, 4, 5, 10],
            registry=registry,
        )
        self.score_changes = Histogram(
            "cj_score_stability_changes",
            "Maximum score change between iterations.",
            buckets=[0.001, 0.005, 0.01, 0.05, 0.1, 0.5],
            registry=registry,
        )
        self.stuck_detected = Gauge(
            "cj_stuck_batches_detected", "Batches found past a deadline when a window last closed.", registry=registry
        )
        self.stuck_recovered = Counter(
            "cj_stuck_batches_recovered_total", "Batches recovered from a stuck state.", registry=registry
        )
        self.stuck_failed = Counter(
            "cj_stuck_batches_failed_total", "Batches failed because they were stuck.", registry=registry
        )
        self.dead_letters = Counter(
            "cj_dead_letters_total", "Input sent to the dead-letter topic, by reason.", ["reason"], registry=registry
        )
        self.submissions = Counter(
            "cj_submissions_total", "Submissions to the LLM provider, by outcome.", ["outcome"], registry=registry
        )

    def exposition(self) -> bytes:
        """Return the metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def observe(self, batch: Batch | None, notes: Iterable[Note]) -> None:
        """Count what a decision noted; ``batch`` is as it is afterwards."""
        for note in notes:
            self._observe(note)
            if note.kind is NoteKind.STATE_CHANGED and batch is not None and batch.finished:
                self._finished(batch)

    def _observe(self, note: Note) -> None:  # noqa: C901 (one case for each kind of note, each one line)
        match note.kind:
            case NoteKind.VERDICT_APPLIED:
                self.callbacks.labels("success").inc()
                self.comparisons.labels("completed").inc()
            case NoteKind.ATTEMPT_FAILED:
                self.callbacks.labels("error").inc()
                self.attempts_failed.labels(note.detail).inc()
            case NoteKind.COMPARISON_EXHAUSTED:
                self.comparisons.labels("failed").inc()
            case NoteKind.CALLBACK_DUPLICATE | NoteKind.CALLBACK_LATE | NoteKind.CALLBACK_ORPHAN:
                self.callbacks_ignored.labels(note.kind.removeprefix("callback_")).inc()
            case NoteKind.STATE_CHANGED:
                self.transitions.labels(note.detail.rpartition(" ")[2]).inc()
            case NoteKind.DECIDED:
                self.decisions.labels(note.detail).inc()
            case NoteKind.SCORES_CHANGED:
                self.score_changes.observe(note.value)
            case NoteKind.TIMEOUT_RECOVERED:
                self.stuck_recovered.inc()
            case NoteKind.TIMEOUT_FAILED:
                self.stuck_failed.inc()
            case (
                NoteKind.BATCH_STARTED | NoteKind.REQUEST_REPEATED | NoteKind.REQUEST_JOINED | NoteKind.REQUEST_REFUSED
            ):
                self.requests.labels(note.kind).inc()
            case _:
                pass

    def _finished(self, batch: Batch) -> None:
        control = batch.control
        self.duration.observe((control.finished_at or control.state_since) - control.created_at)
        if batch.state is BatchState.COMPLETED:
            self.progress.observe(batch.progress_pct)
            self.iterations.observe(control.iteration)


class _States(Collector):
    def __init__(self, states: Callable[[], Mapping[BatchState, int]]) -> None:
        self._states = states

    def collect(self) -> Iterable[Metric]:
        gauge = GaugeMetricFamily("cj_batch_state", "Batches of this worker in each state.", labels=["state"])
        counts = self._states()
        for state in BatchState:
            gauge.add_metric([state.value], counts.get(state, 0))
        yield gauge

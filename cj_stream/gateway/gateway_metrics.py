"""The metrics of a gateway, as Prometheus reads them. None has a text, a key or an id in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cj_stream.gateway.lines import Line
from cj_stream.provider.breaker import BreakerState


class Metrics:
    """Counts what happens; ``lines`` and ``queue`` are asked when somebody reads."""

    def __init__(self, lines: Callable[[], Iterator[Line]], queue: Callable[[], tuple[int, int]]) -> None:
        self.registry = registry = CollectorRegistry()
        self.posts = Counter(
            "cj_gateway_posts_total", "Comparisons asked for, by status.", ["status"], registry=registry
        )
        self.calls = Counter("cj_gateway_calls_total", "Calls of judges that were begun.", ["scope"], registry=registry)
        self.failures = Counter(
            "cj_gateway_failed_calls_total", "Calls that the provider did not answer.", ["scope"], registry=registry
        )
        self.pauses = Counter(
            "cj_gateway_pauses_total", "Calls that the provider answered with a wait.", ["scope"], registry=registry
        )
        self.published = Counter("cj_gateway_published_total", "Answers published, copies included.", registry=registry)
        self.refused = Counter(
            "cj_gateway_refused_answers_total", "Answers that their topic will never take.", registry=registry
        )
        registry.register(_Asked(lines, queue))


class _Asked(Collector):
    def __init__(self, lines: Callable[[], Iterator[Line]], queue: Callable[[], tuple[int, int]]) -> None:
        self._lines = lines
        self._queue = queue

    def collect(self) -> Iterator[Metric]:
        jobs, size = self._queue()
        yield GaugeMetricFamily("cj_gateway_unanswered_jobs", "Jobs of this gateway without an answer.", jobs)
        yield GaugeMetricFamily("cj_gateway_unanswered_bytes", "Bytes of their texts.", size)
        waiting = GaugeMetricFamily("cj_gateway_waiting_calls", "Calls that wait for their turn.", labels=["scope"])
        calling = GaugeMetricFamily("cj_gateway_calls_under_way", "Calls that hold a place.", labels=["scope"])
        breaker = GaugeMetricFamily("cj_gateway_breaker_open", "1 while the breaker is open.", labels=["scope"])
        for line in self._lines():
            waiting.add_metric([line.scope], line.waiting)
            calling.add_metric([line.scope], line.calling)
            breaker.add_metric([line.scope], float(line.breaker is not BreakerState.CLOSED))
        yield from (waiting, calling, breaker)

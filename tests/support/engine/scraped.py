"""What somebody reads who scrapes the metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from cj_stream.operations.metrics import Metrics

Labels = tuple[str, ...]


def samples(metrics: Metrics, name: str) -> dict[Labels, float]:
    """Return the samples of a metric that are not 0, by their labels: name, value, name, value ..."""
    families = text_string_to_metric_families(metrics.exposition().decode())
    return {
        tuple(text for label in sorted(sample.labels.items()) for text in label): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name and sample.value
    }


def value(metrics: Metrics, name: str, *labels: str) -> float:
    """Return one sample of a metric, 0 when there is none."""
    return samples(metrics, name).get(labels, 0.0)

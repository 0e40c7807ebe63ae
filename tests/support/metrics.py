"""Metrics in Prometheus' text format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families


def read(text: str, pipeline: str = "small") -> dict[tuple[str, ...], float]:
    """(name, label values beside the pipeline's ...) -> value."""
    values: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("pipeline") == pipeline
            values[sample.name.removeprefix("gatecast_"), *labels.values()] = sample.value
    return values

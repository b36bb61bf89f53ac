"""Metrics as a scraper reads them."""

from __future__ import annotations

from collections import Counter

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from telemetrix.testing import CapturedTelemetry
from tests.telemetry.endings import Case


def openmetrics_families(registry: CollectorRegistry) -> list[Metric]:
    """The families of a registry, written in the OpenMetrics format and read from it."""
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return list(text_string_to_metric_families(text.decode()))  # type: ignore[no-untyped-call]


def nonzero(captured: CapturedTelemetry, family: str, *labels: str) -> Counter[tuple[str, ...]]:
    """The series of a family about `ops.*` that are not 0, by these labels."""
    found: Counter[tuple[str, ...]] = Counter()
    for metric in captured.registry.collect():
        for sample in metric.samples:
            if sample.name == family and sample.value and sample.labels.get("operation", "").startswith("ops."):
                found[tuple(sample.labels[label] for label in labels)] += int(sample.value)
    return found


def calls(captured: CapturedTelemetry) -> Counter[tuple[str, ...]]:
    """The calls that were counted: primitive, operation, outcome, reason."""
    return nonzero(captured, "telemetrix_calls_total", "primitive", "operation", "outcome", "reason")


def expected_calls(cases: list[Case]) -> Counter[tuple[str, ...]]:
    """The calls that these cases make, in the same words."""
    return Counter(
        tuple(str(word) for word in (primitive, case.name, outcome, reason))
        for case in cases
        for primitive, outcome, reason in (case.ending, *case.also)
    )


def labels_of(registry: CollectorRegistry, name: str) -> list[dict[str, str]]:
    """The labels of every series of that name."""
    return [s.labels for family in registry.collect() for s in family.samples if s.name == name]

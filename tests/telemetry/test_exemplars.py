"""Exemplars: the duration histogram points to the trace of a sampled call, and to nothing otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from prometheus_client import CollectorRegistry, generate_latest

from telemetrix import CircuitBreaker, retry, subscribe
from telemetrix.telemetry.metrics import PrometheusMetrics
from telemetrix.telemetry.tracing import OpenTelemetryTraces
from telemetrix.testing import CapturedTelemetry, Script, capture
from tests.telemetry.endings import fails, function
from tests.telemetry.exposition import openmetrics_families
from tests.telemetry.spans import span_id, trace_id


class Found(NamedTuple):
    """An exemplar as a scraper reads it."""

    family: str
    labels: dict[str, str]
    exemplar: dict[str, str]
    value: float


def exemplars(registry: CollectorRegistry) -> list[Found]:
    return [
        Found(family.name, sample.labels, sample.exemplar.labels, sample.exemplar.value)
        for family in openmetrics_families(registry)
        for sample in family.samples
        if sample.exemplar
    ]


@pytest.fixture
def unsampled() -> Iterator[CollectorRegistry]:
    """Metrics beside a tracer that samples nothing."""
    registry = CollectorRegistry()
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    with subscribe(OpenTelemetryTraces(provider)), subscribe(PrometheusMetrics(registry)):
        yield registry


def test_exemplar__of_a_sampled_call__names_its_own_span(telemetrix_capture: CapturedTelemetry) -> None:
    retry(function("ops.exemplar", Script([1])))()
    (found,) = exemplars(telemetrix_capture.registry)
    (span,) = [span for span in telemetrix_capture.spans if span.name == "retry ops.exemplar"]
    assert found.family == "telemetrix_call_duration_seconds"
    assert found.labels["operation"] == "ops.exemplar"
    assert found.exemplar == {
        "trace_id": trace_id(span),
        "span_id": span_id(span),
    }
    assert found.value == telemetrix_capture.metric(
        "telemetrix_call_duration_seconds_sum", operation="ops.exemplar", outcome="success"
    )


def test_exemplars__of_two_primitives_in_one_trace__name_each_its_span(telemetrix_capture: CapturedTelemetry) -> None:
    body = function("ops.exemplar_both", fails)
    with pytest.raises(ValueError, match="secret"):
        retry(2, 0)(CircuitBreaker()(body))()
    found = {one.labels["primitive"]: one.exemplar for one in exemplars(telemetrix_capture.registry)}
    spans = {span_id(span): span for span in telemetrix_capture.spans}
    assert {primitive: spans[exemplar["span_id"]].name for primitive, exemplar in found.items()} == {
        "retry": "retry ops.exemplar_both",
        "circuit_breaker": "circuit_breaker ops.exemplar_both",
    }
    assert len({exemplar["trace_id"] for exemplar in found.values()}) == 1


def test_exemplars__in_the_classic_text_format__are_left_out(telemetrix_capture: CapturedTelemetry) -> None:
    retry(function("ops.exemplar_text", Script([1])))()
    assert "trace_id" not in generate_latest(telemetrix_capture.registry).decode()


def test_exemplars__unsampled__are_none(unsampled: CollectorRegistry) -> None:
    retry(function("ops.exemplar_unsampled", Script([1])))()
    assert exemplars(unsampled) == []
    count = unsampled.get_sample_value(
        "telemetrix_call_duration_seconds_count",
        {"primitive": "retry", "operation": "ops.exemplar_unsampled", "outcome": "success"},
    )
    assert count == 1


def test_exemplars__without_tracing__are_none() -> None:
    with capture(spans=None) as captured:
        retry(2, 0)(function("ops.exemplar_untraced", Script([ValueError, 1])))()
        assert exemplars(captured.registry) == []


def test_exemplar__of_a_call_merged_into_a_surrounding_span__names_that_span() -> None:
    with capture(spans="compact") as captured:
        body = function("ops.exemplar_compact", Script([1]))
        retry(CircuitBreaker()(body))()
        found = {one.labels["primitive"]: one.exemplar["span_id"] for one in exemplars(captured.registry)}
        spans = {span_id(span) for span in captured.spans}
        assert found.keys() == {"retry", "circuit_breaker"}
        assert set(found.values()) <= spans

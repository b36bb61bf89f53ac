"""telemetrix.configure: what it changes, and that it changes nothing when it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracerProvider
from prometheus_client import REGISTRY, CollectorRegistry

from telemetrix import configure, retry
from telemetrix.bus import default_bus
from telemetrix.telemetry.metrics import PrometheusMetrics
from telemetrix.telemetry.setup import _installed
from telemetrix.testing import Script
from tests.telemetry.endings import function

WORDS = {"primitive": "retry", "outcome": "success", "reason": "first_try"}


def counted(registry: CollectorRegistry, name: str) -> float | None:
    return registry.get_sample_value("telemetrix_calls_total", {**WORDS, "operation": name})


def tracer() -> tuple[TracerProvider, InMemorySpanExporter]:
    provider, exporter = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def state() -> tuple[object, ...]:
    """Everything that `configure` can change."""
    return (_installed.settings, default_bus._subscriptions, set(REGISTRY._collector_to_names))  # noqa: SLF001


# Refusing


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("metrics", 1),
        ("metrics", None),
        ("tracing", "yes"),
        ("logging", 0),
        ("exception_details", None),
        ("registry", None),
        ("registry", object()),
        ("registry", CollectorRegistry),
        ("tracer_provider", object()),
        ("tracer_provider", TracerProvider),
    ],
)
def test_configure__of_the_wrong_type__is_refused_by_name_and_changes_nothing(setting: str, value: object) -> None:
    before = state()
    settings: dict[str, Any] = {"metrics": False, "spans": "compact", "registry": CollectorRegistry(), setting: value}
    with pytest.raises(TypeError, match=f"{setting}=.*is not allowed"):
        configure(**settings)
    assert state() == before


@pytest.mark.parametrize("value", ["", "ALL", "none", None, 1, True])
def test_configure__unknown_span_detail__is_refused_and_changes_nothing(value: Any) -> None:
    before = state()
    with pytest.raises((TypeError, ValueError), match=r"spans=.*'all' or 'compact'"):
        configure(spans=value, metrics=False)
    assert state() == before


def test_configure__span_detail_that_cannot_be_hashed__is_refused_by_name() -> None:
    with pytest.raises((TypeError, ValueError), match="spans="):
        configure(spans=["all"])  # type: ignore[arg-type]


def test_configure__unknown_setting__is_refused() -> None:
    with pytest.raises(TypeError, match="metric"):
        configure(metric=True)  # type: ignore[call-arg]


def test_configure__registry_that_has_the_metrics_already__is_refused_and_changes_nothing() -> None:
    taken = CollectorRegistry()
    PrometheusMetrics(taken)
    before = state()
    with pytest.raises(ValueError, match="telemetrix_calls"):
        configure(registry=taken, spans="compact")
    assert state() == before


# Changing


def test_configure__nothing_named__changes_nothing() -> None:
    before = state()
    configure()
    assert state() == before


def test_configure__the_same_again__replaces_nothing() -> None:
    configure(registry=CollectorRegistry(), spans="compact")
    before = state()
    configure(registry=_installed.settings.registry, spans="compact", metrics=True)
    assert state() == before


def test_configure__another_registry__moves_the_metrics_of_functions_decorated_before() -> None:
    first, second = CollectorRegistry(), CollectorRegistry()
    guarded = retry(function("ops.moved", Script([1])))
    configure(registry=first)
    guarded()
    configure(registry=second)
    guarded()
    guarded()
    assert counted(second, "ops.moved") == 2
    assert counted(first, "ops.moved") is None
    assert list(first.collect()) == []
    assert not any(isinstance(collector, PrometheusMetrics) for collector in REGISTRY._collector_to_names)  # noqa: SLF001


def test_configure__back_to_the_first_registry__is_allowed() -> None:
    configure(registry=CollectorRegistry())
    configure(registry=REGISTRY)
    guarded = retry(function("ops.moved_back", Script([1])))
    guarded()
    assert counted(REGISTRY, "ops.moved_back") == 1


def test_configure__metrics_off__counts_nothing_until_they_are_on_again() -> None:
    registry = CollectorRegistry()
    configure(registry=registry)
    guarded = retry(function("ops.off_and_on", Script([1])))
    guarded()
    configure(metrics=False)
    assert list(registry.collect()) == []
    guarded()
    guarded()
    configure(metrics=True)
    assert counted(registry, "ops.off_and_on") == 0
    guarded()
    assert counted(registry, "ops.off_and_on") == 1


def test_configure__registry_while_metrics_are_off__is_used_once_they_are_on() -> None:
    registry = CollectorRegistry()
    configure(metrics=False)
    configure(registry=registry)
    assert list(registry.collect()) == []
    configure(metrics=True)
    guarded = retry(function("ops.registry_first", Script([1])))
    guarded()
    assert counted(registry, "ops.registry_first") == 1


def test_configure__everything_off__leaves_nobody_to_tell() -> None:
    configure(metrics=False, tracing=False, logging=False)
    assert default_bus.watch is None
    assert not default_bus.counting
    assert retry(2, 0)(function("ops.all_off", Script([ValueError, 7])))() == 7


def test_configure__tracer_provider__traces_functions_decorated_before() -> None:
    guarded = retry(function("ops.traced_later", Script([1])))
    guarded()
    provider, exporter = tracer()
    configure(tracer_provider=provider)
    guarded()
    assert [span.name for span in exporter.get_finished_spans()] == [
        "attempt ops.traced_later",
        "retry ops.traced_later",
    ]


def test_configure__another_tracer_provider__replaces_the_first() -> None:
    (first, seen_first), (second, seen_second) = tracer(), tracer()
    guarded = retry(function("ops.traced_elsewhere", Script([1])))
    configure(tracer_provider=first)
    configure(tracer_provider=second)
    guarded()
    assert (len(seen_first.get_finished_spans()), len(seen_second.get_finished_spans())) == (0, 2)


def test_configure__tracer_provider_none__is_the_global_one_again() -> None:
    provider, exporter = tracer()
    configure(tracer_provider=provider)
    configure(tracer_provider=None)
    retry(function("ops.traced_globally", Script([1])))()
    assert exporter.get_finished_spans() == ()


def test_configure__tracing_off__makes_no_spans() -> None:
    provider, exporter = tracer()
    configure(tracer_provider=provider, tracing=False)
    retry(function("ops.untraced", Script([1])))()
    assert exporter.get_finished_spans() == ()


def test_configure__no_op_provider_of_the_api__is_allowed() -> None:
    configure(tracer_provider=NoOpTracerProvider())
    assert retry(function("ops.no_op", Script([1])))() == 1


def test_configure__compact_and_details__reach_the_spans() -> None:
    provider, exporter = tracer()
    configure(tracer_provider=provider, spans="compact", exception_details=True)
    body = function("ops.detailed", Script([ValueError("shown")]))
    with pytest.raises(ValueError, match="shown"):
        retry(1)(retry(1)(body))()
    outer = exporter.get_finished_spans()[-1]
    assert [span.name for span in exporter.get_finished_spans()].count("retry ops.detailed") == 1
    assert outer.events[-1].attributes is not None
    assert outer.events[-1].attributes["exception.message"] == "shown"


def test_configure__metrics_replaced__keep_trace_ids_as_exemplars() -> None:
    provider, _ = tracer()
    registry = CollectorRegistry()
    configure(tracer_provider=provider)
    configure(registry=registry)
    configure(tracer_provider=tracer()[0])
    retry(function("ops.still_exemplary", Script([1])))()
    assert any(sample.exemplar for family in registry.collect() for sample in family.samples)

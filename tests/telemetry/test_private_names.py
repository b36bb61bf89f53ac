"""The private names of other packages that telemetrix relies on: a release that renames one is noticed here."""

from __future__ import annotations

import contextvars

import prometheus_client
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, Histogram

from telemetrix.telemetry import tracing
from telemetrix.telemetry.series import _observe_many
from tests.services import run_python


def test_prometheus_client__histogram__has_a_bucket_per_bound_and_a_sum() -> None:
    registry = CollectorRegistry()
    child = Histogram("h", "Help.", ["label"], buckets=(1, 2), registry=registry).labels("a")
    assert child._upper_bounds == [1.0, 2.0, float("inf")]  # noqa: SLF001
    assert len(child._buckets) == 3  # noqa: SLF001
    assert all(bucket.get() == 0 for bucket in child._buckets)  # noqa: SLF001
    assert child._sum.get() == 0  # noqa: SLF001


def test_prometheus_client__buckets_added_to__are_not_cumulative_inside_and_are_outside() -> None:
    registry = CollectorRegistry()
    added, observed = (
        Histogram(name, "Help.", ["label"], buckets=(1, 2), registry=registry).labels("a") for name in ("a", "o")
    )
    for value in (0.5, 0.5, 1.5, 1.5, 1.5, 5):
        observed.observe(value)
    _observe_many(added, [2, 3, 1], 10.5)
    assert _samples(registry, "a") == _samples(registry, "o")
    assert ("_bucket", {"label": "a", "le": "2.0"}, 5.0) in _samples(registry, "a")


def _samples(registry: CollectorRegistry, name: str) -> list[tuple[str, dict[str, str], float]]:
    return [
        (sample.name.removeprefix(name), sample.labels, sample.value)
        for family in registry.collect()
        for sample in family.samples
        if family.name == name and not sample.name.endswith("_created")
    ]


def test_prometheus_client__metric_without_a_registry__can_be_collected_by_hand() -> None:
    counter = prometheus_client.Counter("c_total", "Help.", ["label"], registry=None)
    counter.labels("a").inc()
    assert [family.name for family in counter.describe()] == ["c"]
    assert [sample.value for family in counter.collect() for sample in family.samples][0] == 1  # noqa: RUF015


def test_opentelemetry__global_provider__is_where_we_look() -> None:
    assert hasattr(trace, "_TRACER_PROVIDER")
    seen = run_python("""
import json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from telemetrix.telemetry.tracing import OpenTelemetryTraces, _global_provider_is_set
traces = OpenTelemetryTraces()
before = [_global_provider_is_set(), traces.is_listening(), trace._TRACER_PROVIDER is None]
trace.set_tracer_provider(TracerProvider(shutdown_on_exit=False))
print(json.dumps([before, [_global_provider_is_set(), traces.is_listening(), trace._TRACER_PROVIDER is None]]))
""")
    assert seen == [[False, False, True], [True, True, False]]


def test_opentelemetry__suppression_key__is_the_one_that_exporters_set() -> None:
    assert tracing._SUPPRESSED == context._SUPPRESS_INSTRUMENTATION_KEY  # noqa: SLF001


def test_opentelemetry__token_of_an_attached_context__can_be_reset_by_itself() -> None:
    token = context.attach(context.get_current())
    assert isinstance(token, contextvars.Token)
    tracing._leave(token)  # noqa: SLF001


def test_opentelemetry__start_span_by_hand__records_no_exception_by_itself() -> None:
    span = (
        TracerProvider(shutdown_on_exit=False)
        .get_tracer("t")
        .start_span("s", record_exception=False, set_status_on_exception=False)
    )
    span.end()
    assert span.events == ()  # type: ignore[attr-defined]

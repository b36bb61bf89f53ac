"""Which spans there are: compact ones, unsampled ones, none while suppressed, and a provider that comes late."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

from telemetrix import CircuitBreaker, OperationTimeout, configure, fallback, retry, subscribe, timeout
from telemetrix.telemetry.tracing import OpenTelemetryTraces
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, capture
from tests.services import poll, run_python
from tests.telemetry.endings import fails, function
from tests.telemetry.spans import ERROR, UNSET, all_named, attributes, event_names, named

ORDER = "ops.order"


# Compact


def test_compact__primitives_of_one_operation__share_a_span_that_says_what_each_did(
    telemetrix_clock: VirtualClock,
) -> None:
    with capture(spans="compact") as captured:
        breaker = CircuitBreaker(name="compact")
        assert fallback(0)(retry(2, 1)(breaker(function(ORDER, fails))))() == 0
        assert captured.span_tree() == ["fallback ops.order", "  attempt ops.order", "  attempt ops.order"]
        found = attributes(named(captured, "fallback ops.order"))
        assert (found["outcome"], found["reason"]) == ("fallback", "served")
        assert (found["retry.outcome"], found["retry.reason"]) == ("failure", "exhausted")
        for attempt in all_named(captured, "attempt ops.order"):
            merged = attributes(attempt)
            assert merged["circuit.name"] == "compact"
            assert (merged["circuit_breaker.outcome"], merged["circuit_breaker.reason"]) == ("failure", "counted")
            assert attempt.status.status_code is ERROR
        assert named(captured, "fallback ops.order").status.status_code is UNSET


def test_compact__another_operation_inside__has_a_span_of_its_own() -> None:
    with capture(spans="compact") as captured:
        inner = fallback(0)(function("ops.inner", Script([1])))
        retry(1)(function(ORDER, inner))()
        assert captured.span_tree() == ["retry ops.order", "  attempt ops.order", "    fallback ops.inner"]


def test_compact__exception_leaving__is_recorded_once() -> None:
    with capture(spans="compact") as captured:
        with pytest.raises(ValueError, match="secret"):
            timeout(20)(retry(1)(function(ORDER, fails)))()
        recorded = [span.name for span in captured.spans for name in event_names(span) if name == "exception"]
        assert recorded == ["timeout ops.order"]


def test_compact__metrics_of_merged_primitives__are_counted_all_the_same() -> None:
    with capture(spans="compact") as captured:
        retry(1)(fallback(0)(function("ops.compact_metrics", fails)))()
        for primitive in ("retry", "fallback"):
            where = {"primitive": primitive, "operation": "ops.compact_metrics"}
            assert captured.metric("telemetrix_calls_total", **where) == 1


def test_compact__work_that_outlives_its_span__logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    go_on = threading.Event()
    with capture(spans="compact") as captured:
        body = function(ORDER, lambda: go_on.wait(20))
        with pytest.raises(OperationTimeout):
            timeout(0.005)(retry(1)(body))()
        go_on.set()
        poll(lambda: captured.metric("telemetrix_timeouts_abandoned_threads", operation=ORDER) == 0)
    # Its own warning of the timeout, and none of the SDK about an ended span.
    assert {record.name for record in caplog.records} == {"telemetrix"}


# Sampling


def test_unsampled__every_call__makes_no_span_and_counts() -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with subscribe(OpenTelemetryTraces(provider)), capture(spans=None) as captured:
        with pytest.raises(ValueError, match="secret"):
            retry(2, 0)(function("ops.unsampled", fails))()
        assert captured.metric("telemetrix_calls_total", operation="ops.unsampled") == 1
    assert exporter.get_finished_spans() == ()


def test_unsampled__parent_decides__children_follow_it() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0)), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    seen: list[bool] = []
    with subscribe(OpenTelemetryTraces(provider)):
        retry(1)(
            function(ORDER, lambda: seen.append(trace.get_current_span().get_span_context().trace_flags.sampled))
        )()
    assert seen == [False]
    assert exporter.get_finished_spans() == ()


# Suppression


def test_suppressed__a_call__makes_no_span_and_counts(telemetrix_capture: CapturedTelemetry) -> None:
    guarded = retry(2, 0)(function("ops.suppressed", Script([ValueError, 1])))
    token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001
    try:
        guarded()
    finally:
        context.detach(token)
    assert telemetrix_capture.spans == []
    assert telemetrix_capture.metric("telemetrix_calls_total", operation="ops.suppressed") == 1


def test_suppressed__within_a_span_of_the_users__leaves_that_span_alone(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    guarded = retry(2, 0)(function("ops.suppressed", Script([ValueError, 1])))
    with provider.get_tracer("user").start_as_current_span("request"):
        token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: SLF001
        try:
            guarded()
        finally:
            context.detach(token)
    (request,) = exporter.get_finished_spans()
    assert request.events == ()


def test_exporter__guarded_by_telemetrix_itself__does_not_trace_its_own_exports() -> None:
    exported: list[str] = []

    class Exporter(SpanExporter):
        @retry(2, 0)
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            exported.extend(span.name for span in spans)
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(Exporter()))
    with subscribe(OpenTelemetryTraces(provider)):
        retry(1)(function(ORDER, Script([1])))()
    assert exported == ["attempt ops.order", "retry ops.order"]


# A provider that comes late


def test_global_provider__set_after_decorating_and_calling__traces_the_very_next_call() -> None:
    seen = run_python("""
import json, telemetrix
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from telemetrix.bus import default_bus

@telemetrix.retry(2, 0, name="f")
def f(): pass

f()
before = default_bus.watch()
exporter = InMemorySpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
f()
print(json.dumps([before, [span.name for span in exporter.get_finished_spans()]]))
""")
    assert seen == [False, ["attempt f", "retry f"]]


def test_global_provider__set_during_a_call__leaves_that_call_alone_and_hurts_nothing() -> None:
    seen = run_python("""
import json, telemetrix
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter = InMemorySpanExporter()
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
calls = []

@telemetrix.retry(3, 0, name="f")
def f():
    calls.append(1)
    if len(calls) == 1:
        trace.set_tracer_provider(provider)
    if len(calls) < 3:
        raise ValueError

f()
print(json.dumps([len(calls), [span.name for span in exporter.get_finished_spans()]]))
""")
    assert seen == [3, []]


def test_import__of_telemetrix__brings_no_sdk_and_no_structlog_along() -> None:
    loaded = run_python("""
import json, sys, telemetrix
telemetrix.retry(2, 0)(lambda: None)()
print(json.dumps(sorted(name for name in sys.modules if name in {"opentelemetry.sdk", "structlog", "sqlalchemy"})))
""")
    assert loaded == []


# Beside another tracer


def test_spans__of_a_provider_that_the_application_configured__are_as_ever_while_capturing(
    telemetrix_clock: VirtualClock,
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    configure(tracer_provider=provider)
    with capture():
        retry(2, 1)(function(ORDER, Script([ValueError, 1])))()
    mine = exporter.get_finished_spans()
    assert [span.name for span in mine] == ["attempt ops.order", "attempt ops.order", "retry ops.order"]


def test_capture__beside_a_provider_of_the_application__sees_the_same_tree_and_events(
    telemetrix_clock: VirtualClock,
) -> None:
    configure(tracer_provider=TracerProvider(shutdown_on_exit=False))
    with capture() as captured:
        with pytest.raises(ValueError, match="secret"):
            retry(2, 1)(function(ORDER, fails))()
        assert captured.span_tree() == ["retry ops.order", "  attempt ops.order", "  attempt ops.order"]
        assert event_names(named(captured, "retry ops.order")) == ["retry.scheduled", "exception"]


def test_spans__as_json__can_be_exported_for_every_attribute_and_event(telemetrix_capture: CapturedTelemetry) -> None:
    with pytest.raises(ValueError, match="secret"):
        retry(2, 0)(CircuitBreaker(2, name="as json")(function(ORDER, fails)))()
    for span in telemetrix_capture.spans:
        assert json.loads(span.to_json())["name"] == span.name


def test_tracer__that_raises__changes_no_call_and_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(OpenTelemetryTraces):
        def attempt_started(self, call: object) -> None:
            raise RuntimeError("broken")

    provider = TracerProvider(shutdown_on_exit=False)
    caplog.set_level(logging.WARNING)
    with subscribe(Broken(provider)), capture(spans=None) as captured:
        assert retry(1)(function(ORDER, Script([1])))() == 1
        assert captured.metric("telemetrix_bus_subscriber_errors_total", subscriber="Broken") == 1
    assert trace.get_current_span() is trace.INVALID_SPAN

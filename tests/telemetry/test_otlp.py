"""Spans over real OTLP: through the exporter and a socket to a receiver, and what arrives is what was meant."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from telemetrix import CircuitBreaker, __version__, configure, fallback, retry, timeout
from telemetrix.testing import Script
from tests.services import OtlpReceiver, otlp_receiver
from tests.telemetry.endings import fails, function

ORDER = "ops.order"


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """A receiver, and telemetrix configured to send there; `flush` before looking."""
    with otlp_receiver() as receiver:
        yield receiver


@pytest.fixture
def provider(receiver: OtlpReceiver) -> Iterator[TracerProvider]:
    """Sends to the receiver."""
    provider = TracerProvider(resource=Resource({"service.name": "orders"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(receiver.endpoint, timeout=10)))
    configure(tracer_provider=provider)
    yield provider
    provider.shutdown()


def tree(spans: list[Span]) -> list[str]:
    """The spans as indented lines."""
    lines: list[str] = []

    def add(parent: bytes, depth: int) -> None:
        for span in sorted(spans, key=lambda span: span.start_time_unix_nano):
            if span.parent_span_id == parent:
                lines.append("  " * depth + span.name)
                add(span.span_id, depth + 1)

    add(b"", 0)
    return lines


def attribute(span: Span, key: str) -> str:
    (value,) = [entry.value.string_value for entry in span.attributes if entry.key == key]
    return value


def test_otlp__nested_primitives__arrive_with_the_right_parents(
    receiver: OtlpReceiver, provider: TracerProvider
) -> None:
    breaker = CircuitBreaker(name="otlp")
    assert fallback(0)(timeout(20)(retry(2, 0)(breaker(function(ORDER, Script([ValueError, 1]))))))() == 1
    assert provider.force_flush()
    assert tree(receiver.spans) == [
        "fallback ops.order",
        "  timeout ops.order",
        "    retry ops.order",
        "      attempt ops.order",
        "        circuit_breaker ops.order",
        "      attempt ops.order",
        "        circuit_breaker ops.order",
    ]
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert receiver.scopes == {("telemetrix", __version__)}
    assert {resource["service.name"] for resource in receiver.resources} == {"orders"}


def test_otlp__failed_call__arrives_with_status_attributes_and_events(
    receiver: OtlpReceiver, provider: TracerProvider
) -> None:
    with pytest.raises(ValueError, match="secret"):
        retry(2, 0)(function(ORDER, fails))()
    assert provider.force_flush()
    (call,) = [span for span in receiver.spans if span.name == "retry ops.order"]
    assert (call.status.code, call.status.message) == (Status.STATUS_CODE_ERROR, "exhausted")
    assert attribute(call, "telemetrix.reason") == "exhausted"
    assert attribute(call, "error.type") == "ValueError"
    assert [event.name for event in call.events] == ["retry.scheduled", "exception"]
    assert {span.kind for span in receiver.spans} == {Span.SPAN_KIND_INTERNAL}
    assert all(b"secret" not in span.SerializeToString() for span in receiver.spans)


def test_otlp__recovered_call__arrives_without_a_status(receiver: OtlpReceiver, provider: TracerProvider) -> None:
    retry(2, 0)(function(ORDER, Script([ValueError, 1])))()
    assert provider.force_flush()
    statuses = {span.name: span.status.code for span in receiver.spans if span.parent_span_id == b""}
    assert statuses == {"retry ops.order": Status.STATUS_CODE_UNSET}


def test_otlp__span_of_the_users_around_and_inside__is_in_the_same_trace(
    receiver: OtlpReceiver, provider: TracerProvider
) -> None:
    tracer = provider.get_tracer("user")

    def body() -> None:
        with tracer.start_as_current_span("query"):
            pass

    with tracer.start_as_current_span("request"):
        retry(1)(function(ORDER, body))()
    assert provider.force_flush()
    assert tree(receiver.spans) == ["request", "  retry ops.order", "    attempt ops.order", "      query"]


def test_otlp__many_calls__all_arrive_once(receiver: OtlpReceiver, provider: TracerProvider) -> None:
    guarded = retry(1)(function(ORDER, Script([1])))
    for _ in range(300):
        guarded()
    assert provider.force_flush()
    assert len(receiver.spans) == 600
    assert len({span.span_id for span in receiver.spans}) == 600


def test_otlp__receiver_gone__calls_go_on_as_if_nothing_were(
    provider: TracerProvider, caplog: pytest.LogCaptureFixture
) -> None:
    nowhere = TracerProvider(shutdown_on_exit=False)
    with otlp_receiver() as gone:
        endpoint = gone.endpoint
    nowhere.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=1)))
    configure(tracer_provider=nowhere)
    try:
        assert retry(2, 0)(function(ORDER, Script([ValueError, 7])))() == 7
    finally:
        nowhere.shutdown()

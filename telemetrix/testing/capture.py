"""The telemetry of a block of code, kept where a test can look at it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry

from telemetrix.bus import default_bus
from telemetrix.errors import MissingExtraError
from telemetrix.events import CircuitRegistered, Event, OperationRegistered
from telemetrix.telemetry.metrics import PrometheusMetrics
from telemetrix.telemetry.tracing import OpenTelemetryTraces, SpanDetail

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

E = TypeVar("E", bound=Event)


class CapturedTelemetry:
    """What was seen; counts begin with the capture, whatever happened before.

    Attributes:
        events: every event, in order (registrations left out).
        registry: the Prometheus registry that the metrics are in.
    """

    def __init__(self, registry: CollectorRegistry, exporter: InMemorySpanExporter | None) -> None:
        self.events: list[Event] = []
        self.registry = registry
        self._exporter = exporter

    @property
    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended, in the order they ended in."""
        if self._exporter is None:
            raise RuntimeError("spans are not captured: this capture was made with spans=None")
        return list(self._exporter.get_finished_spans())

    def of(self, kind: type[E]) -> list[E]:
        """The events of a class, subclasses included."""
        return [event for event in self.events if isinstance(event, kind)]

    def span_tree(self) -> list[str]:
        """The ended spans as lines, children indented by two spaces below their parent, in the order they began."""
        spans = sorted(self.spans, key=lambda span: span.start_time or 0)
        known = {span.context.span_id for span in spans if span.context is not None}
        lines: list[str] = []

        def add(parent: int | None, depth: int) -> None:
            for span in spans:
                above = span.parent.span_id if span.parent is not None else None
                if above == parent or (parent is None and above not in known):
                    lines.append("  " * depth + span.name)
                    if span.context is not None:
                        add(span.context.span_id, depth + 1)

        add(None, 0)
        return lines

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels; 0 if there is none.

        Parameters:
            name: as it is exposed, such as `telemetrix_calls_total` or `telemetrix_call_duration_seconds_count`.
            labels: the label values to select by.
        """
        return sum(
            sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


@contextmanager
def capture(*, spans: SpanDetail | None = "all", exception_details: bool = False) -> Generator[CapturedTelemetry]:
    """Capture the telemetry of the block, beside whatever else listens.

    Parameters:
        spans: as in `telemetrix.configure`; None captures no spans, and leaves calls on the fast path.
        exception_details: as in `telemetrix.configure`.

    Raises:
        MissingExtraError: spans are wanted and the OpenTelemetry SDK is not installed.
    """
    registry = CollectorRegistry()
    with ExitStack() as stack:
        exporter = None
        if spans is not None:
            exporter = _capture_spans(stack, spans, exception_details=exception_details)
        captured = CapturedTelemetry(registry, exporter)
        stack.enter_context(default_bus.subscribe(PrometheusMetrics(registry)))

        def keep(event: Event) -> None:
            if not isinstance(event, (OperationRegistered, CircuitRegistered)):
                captured.events.append(event)

        stack.enter_context(default_bus.subscribe(keep))
        yield captured


def _capture_spans(stack: ExitStack, spans: SpanDetail, *, exception_details: bool) -> InMemorySpanExporter:
    try:
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("telemetrix.testing.capture", "testing") from None
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = OpenTelemetryTraces(provider, spans=spans, exception_details=exception_details)
    stack.enter_context(default_bus.subscribe(tracing))
    return exporter

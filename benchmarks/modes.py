"""How much of its telemetry telemetrix has on while a case runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider


class Mode(StrEnum):
    """The settings a row can be measured under."""

    OFF = "telemetry off"
    DEFAULT = "default"
    LOGGED = "default, structlog on"
    UNSAMPLED = "SDK, unsampled"
    SAMPLED = "SDK, sampled"


A_FOLD = 1032
"""Calls in a sample where telemetrix queues what happened: it works the queue off 1,024 at a time, and
a sample has to contain its share of that. A multiple of `CALLS_PER_TURN`."""

_NEVER_MS = 3_600_000.0
_LIVE_SPANS = 1 << 15
"""More spans than a sample makes: the exporter's thread sleeps while a sample is timed."""


def switch(mode: Mode) -> Callable[[], None]:
    """A function that puts a mode in force, for `Case.prepare`."""

    def apply() -> None:
        if _Current.mode is not mode:
            # Forgotten first: if this fails half-way, the next case must not rely on it.
            _Current.mode = None
            _arrange_logs(mode)
            _configure(**_settings(mode))
            _Current.mode = mode

    return apply


def drain() -> None:
    """Hand the recorded spans to the exporter, for `Case.settle`."""
    _sampled_provider().force_flush()


@contextmanager
def recorded_spans() -> Generator[Sequence[ReadableSpan]]:
    """The spans that telemetrix made in the block, filled when it ends."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    _Current.mode = None
    _configure(**{**_settings(Mode.SAMPLED), "tracer_provider": provider})
    spans: list[ReadableSpan] = []
    yield spans
    spans += exporter.get_finished_spans()


@cache
def sampled_tracer() -> Any:
    """A tracer whose spans go to the same processor as telemetrix's."""
    return _sampled_provider().get_tracer("benchmarks")


class _Current:
    mode: Mode | None = None


def _configure(**settings: Any) -> None:
    import_module("telemetrix").configure(**settings)


def _settings(mode: Mode) -> dict[str, Any]:
    match mode:
        case Mode.OFF:
            return {"metrics": False, "tracing": False, "logging": False}
        case Mode.DEFAULT | Mode.LOGGED:
            return _seen(None)
        case Mode.UNSAMPLED:
            return _seen(_unsampled_provider())
        case Mode.SAMPLED:
            return _seen(_sampled_provider())


def _seen(provider: Any) -> dict[str, Any]:
    return {
        "metrics": True,
        "registry": _registry(),
        "tracing": True,
        "tracer_provider": provider,
        "logging": True,
    }


@cache
def _registry() -> Any:
    return import_module("prometheus_client").CollectorRegistry()


@cache
def _unsampled_provider() -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    return TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)


@cache
def _sampled_provider() -> TracerProvider:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )

    @dataclass
    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(
        BatchSpanProcessor(
            Nowhere(),
            max_queue_size=_LIVE_SPANS,
            max_export_batch_size=_LIVE_SPANS,
            schedule_delay_millis=_NEVER_MS,
        )
    )
    return provider


def _arrange_logs(mode: Mode) -> None:
    structlog = import_module("structlog")
    if mode is Mode.LOGGED:
        # A whole log line is built and rendered; only writing it out is left away.
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    else:
        structlog.reset_defaults()

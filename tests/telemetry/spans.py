"""Spans, as assertions read them."""

from __future__ import annotations

from typing import Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from telemetrix.testing import CapturedTelemetry

UNSET, ERROR = StatusCode.UNSET, StatusCode.ERROR


def named(captured: CapturedTelemetry, name: str) -> ReadableSpan:
    """The one span of that name."""
    (span,) = all_named(captured, name)
    return span


def all_named(captured: CapturedTelemetry, name: str) -> list[ReadableSpan]:
    """The spans of that name, in the order they began."""
    return sorted((span for span in captured.spans if span.name == name), key=lambda span: span.start_time or 0)


def trace_id(span: ReadableSpan) -> str:
    """Its trace, hexadecimal."""
    assert span.context is not None
    return format_trace_id(span.context.trace_id)


def span_id(span: ReadableSpan) -> str:
    """Its own id, hexadecimal."""
    assert span.context is not None
    return format_span_id(span.context.span_id)


def parent_id(span: ReadableSpan) -> str | None:
    """Its parent's id, hexadecimal."""
    return None if span.parent is None else format_span_id(span.parent.span_id)


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """A span's attributes, `telemetrix.` left out of their names."""
    return {key.removeprefix("telemetrix."): value for key, value in (span.attributes or {}).items()}


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    """A span's events: names and attributes."""
    return [(e.name, {k.removeprefix("telemetrix."): v for k, v in (e.attributes or {}).items()}) for e in span.events]


def event_names(span: ReadableSpan) -> list[str]:
    """The names of a span's events."""
    return [event.name for event in span.events]

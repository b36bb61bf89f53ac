"""Where spans go: nowhere, or by OTLP to the endpoint that OTEL_EXPORTER_OTLP_ENDPOINT names."""

from __future__ import annotations

import os
from typing import Final, Protocol

from opentelemetry.trace import NoOpTracerProvider, TracerProvider

from telemetrix import MissingExtraError

SCOPE: Final = "telemetrix.demo"

_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Spans(Protocol):
    """Somewhere for spans to go."""

    def provider(self, service: str) -> TracerProvider:
        """The tracer provider of a service of that name."""
        ...

    def stop(self) -> None:
        """Send what is left, but not for long; twice is allowed."""
        ...

    def account(self) -> str | None:
        """What became of the spans, one line; None if there are none."""
        ...


class NoSpans:
    """Spans are not wanted."""

    def provider(self, service: str) -> TracerProvider:  # noqa: ARG002 - as in Spans
        """One that makes nothing."""
        return NoOpTracerProvider()

    def stop(self) -> None:
        """Nothing is left to send."""

    def account(self) -> str | None:
        """There are none."""
        return None


def spans_to_endpoint() -> Spans:
    """Spans as the environment asks for them.

    Raises:
        MissingExtraError: it asks for them, and the OpenTelemetry SDK or its exporter is not installed.
    """
    endpoint = next((value for name in _VARIABLES if (value := os.environ.get(name, "").strip())), None)
    if endpoint is None:
        return NoSpans()
    try:
        from telemetrix.demo.otlp import OtlpSpans  # noqa: PLC0415 - a second to import, and optional
    except ImportError as error:
        raise MissingExtraError("sending spans to OTEL_EXPORTER_OTLP_ENDPOINT", "demo") from error
    return OtlpSpans(endpoint)

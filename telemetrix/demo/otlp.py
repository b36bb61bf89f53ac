"""Spans by OTLP over HTTP, sent in the background; an endpoint that does not answer costs spans and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

STOP_SECONDS: Final = 1.0
"""How long the last spans may take."""


class _CountingExporter(SpanExporter):
    """Passes spans on, counts what becomes of them, and can be told to let go."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._given_up = False
        self.sent = 0
        self.lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            if not self._given_up:
                result = self._exporter.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.sent += len(spans)
            else:
                self.lost += len(spans)
        return result

    def give_up(self) -> None:
        """Send no more, and stop waiting before the next try."""
        self._given_up = True
        self._exporter.shutdown()

    def shutdown(self) -> None:
        if not self._given_up:
            self._exporter.shutdown()


class OtlpSpans:
    """The spans of all services on their way to one endpoint.

    Parameters:
        endpoint: how it is called on the screen; the exporter reads the environment itself.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint.rpartition("@")[2]  # without a password
        self._exporter = _CountingExporter(OTLPSpanExporter(timeout=2))
        self._processor = BatchSpanProcessor(self._exporter, max_queue_size=8192, schedule_delay_millis=1000)
        self._stopped = False

    def provider(self, service: str) -> TracerProvider:
        """A tracer provider for a service of that name."""
        provider = TracerProvider(
            resource=Resource.create({"service.name": service, "service.namespace": "telemetrix-demo"}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(self._processor)
        return provider

    def stop(self) -> None:
        """Send what is left, for `STOP_SECONDS` at most."""
        if self._stopped:
            return
        self._stopped = True
        # On a thread, because the SDK's own shutdown may take half a minute.
        thread = threading.Thread(target=self._processor.shutdown, name="last-spans", daemon=True)
        thread.start()
        deadline = time.monotonic() + STOP_SECONDS
        thread.join(STOP_SECONDS)
        if thread.is_alive():
            self._exporter.give_up()
            thread.join(max(0.2, deadline - time.monotonic()))

    def account(self) -> str | None:
        """How many spans arrived."""
        sent, lost = self._exporter.sent, self._exporter.lost
        if not sent:
            return f"no span arrived at {self._endpoint}" if lost else f"spans go to {self._endpoint}"
        return f"{sent} spans sent to {self._endpoint}" + (f", {lost} lost" if lost else "")

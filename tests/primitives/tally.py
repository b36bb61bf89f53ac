"""What happened, for tests that need no metrics: those cost more the more operations a process has."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from typing import TypeVar

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from telemetrix import Call, Operation, Outcome, Primitive, Reason, Subscriber
from telemetrix._core.outcomes import ENDINGS
from telemetrix.bus import default_bus
from telemetrix.events import CircuitRegistered, Event, OperationRegistered
from telemetrix.telemetry.tracing import OpenTelemetryTraces
from telemetrix.testing import CapturedTelemetry

E = TypeVar("E", bound=Event)


class Tally(Subscriber):
    """Keeps events and finished calls, and reads uneventful successes from their cells, as the metrics do.

    Attributes:
        calls: the finished calls, without those that the cells count.
        events: every event, in order (registrations left out).
    """

    reads_successes = True

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.events: list[Event] = []
        self._rejected_before = {operation: operation.rejections[0] for operation in self._operations()}
        self._before = {operation: sum(operation.successes.counts) for operation in self._operations()}

    def record(self, call: Call) -> None:
        self.calls.append(call)

    def on_event(self, event: Event) -> None:
        if not isinstance(event, (OperationRegistered, CircuitRegistered)):
            self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of a class, subclasses included."""
        return [event for event in self.events if isinstance(event, kind)]

    def count(
        self,
        name: str | None = None,
        outcome: str | None = None,
        reason: str | None = None,
        *,
        primitive: Primitive = Primitive.RETRY,
    ) -> int:
        """How many calls of an operation (or of all of a primitive) ended in that way."""
        ending = (outcome, reason)
        recorded = [
            call
            for call in self.calls
            if call.operation.primitive is primitive
            and name in {None, call.operation.name}
            and _matches(ending, call.outcome, call.reason)
        ]
        in_cells = self._in_cells(primitive, name) if _matches(ending, *ENDINGS[primitive][0]) else 0
        rejected = self._rejected(primitive, name) if _matches(ending, Outcome.REJECTED, Reason.OPEN) else 0
        return len(recorded) + in_cells + rejected

    def attempts(self, name: str) -> int:
        """How many attempts all calls of a retry made."""
        return sum(call.attempts for call in self.calls if call.operation.name == name) + self._in_cells(
            Primitive.RETRY, name
        )

    def _rejected(self, primitive: Primitive, name: str | None) -> int:
        return sum(
            operation.rejections[0] - self._rejected_before.get(operation, 0)
            for operation in self._operations()
            if operation.primitive is primitive and name in {None, operation.name}
        )

    def _in_cells(self, primitive: Primitive, name: str | None) -> int:
        return sum(
            sum(operation.successes.counts) - self._before.get(operation, 0)
            for operation in self._operations()
            if operation.primitive is primitive and name in {None, operation.name}
        )

    @staticmethod
    def _operations() -> list[Operation]:
        return list(default_bus._operations.values())  # noqa: SLF001 - metrics learn of them one event at a time


def _matches(asked: tuple[str | None, str | None], outcome: Outcome | None, reason: Reason | None) -> bool:
    return asked[0] in {None, outcome} and asked[1] in {None, reason}


@cache
def _provider() -> tuple[TracerProvider, InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


@contextmanager
def spans_only() -> Generator[CapturedTelemetry]:
    """The spans of the block."""
    provider, exporter = _provider()
    exporter.clear()
    with default_bus.subscribe(OpenTelemetryTraces(provider)):
        yield CapturedTelemetry(CollectorRegistry(), exporter)

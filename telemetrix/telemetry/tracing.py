"""OpenTelemetry traces: one span per call of a primitive, one child span per attempt of a retry.

The span is current while the user's code runs, so what that code traces hangs below it. Spans are started and attached
by hand: the API's context manager costs a quarter more and records exceptions with their messages.
"""

from __future__ import annotations

import contextlib
import contextvars
import traceback
from typing import Any, Final, Literal, NamedTuple, cast

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TracerProvider

from telemetrix import events
from telemetrix._core.outcomes import Outcome, Primitive
from telemetrix._version import __version__
from telemetrix.calls import Call
from telemetrix.subscribers import Subscriber
from telemetrix.telemetry.names import error_type

SpanDetail = Literal["all", "compact"]

MAX_RETRY_EVENTS: Final = 32
"""`retry.scheduled` events on one span; the SDK would drop other events past 128."""

MAX_MESSAGE: Final = 1024
MAX_STACKTRACE: Final = 8192
"""Characters of an exception's message and stack trace on a span, when they were asked for."""

_LATEST: Final = otel_context.create_key("telemetrix-latest-span")
_SUPPRESSED: Final[str] = getattr(otel_context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
_SEEN_AS_ERROR: Final = {Outcome.FAILURE, Outcome.REJECTED, Outcome.TIMEOUT}


class _Surrounding(NamedTuple):
    """The telemetrix span that user code runs in, as the OpenTelemetry context carries it."""

    operation: str
    span: Span


class _Latest(NamedTuple):
    """Which subscriber entered a span last, and what was current before; two tracers must not see each other's."""

    owner: OpenTelemetryTraces
    span: Span
    before: Span


class _Shown(NamedTuple):
    """How a call is shown: its span, and how to leave it."""

    span: Span
    token: object
    outermost: bool


class OpenTelemetryTraces(Subscriber):
    """Makes spans of calls.

    Parameters:
        tracer_provider: where spans go; None is the global provider, also one that is set later. Without any, each call
            costs about 30 ns for asking.
        spans: `all`, or `compact`: a primitive that is surrounded by a telemetrix span of the same operation adds its
            attributes to that one instead of opening its own.
        exception_details: record messages and stack traces of exceptions too. They may hold users' data.
    """

    event_types: tuple[type[events.Event], ...] = (events.RetryScheduled, events.CircuitTransition)
    never_raises: bool = True

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        *,
        spans: SpanDetail = "all",
        exception_details: bool = False,
    ) -> None:
        self._provided = tracer_provider is not None
        self._tracer = trace.get_tracer("telemetrix", __version__, tracer_provider)
        self._key = otel_context.create_key("telemetrix-surrounding-span")
        self._opened: dict[str, SpanContext] = {}
        self._compact = spans == "compact"
        self._details = exception_details

    def is_listening(self) -> bool:
        """Whether there is a provider by now."""
        # The module's own variable, because asking the API costs 1.5 µs per call as long as there is none.
        return self._provided or _global_provider_is_set()

    def wants(self, kind: type[events.Event]) -> bool:
        """Events are shown on spans, so only where there may be one."""
        del kind
        return self._provided or _global_provider_is_set()

    # Calls

    def call_started(self, call: Call) -> None:
        """Open the call's span and make it current."""
        context = otel_context.get_current()
        if context.get(_SUPPRESSED):
            return
        surrounding = self._surrounding(context)
        operation = call.operation
        if self._compact and surrounding is not None and surrounding.operation == operation.name:
            _keep(call, self, _Shown(surrounding.span, None, outermost=False))
            _identify(call, surrounding.span)
            return
        attributes = {"telemetrix.primitive": operation.primitive.value, "telemetrix.operation": operation.name}
        if operation.function is not None:
            attributes["code.function.name"] = operation.function
        span, token = self._open(
            f"{operation.primitive.value} {operation.name}", operation.name, attributes, context, self._links(call)
        )
        _keep(call, self, _Shown(span, token, outermost=surrounding is None))
        _identify(call, span)

    def _links(self, call: Call) -> list[Link]:
        """A probe is linked to the trace that opened its circuit."""
        attributes = call.attributes or {}
        if attributes.get("telemetrix.circuit.state") != "half_open":
            return []
        opened = self._opened.get(attributes.get("telemetrix.circuit.name", ""))
        if opened is None or opened.trace_id == trace.get_current_span().get_span_context().trace_id:
            return []
        return [Link(opened)]

    def attempt_started(self, call: Call) -> None:
        """Open the attempt's span and make it current."""
        if call.notes is None or self not in call.notes:
            return
        operation = call.operation
        attributes: dict[str, Any] = {
            "telemetrix.operation": operation.name,
            "telemetrix.attempt.number": call.attempts,
        }
        if call.attempts > 1:
            attributes["telemetrix.retry.delay"] = call.wait
        span, token = self._open(
            f"attempt {operation.name}", operation.name, attributes, otel_context.get_current(), []
        )
        call.notes[self, "attempt"] = _Shown(span, token, outermost=False)

    def attempt_finished(self, call: Call, error: BaseException | None) -> None:
        """Close the attempt's span."""
        shown = call.notes.pop((self, "attempt"), None) if call.notes else None
        if shown is None:
            return
        _leave(shown.token)
        span = shown.span
        if span.is_recording():
            outcome = _attempt_outcome(error)
            span.set_attribute("telemetrix.outcome", outcome.value)
            if error is not None and outcome is Outcome.FAILURE:
                span.set_attribute("error.type", error_type(type(error)))
                span.set_status(Status(StatusCode.ERROR))
        span.end()

    def call_finished(self, call: Call) -> None:
        """Close the call's span."""
        shown = call.notes.pop(self, None) if call.notes else None
        if shown is None:
            return
        span = shown.span
        if shown.token is None:
            self._merge(call, span)
            return
        _leave(shown.token)
        try:
            if span.is_recording():
                self._describe(call, span, outermost=shown.outermost)
        finally:
            span.end()

    def _describe(self, call: Call, span: Span, *, outermost: bool) -> None:
        attributes: dict[str, Any] = dict(call.attributes or {})
        attributes["telemetrix.outcome"] = str(call.outcome)
        attributes["telemetrix.reason"] = str(call.reason)
        if call.operation.primitive is Primitive.RETRY:
            attributes["telemetrix.attempts"] = call.attempts
            attributes["telemetrix.retried"] = call.attempts > 1
        if call.outcome in _SEEN_AS_ERROR and call.error is not None:
            attributes["error.type"] = error_type(type(call.error))
            span.set_status(Status(StatusCode.ERROR, str(call.reason)))
            if outermost:
                span.add_event("exception", self._exception(call.error))
        span.set_attributes(attributes)

    def _merge(self, call: Call, span: Span) -> None:
        if not span.is_recording():
            return  # the work outlived the span it was to be shown on
        if call.operation.primitive is Primitive.RETRY:
            span.set_attributes({"telemetrix.attempts": call.attempts, "telemetrix.retried": call.attempts > 1})
        primitive = call.operation.primitive.value
        span.set_attributes(call.attributes or {})
        span.set_attributes(
            {
                f"telemetrix.{primitive}.outcome": str(call.outcome),
                f"telemetrix.{primitive}.reason": str(call.reason),
            }
        )

    def _exception(self, error: BaseException) -> dict[str, str]:
        attributes = {"exception.type": error_type(type(error))}
        if self._details:
            attributes["exception.message"] = str(error)[:MAX_MESSAGE]
            attributes["exception.stacktrace"] = "".join(traceback.format_exception(error))[-MAX_STACKTRACE:]
        return attributes

    # Events

    def on_event(self, event: events.Event) -> None:
        """Show retries and circuit transitions on the span they happened in."""
        if not self.is_listening():
            return
        context = otel_context.get_current()
        if context.get(_SUPPRESSED):
            return
        span = self._shown_span(context)
        if isinstance(event, events.CircuitOpened):
            self._opened[event.circuit] = span.get_span_context()
        if not span.is_recording():
            return
        if isinstance(event, events.CircuitTransition):
            name = f"circuit.{event.to_state.value}"
            span.add_event(name, _transition_attributes(event))
        elif isinstance(event, events.RetryScheduled) and event.attempt <= MAX_RETRY_EVENTS:
            span.add_event(
                "retry.scheduled",
                {
                    "telemetrix.attempt.number": event.attempt,
                    "telemetrix.retry.delay": event.wait,
                    "error.type": error_type(event.error_type),
                },
            )

    # Spans

    def _surrounding(self, context: otel_context.Context) -> _Surrounding | None:
        return cast("_Surrounding | None", context.get(self._key))

    def _shown_span(self, context: otel_context.Context) -> Span:
        """The span that what happens now belongs to: ours, or the user's where there is none of ours."""
        surrounding = self._surrounding(context)
        return self._parent(context) if surrounding is None else surrounding.span

    def _parent(self, context: otel_context.Context) -> Span:
        """The current span, unless another tracing subscriber of telemetrix made it."""
        current = trace.get_current_span(context)
        latest = cast("_Latest | None", context.get(_LATEST))
        if latest is None or latest.owner is self or latest.span is not current:
            return current
        surrounding = self._surrounding(context)
        return latest.before if surrounding is None else surrounding.span

    def _open(
        self, name: str, operation: str, attributes: dict[str, Any], context: otel_context.Context, links: list[Link]
    ) -> tuple[Span, object]:
        parent = self._parent(context)
        under = trace.set_span_in_context(parent, context)
        span = self._tracer.start_span(
            name, under, attributes=attributes, links=links, record_exception=False, set_status_on_exception=False
        )
        latest = cast("_Latest | None", context.get(_LATEST))
        current = trace.get_current_span(context)
        before = latest.before if latest is not None and latest.span is current else current
        inside = trace.set_span_in_context(span, context)
        inside = otel_context.set_value(_LATEST, _Latest(self, span, before), inside)
        return span, otel_context.attach(otel_context.set_value(self._key, _Surrounding(operation, span), inside))


def _identify(call: Call, span: Span) -> None:
    """Tell the metrics which span shows the call, for their exemplars."""
    identity = span.get_span_context()
    if identity.trace_flags.sampled and span.is_recording():
        call.trace = (trace.format_trace_id(identity.trace_id), trace.format_span_id(identity.span_id))


def _transition_attributes(event: events.CircuitTransition) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "telemetrix.circuit.name": event.circuit,
        "telemetrix.circuit.from_state": event.from_state.value,
        "telemetrix.circuit.state": event.to_state.value,
        "telemetrix.reason": event.reason.value,
        "telemetrix.circuit.failures": event.failures,
    }
    if event.last_error_type is not None:
        attributes["error.type"] = error_type(event.last_error_type)
    return attributes


def _keep(call: Call, key: object, shown: _Shown) -> None:
    if call.notes is None:
        call.notes = {key: shown}
    else:
        call.notes[key] = shown


def _leave(token: object) -> None:
    """Make the context from before current again."""
    if not isinstance(token, contextvars.Token):
        otel_context.detach(token)  # type: ignore[arg-type]
        return
    # A coroutine that is closed in another context than it ran in takes its context with it: there is nothing to
    # restore, and the API's detach would log an error for it.
    restorable = cast("contextvars.Token[object]", token)
    with contextlib.suppress(ValueError, RuntimeError):
        restorable.var.reset(restorable)


def _attempt_outcome(error: BaseException | None) -> Outcome:
    if error is None:
        return Outcome.SUCCESS
    return Outcome.FAILURE if isinstance(error, Exception) else Outcome.CANCELLED


def _global_provider_is_set() -> bool:
    return trace._TRACER_PROVIDER is not None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

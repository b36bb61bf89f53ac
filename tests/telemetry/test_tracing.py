"""Spans: their tree, names, attributes, statuses and events, case by case as docs/telemetry.md has them."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from telemetrix import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    RetryStrategy,
    __version__,
    batch_with_retry,
    fallback,
    retry,
    retrying,
    timeout,
)
from telemetrix.telemetry.tracing import MAX_MESSAGE, MAX_RETRY_EVENTS, MAX_STACKTRACE
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, capture
from tests.telemetry.endings import CASES, Case, fails, function
from tests.telemetry.spans import ERROR, UNSET, all_named, attributes, event_names, events, named, span_id, trace_id

ORDER = "ops.order"


@pytest.fixture
def captured(telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry) -> CapturedTelemetry:
    """Telemetry, waits for free. (The cases of `endings` run on the system clock, and take `telemetrix_capture`.)"""
    return telemetrix_capture


# The tree


def test_tree__retry_that_succeeds_at_once__is_a_call_with_one_attempt(captured: CapturedTelemetry) -> None:
    retry(function(ORDER, Script([1])))()
    assert captured.span_tree() == ["retry ops.order", "  attempt ops.order"]


def test_tree__retry_over_breaker__shows_each_attempt_and_what_it_did(captured: CapturedTelemetry) -> None:
    breaker = CircuitBreaker(name="tree of retry over breaker")
    retry(3, 1)(breaker(function(ORDER, Script([ValueError, ValueError, 1]))))()
    assert captured.span_tree() == [
        "retry ops.order",
        "  attempt ops.order",
        "    circuit_breaker ops.order",
        "  attempt ops.order",
        "    circuit_breaker ops.order",
        "  attempt ops.order",
        "    circuit_breaker ops.order",
    ]


def test_tree__all_primitives_nested__is_their_nesting(captured: CapturedTelemetry) -> None:
    body = function(ORDER, Script([1]))
    breaker = CircuitBreaker(name="tree of all")
    fallback(0)(timeout(5)(retry(breaker(body))))()
    assert captured.span_tree() == [
        "fallback ops.order",
        "  timeout ops.order",
        "    retry ops.order",
        "      attempt ops.order",
        "        circuit_breaker ops.order",
    ]


def test_tree__batch__has_a_retry_per_item(captured: CapturedTelemetry) -> None:
    assert batch_with_retry([1, 2], function(ORDER, Script([1]))) == ([1, 1], [])
    assert captured.span_tree() == [
        "batch ops.order",
        "  retry ops.order",
        "    attempt ops.order",
        "  retry ops.order",
        "    attempt ops.order",
    ]


def test_tree__retrying_block__is_that_of_a_retry(captured: CapturedTelemetry) -> None:
    script = Script([ValueError, 1])
    for attempt in retrying(3, name=ORDER):
        with attempt:
            script()
    assert captured.span_tree() == ["retry ops.order", "  attempt ops.order", "  attempt ops.order"]


def test_tree__breaker_as_a_block__is_a_call_of_the_circuit(captured: CapturedTelemetry) -> None:
    with CircuitBreaker(name="tree of a block"):
        pass
    assert captured.span_tree() == ["circuit_breaker tree of a block"]


def test_tree__user_span_around_and_inside__nests_in_both_directions(captured: CapturedTelemetry) -> None:
    tracer = _provider_of(captured).get_tracer("user")

    def body() -> None:
        with tracer.start_as_current_span("query"):
            pass

    with tracer.start_as_current_span("request"):
        retry(function(ORDER, body))()
    assert captured.span_tree() == ["request", "  retry ops.order", "    attempt ops.order", "      query"]
    assert len({trace_id(span) for span in captured.spans}) == 1


def _provider_of(captured: CapturedTelemetry) -> TracerProvider:
    """A provider whose spans go where the captured ones go."""
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415

    assert captured._exporter is not None  # noqa: SLF001
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(captured._exporter))  # noqa: SLF001
    return provider


def test_tree__after_the_call__the_context_is_as_before(telemetrix_capture: CapturedTelemetry) -> None:
    for case in CASES:
        case()
        assert trace.get_current_span() is trace.INVALID_SPAN


def test_spans__of_any_case__have_our_scope_with_its_version(captured: CapturedTelemetry) -> None:
    retry(function(ORDER, Script([1])))()
    assert {
        (span.instrumentation_scope.name, span.instrumentation_scope.version)
        for span in captured.spans
        if span.instrumentation_scope is not None
    } == {("telemetrix", __version__)}


def test_span__while_the_function_runs__is_current(captured: CapturedTelemetry) -> None:
    seen = []
    retry(2, 1)(
        function(ORDER, lambda: seen.append(trace.format_span_id(trace.get_current_span().get_span_context().span_id)))
    )()
    assert seen == [span_id(named(captured, "attempt ops.order"))]


def test_gap__between_two_attempts__is_not_inside_either(telemetrix_capture: CapturedTelemetry) -> None:
    retry(2, 0.01, strategy=RetryStrategy.FIXED)(function(ORDER, Script([ValueError, 1])))()
    first, second = all_named(telemetrix_capture, "attempt ops.order")
    assert first.end_time is not None
    assert second.start_time is not None
    assert second.start_time - first.end_time >= 10_000_000


# Attributes


def test_attributes__recovered_retry__say_how_many_attempts_and_why(captured: CapturedTelemetry) -> None:
    retry(3, 2, strategy=RetryStrategy.FIXED)(function(ORDER, Script([ValueError, 1])))()
    assert attributes(named(captured, "retry ops.order")) == {
        "primitive": "retry",
        "operation": ORDER,
        "code.function.name": ORDER,
        "outcome": "success",
        "reason": "recovered",
        "attempts": 2,
        "retried": True,
    }
    first, second = all_named(captured, "attempt ops.order")
    assert attributes(first) == {
        "operation": ORDER,
        "attempt.number": 1,
        "outcome": "failure",
        "error.type": "ValueError",
    }
    assert attributes(second) == {"operation": ORDER, "attempt.number": 2, "retry.delay": 2.0, "outcome": "success"}


def test_attributes__operation_with_a_name__keep_the_functions_own(captured: CapturedTelemetry) -> None:
    retry(name="orders")(function(ORDER, Script([1])))()
    found = attributes(named(captured, "retry orders"))
    assert (found["operation"], found["code.function.name"], found["retried"]) == ("orders", ORDER, False)


def test_attributes__breaker__name_the_circuit_and_its_state(
    captured: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    breaker = CircuitBreaker(1, 30, name="attributes of a breaker")
    guarded = breaker(function(ORDER, Script([ValueError, 1])))
    with pytest.raises(ValueError, match=r"^$"):
        guarded()
    with pytest.raises(CircuitOpenError):
        guarded()
    telemetrix_clock.advance(30)
    guarded()
    found = [attributes(span) for span in all_named(captured, "circuit_breaker ops.order")]
    assert {one["circuit.name"] for one in found} == {"attributes of a breaker"}
    assert [(one["circuit.state"], one["outcome"], one["reason"]) for one in found] == [
        ("closed", "failure", "counted"),
        ("open", "rejected", "open"),
        ("half_open", "success", "passed"),
    ]
    assert [one.get("error.type") for one in found] == ["ValueError", "telemetrix.errors.CircuitOpenError", None]


def test_attributes__of_every_case__are_words_flags_or_numbers(telemetrix_capture: CapturedTelemetry) -> None:
    for case in CASES:
        case()
    for span in telemetrix_capture.spans:
        for value in (span.attributes or {}).values():
            assert type(value) in {str, bool, int, float}


def test_attributes__of_every_case__hold_nothing_of_the_users(telemetrix_capture: CapturedTelemetry) -> None:
    for case in CASES:
        case()
    for span in telemetrix_capture.spans:
        assert "secret" not in span.to_json()


# Statuses


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_status__of_any_case__is_error_only_if_the_caller_sees_an_exception(
    telemetrix_capture: CapturedTelemetry, case: Case
) -> None:
    case()
    primitive, outcome, reason = case.ending
    spans = all_named(telemetrix_capture, f"{primitive} {case.name}")
    (span,) = [s for s in spans if attributes(s)["reason"] == reason]
    is_error = outcome in {"failure", "rejected", "timeout"}
    assert (span.status.status_code, span.status.description) == ((ERROR, str(reason)) if is_error else (UNSET, None))
    assert ("error.type" in attributes(span)) == is_error
    assert ("exception" in event_names(span)) == (is_error and span.parent is None)


def test_status__recovered_retry__is_unset_though_an_attempt_is_error(captured: CapturedTelemetry) -> None:
    retry(2, 1)(function(ORDER, Script([ValueError, 1])))()
    assert named(captured, "retry ops.order").status.status_code is UNSET
    assert [span.status.status_code for span in all_named(captured, "attempt ops.order")] == [ERROR, UNSET]


def test_status__fallback_served__is_unset_though_the_retry_inside_is_error(captured: CapturedTelemetry) -> None:
    assert fallback("cached")(retry(2, 1)(function(ORDER, fails)))() == "cached"
    assert named(captured, "fallback ops.order").status.status_code is UNSET
    assert named(captured, "retry ops.order").status.status_code is ERROR
    assert "error.type" not in attributes(named(captured, "fallback ops.order"))


def test_status__cancelled__is_not_an_error_on_call_or_attempt(captured: CapturedTelemetry) -> None:
    with pytest.raises(KeyboardInterrupt):
        retry(2, 1)(function(ORDER, Script([KeyboardInterrupt])))()
    for span in captured.spans:
        assert span.status.status_code is UNSET
        assert attributes(span)["outcome"] == "cancelled"
        assert "error.type" not in attributes(span)
        assert span.events == ()


def test_status__of_any_case__is_never_ok(telemetrix_capture: CapturedTelemetry) -> None:
    for case in CASES:
        case()
    assert {span.status.status_code for span in telemetrix_capture.spans} == {UNSET, ERROR}


# Exceptions


def test_exception__leaving_three_primitives__is_recorded_once_on_the_outermost(captured: CapturedTelemetry) -> None:
    breaker = CircuitBreaker(name="exception through three")
    with pytest.raises(ValueError, match="secret"):
        fallback(0, exceptions=KeyError)(retry(2, 1)(breaker(function(ORDER, fails))))()
    recorded = [span.name for span in captured.spans for event in span.events if event.name == "exception"]
    assert recorded == ["fallback ops.order"]
    (exception,) = [found for name, found in events(named(captured, "fallback ops.order")) if name == "exception"]
    assert exception == {"exception.type": "ValueError"}


def test_exception__of_a_class_of_ones_own__has_its_module(captured: CapturedTelemetry) -> None:
    class OrderError(Exception):
        pass

    with pytest.raises(OrderError):
        retry(1)(function(ORDER, Script([OrderError])))()
    name = f"{__name__}.{OrderError.__qualname__}"
    assert attributes(named(captured, "retry ops.order"))["error.type"] == name


def test_exception__details_asked_for__has_message_and_stack() -> None:
    with capture(exception_details=True) as captured:
        with pytest.raises(ValueError, match="secret"):
            retry(1)(function(ORDER, fails))()
        (exception,) = [found for name, found in events(named(captured, "retry ops.order")) if name == "exception"]
        assert exception["exception.message"] == "secret"
        assert "in fails" in exception["exception.stacktrace"]
        assert exception["exception.stacktrace"].startswith("Traceback")


def test_exception__details_asked_for_and_huge__are_capped() -> None:
    def deep(depth: int) -> None:
        if depth:
            deep(depth - 1)
        raise ValueError("x" * 100_000)

    with capture(exception_details=True) as captured:
        with pytest.raises(ValueError, match="x"):
            retry(1)(function(ORDER, deep))(50)
        (exception,) = [found for name, found in events(named(captured, "retry ops.order")) if name == "exception"]
        assert len(exception["exception.message"]) == MAX_MESSAGE
        assert len(exception["exception.stacktrace"]) == MAX_STACKTRACE


def test_exception__whose_text_cannot_be_made__still_ends_the_span_and_reaches_the_caller() -> None:
    class UnprintableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    with capture(exception_details=True) as captured:
        with pytest.raises(UnprintableError):
            retry(1)(function(ORDER, Script([UnprintableError])))()
        assert captured.span_tree() == ["retry ops.order", "  attempt ops.order"]


# Events


def test_retry_scheduled__each_wait__is_an_event_on_the_call(captured: CapturedTelemetry) -> None:
    retry(4, 2, strategy=RetryStrategy.LINEAR)(function(ORDER, Script([ValueError, KeyError, 1])))()
    assert events(named(captured, "retry ops.order")) == [
        ("retry.scheduled", {"attempt.number": 1, "retry.delay": 2.0, "error.type": "ValueError"}),
        ("retry.scheduled", {"attempt.number": 2, "retry.delay": 4.0, "error.type": "KeyError"}),
    ]


def test_retry_scheduled__many_attempts__are_32_at_most_and_the_last_exception_is_kept(
    captured: CapturedTelemetry,
) -> None:
    with pytest.raises(ValueError, match="secret"):
        retry(50, 1)(function(ORDER, fails))()
    found = event_names(named(captured, "retry ops.order"))
    assert found == ["retry.scheduled"] * 32 + ["exception"]
    assert MAX_RETRY_EVENTS == 32
    assert len(all_named(captured, "attempt ops.order")) == 50


def test_circuit_transition__during_a_call__is_an_event_on_its_span(
    captured: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    breaker = CircuitBreaker(2, 30, name="transitions on spans")
    guarded = breaker(function(ORDER, Script([ValueError, ValueError, 1])))
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^$"):
            guarded()
    telemetrix_clock.advance(30)
    with _provider_of(captured).get_tracer("user").start_as_current_span("request"):
        guarded()
    first, second, probe = all_named(captured, "circuit_breaker ops.order")
    assert event_names(first) == ["exception"]
    opened = {
        "circuit.name": "transitions on spans",
        "circuit.from_state": "closed",
        "circuit.state": "open",
        "reason": "failure_threshold",
        "circuit.failures": 2,
        "error.type": "ValueError",
    }
    assert events(second)[0] == ("circuit.open", opened)
    assert event_names(named(captured, "request")) == ["circuit.half_open"]  # the circuit moves before the call begins
    assert event_names(probe) == ["circuit.closed"]


def test_circuit_transition__by_hand_outside_any_span__is_nowhere(captured: CapturedTelemetry) -> None:
    CircuitBreaker(name="moved outside").open()
    assert captured.spans == []


def test_probe__in_another_trace_than_the_opening__is_linked_to_it(captured: CapturedTelemetry) -> None:
    breaker = CircuitBreaker(1, name="linked probe")
    guarded = breaker(function(ORDER, Script([ValueError, 1])))
    with pytest.raises(ValueError, match=r"^$"):
        guarded()
    breaker.state = CircuitState.HALF_OPEN
    guarded()
    opening, probe = all_named(captured, "circuit_breaker ops.order")
    assert [trace.format_trace_id(link.context.trace_id) for link in probe.links] == [trace_id(opening)]

"""capture: the telemetry of a block, and nothing of what was before, beside or after it."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from telemetrix import CircuitBreaker, retry
from telemetrix.bus import default_bus
from telemetrix.events import (
    CircuitClosed,
    CircuitOpened,
    CircuitTransition,
    Event,
    RetryGaveUp,
    RetryRecovered,
    RetryScheduled,
)
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, capture
from tests.services import run_python


def test_events__in_the_block__are_kept_in_order_without_registrations(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    retry(3, 1, name="captured events")(Script([ValueError, 1]))()
    CircuitBreaker(name="captured events").open()
    assert [type(event) for event in telemetrix_capture.events] == [RetryScheduled, RetryRecovered, CircuitOpened]


def test_of__a_class__finds_its_subclasses_too(telemetrix_capture: CapturedTelemetry) -> None:
    breaker = CircuitBreaker(name="captured of")
    breaker.open()
    breaker.reset()
    assert [type(event) for event in telemetrix_capture.of(CircuitTransition)] == [CircuitOpened, CircuitClosed]
    assert len(telemetrix_capture.of(CircuitClosed)) == 1
    assert telemetrix_capture.of(RetryGaveUp) == []
    assert telemetrix_capture.of(Event) == telemetrix_capture.events


def test_capture__after_the_block__hears_nothing_more_and_keeps_what_it_has() -> None:
    guarded = retry(2, 0, name="captured after")(Script([1, ValueError, 1]))
    with capture() as captured:
        guarded()
    guarded()
    CircuitBreaker(name="captured after").open()
    assert len(captured.spans) == 2
    assert captured.events == []
    assert captured.metric("telemetrix_calls_total", operation="captured after") == 1


def test_capture__after_the_block__counts_no_further_success() -> None:
    guarded = retry(name="captured success after")(Script([1]))
    with capture(spans=None) as captured:
        guarded()
    guarded()
    assert captured.metric("telemetrix_calls_total", operation="captured success after") == 1


def test_capture__block_that_raises__leaves_no_subscriber_behind() -> None:
    before = default_bus._subscriptions  # noqa: SLF001
    with pytest.raises(KeyError), capture():
        raise KeyError
    assert default_bus._subscriptions == before  # noqa: SLF001


def test_capture__beside_the_default_metrics__takes_nothing_from_them() -> None:
    labels = {"primitive": "retry", "operation": "captured beside", "outcome": "success", "reason": "first_try"}
    guarded = retry(name="captured beside")(Script([1]))
    before = REGISTRY.get_sample_value("telemetrix_calls_total", labels)
    assert before is not None
    with capture():
        guarded()
    assert REGISTRY.get_sample_value("telemetrix_calls_total", labels) == before + 1


def test_metric__by_fewer_labels__is_the_sum(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    guarded = retry(2, 1, name="captured sum")(Script([1, ValueError, 1]))
    guarded()
    guarded()
    assert telemetrix_capture.metric("telemetrix_calls_total", operation="captured sum") == 2
    assert telemetrix_capture.metric("telemetrix_calls_total", operation="captured sum", reason="recovered") == 1
    assert telemetrix_capture.metric("telemetrix_calls_total", operation="captured sum", reason="exhausted") == 0
    assert telemetrix_capture.metric("telemetrix_attempts_per_call_sum", operation="captured sum") == 3


def test_metric__without_samples__is_0(telemetrix_capture: CapturedTelemetry) -> None:
    assert telemetrix_capture.metric("telemetrix_calls_total", operation="never heard of") == 0


def test_span_tree__siblings_and_roots__are_in_the_order_they_began(telemetrix_capture: CapturedTelemetry) -> None:
    retry(name="b")(retry(name="c")(Script([1])))()
    retry(name="a")(Script([1]))()
    assert telemetrix_capture.span_tree() == [
        "retry b",
        "  attempt b",
        "    retry c",
        "      attempt c",
        "retry a",
        "  attempt a",
    ]


def test_spans__in_the_order_they_ended__have_children_first(telemetrix_capture: CapturedTelemetry) -> None:
    retry(name="ended")(Script([1]))()
    assert [span.name for span in telemetrix_capture.spans] == ["attempt ended", "retry ended"]


def test_spans__not_captured__are_refused_with_the_reason_and_calls_stay_fast() -> None:
    with capture(spans=None) as captured:
        watch = default_bus.watch
        assert watch is None or not watch()
        with pytest.raises(RuntimeError, match="spans=None"):
            _ = captured.spans
        with pytest.raises(RuntimeError, match="spans=None"):
            captured.span_tree()


def test_spans__captured__have_the_calls_observed() -> None:
    with capture():
        assert default_bus.watch is not None
        assert default_bus.watch()


def test_captures__nested__see_each_the_whole_tree(telemetrix_clock: VirtualClock) -> None:
    with capture() as outer, capture() as inner:
        retry(2, 1, name="nested")(Script([ValueError, 1]))()
    assert outer.span_tree() == inner.span_tree() == ["retry nested", "  attempt nested", "  attempt nested"]
    for captured in (outer, inner):
        assert [event.name for event in captured.spans[-1].events] == ["retry.scheduled"]


def test_capture__without_the_sdk__names_the_extra_and_still_works_without_spans() -> None:
    seen = run_python("""
import json, sys
sys.modules["opentelemetry.sdk.trace"] = None
import telemetrix
from telemetrix.testing import capture
try:
    with capture():
        pass
except telemetrix.MissingExtraError as error:
    text = str(error)
with capture(spans=None) as captured:
    telemetrix.retry(name="f")(lambda: None)()
print(json.dumps([text, captured.metric("telemetrix_calls_total", operation="f")]))
""")
    assert "telemetrix-resilience[testing]" in seen[0]
    assert seen[1] == 1

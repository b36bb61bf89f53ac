"""CircuitBreaker: its callbacks, errors, events and metrics."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

import pytest

from telemetrix import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    Primitive,
)
from telemetrix.bus import default_bus
from telemetrix.events import (
    CircuitOpened,
    Event,
    SubscriberFailed,
)
from telemetrix.testing import CapturedTelemetry, Script
from tests.primitives.circuits import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    Via,
    begun,
    caught_from,
    decorated,
    fail,
    make,
)
from tests.primitives.tally import Tally

pytestmark = pytest.mark.usefixtures("each_path")

# Callbacks


def test_on_open_and_on_close__a_whole_cycle__are_called_without_arguments_at_each_opening_and_closing(
    via: Via, later: Callable[[float], None]
) -> None:
    said: list[tuple[str, CircuitState]] = []
    breaker: CircuitBreaker = make(
        1,
        30.0,
        on_open=lambda: said.append(("open", breaker.state)),
        on_close=lambda: said.append(("close", breaker.state)),
    )
    fail(breaker, 1, via)
    caught_from(lambda: via(breaker, Script(["rejected"])))
    later(31.0)
    fail(breaker, 1, via)
    later(31.0)
    via(breaker, Script(["back"]))
    assert said == [("open", OPEN), ("open", OPEN), ("close", CLOSED)]


def test_on_open_and_on_close__by_hand__are_called_when_the_state_changes() -> None:
    said: list[str] = []
    breaker = make(1, on_open=lambda: said.append("open"), on_close=lambda: said.append("close"))
    breaker.reset()
    assert said == []
    breaker.open()
    breaker.open()
    breaker.reset()
    breaker.state = OPEN
    breaker.state = HALF_OPEN
    breaker.state = CLOSED
    assert said == ["open", "close", "open", "close"]


def test_on_open_and_on_close__raise__are_counted_and_change_nothing(
    via: Via, heard: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("the callback is broken")

    breaker = make(1, on_open=broken, on_close=broken)
    fail(breaker, 1, via)
    assert breaker.state is OPEN
    breaker.reset()
    assert via(breaker, Script(["passed"])) == "passed"
    failures = [(e.subscriber, e.error_type) for e in heard if isinstance(e, SubscriberFailed)]
    assert failures == [("on_open", RuntimeError), ("on_close", RuntimeError)]
    assert "the callback is broken" not in caplog.text


def test_on_open__uses_its_own_breaker__does_not_deadlock(via: Via) -> None:
    answers: list[object] = []

    def on_open() -> None:
        answers.append(breaker.state)
        answers.append(type(caught_from(lambda: via(breaker, Script(["never"])))))
        breaker.reset()
        answers.append(via(breaker, Script(["passed"])))

    breaker: CircuitBreaker = make(1, on_open=on_open)
    fail(breaker, 1, via)
    assert answers == [OPEN, CircuitOpenError, "passed"]
    assert breaker.state is CLOSED


def test_on_open__is_interrupted__ends_the_call(via: Via, tally: Tally) -> None:
    breaker = make(1, on_open=Script([KeyboardInterrupt]))
    # In a context of its own, because a span that is never left stays current.
    caught = caught_from(lambda: copy_context().run(via, breaker, Script([ConnectionError])))
    assert isinstance(caught, KeyboardInterrupt)
    assert tally.count(primitive=Primitive.CIRCUIT_BREAKER) == 1


# What it tells


def test_error__open_circuit__says_name_seconds_left_and_last_failure(via: Via, later: Callable[[float], None]) -> None:
    breaker = make(1, 30.0, name="payments")
    fail(breaker, 1, via)
    later(10.0)
    error = caught_from(lambda: via(breaker, Script(["never"])))
    assert isinstance(error, CircuitOpenError)
    assert (error.name, error.state, error.last_error_type) == ("payments", "open", ConnectionError)
    assert error.retry_after == pytest.approx(20.0, abs=1.0)
    assert str(error).startswith("Circuit breaker is OPEN: 'payments' lets no call through; retry after ")
    assert str(error).endswith(" s; last failure: ConnectionError")


def test_error__probe_under_way__says_so_and_when_its_lease_ends(later: Callable[[float], None]) -> None:
    breaker = make(1, 30.0)
    fail(breaker)
    later(31.0)
    end_probe = begun(breaker)
    error = caught_from(lambda: decorated(breaker, Script(["never"])))
    assert isinstance(error, CircuitOpenError)
    assert error.state == "half_open"
    assert error.retry_after == pytest.approx(30.0, abs=1.0)
    end_probe()


def test_error__circuit_that_never_failed_was_opened_by_hand__names_no_failure(via: Via) -> None:
    breaker = make(5)
    breaker.open()
    error = caught_from(lambda: via(breaker, Script(["never"])))
    assert isinstance(error, CircuitOpenError)
    assert error.last_error_type is None


def test_error__circuit_with_earlier_failures_was_opened_by_hand__names_no_failure(via: Via) -> None:
    breaker = make(5)
    fail(breaker, 1, via)
    breaker.open()
    error = caught_from(lambda: via(breaker, Script(["never"])))
    assert isinstance(error, CircuitOpenError)
    assert error.last_error_type is None


def test_events__circuit_opens__say_why(heard: list[Event]) -> None:
    breaker = make(2, 30.0, name="payments")
    fail(breaker, 2)
    (opened,) = heard
    assert isinstance(opened, CircuitOpened)
    assert (opened.circuit, opened.from_state, opened.reason) == ("payments", CLOSED, "failure_threshold")
    assert (opened.failures, opened.failure_threshold, opened.recovery_timeout) == (2, 2, 30.0)
    assert opened.last_error_type is ConnectionError


def test_telemetry__calls_of_each_ending__are_counted_once_each(via: Via, tally: Tally) -> None:
    breaker = make(1, name="each ending")
    via(breaker, Script(["passed"]))
    caught_from(lambda: via(breaker, Script([ValueError])))
    caught_from(lambda: via(breaker, Script([KeyboardInterrupt])))
    fail(breaker, 1, via)
    caught_from(lambda: via(breaker, Script(["rejected"])))
    breaker.state = HALF_OPEN
    via(breaker, lambda: caught_from(lambda: via(breaker, Script(["rejected"]))))
    expected = {
        ("success", "passed"): 2,
        ("failure", "ignored"): 1,
        ("cancelled", "cancelled"): 1,
        ("failure", "counted"): 1,
        ("rejected", "open"): 1,
        ("rejected", "half_open"): 1,
    }
    found = {ending: tally.count(None, *ending, primitive=Primitive.CIRCUIT_BREAKER) for ending in expected}
    assert found == expected
    assert tally.count(primitive=Primitive.CIRCUIT_BREAKER) == sum(expected.values())


def test_telemetry__circuit_past_the_label_cap__has_no_series_of_its_own(
    telemetrix_capture: CapturedTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(default_bus, "max_label_values", 0)
    breaker = make(1, name="one circuit too many")
    end_late = begun(breaker)
    breaker.state = HALF_OPEN
    decorated(breaker, Script(["back"]))
    end_late()
    labels = {
        sample.labels.get("circuit")
        for family in telemetrix_capture.registry.collect()
        for sample in family.samples
        if family.name.startswith("telemetrix_circuit")
    }
    assert "one circuit too many" not in labels


def test_repr__breaker__shows_name_and_state() -> None:
    breaker = make(1, name="payments")
    breaker.open()
    assert repr(breaker) == "<CircuitBreaker payments open>"

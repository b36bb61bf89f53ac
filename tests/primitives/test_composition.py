"""Primitives on top of each other: what each sees of the others, and what telemetry shows of the whole."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telemetrix import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    OperationTimeout,
    RetryStrategy,
    circuit_breaker,
    fallback,
    retry,
    timeout,
)
from telemetrix.events import CircuitOpened
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock

PATIENCE = 10
NAME = "app.call"


class Form:
    """Puts decorators on a function that calls a service; called, it runs to its end, on an event loop if it must."""

    def __init__(self, backend: str | None) -> None:
        self.backend = backend

    def __call__(self, service: Callable[[], Any], *decorators: Any) -> Callable[[], Any]:
        async def coroutine_function() -> Any:
            await anyio.lowlevel.checkpoint()
            return service()

        def plain_function() -> Any:
            return service()

        function: Any = coroutine_function if self.backend else plain_function
        function.__module__, function.__qualname__ = NAME.split(".")
        for decorator in reversed(decorators):
            function = decorator(function)
        guarded: Callable[[], Any] = partial(anyio.run, function, backend=self.backend) if self.backend else function
        return guarded


@pytest.fixture(params=[None, "asyncio", "trio"], ids=["sync", "asyncio", "trio"])
def form(request: pytest.FixtureRequest, telemetrix_clock: VirtualClock) -> Form:
    return Form(request.param)


def again(attempts: int = 3, **settings: Any) -> Any:
    return retry(attempts, delay=1, strategy=RetryStrategy.FIXED, **settings)


def endings(captured: CapturedTelemetry) -> dict[str, float]:
    """How often each primitive of the stack ended in which way."""
    found: dict[str, float] = {}
    for family in captured.registry.collect():
        for sample in family.samples:
            if sample.name == "telemetrix_calls_total" and sample.labels["operation"] == NAME and sample.value:
                key = " ".join(sample.labels[label] for label in ("primitive", "outcome", "reason"))
                found[key] = sample.value
    return found


# The guide's layers: a timeout over a retry over a circuit breaker


def test_layers_success_is_one_span_each(form: Form, telemetrix_capture: CapturedTelemetry) -> None:
    call = form(Script(["answer"]), timeout(seconds=30), again(), circuit_breaker)
    assert call() == "answer"
    assert telemetrix_capture.span_tree() == [
        "timeout app.call",
        "  retry app.call",
        "    attempt app.call",
        "      circuit_breaker app.call",
    ]
    assert endings(telemetrix_capture) == {
        "timeout success in_time": 1,
        "retry success first_try": 1,
        "circuit_breaker success passed": 1,
    }


def test_layers_two_failures_are_retried_and_shown_as_attempts(
    form: Form, telemetrix_capture: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    service = Script([ConnectionError, ConnectionError, "answer"])
    assert form(service, timeout(seconds=30), again(), circuit_breaker)() == "answer"
    assert telemetrix_clock.sleeps == [1, 1]
    assert telemetrix_capture.span_tree() == [
        "timeout app.call",
        "  retry app.call",
        *["    attempt app.call", "      circuit_breaker app.call"] * 3,
    ]
    assert endings(telemetrix_capture) == {
        "timeout success in_time": 1,
        "retry success recovered": 1,
        "circuit_breaker failure counted": 2,
        "circuit_breaker success passed": 1,
    }
    attempts = {
        outcome: telemetrix_capture.metric("telemetrix_attempts_total", operation=NAME, outcome=outcome)
        for outcome in ("success", "failure")
    }
    assert attempts == {"success": 1, "failure": 2}
    assert telemetrix_capture.metric("telemetrix_retry_delay_seconds_sum", operation=NAME) == 2


def test_layers_recovered_call_has_errors_on_its_failed_attempts_only(
    form: Form, telemetrix_capture: CapturedTelemetry
) -> None:
    form(Script([ConnectionError, "answer"]), timeout(seconds=30), again(), circuit_breaker)()
    spans = sorted(telemetrix_capture.spans, key=lambda span: span.start_time or 0)
    assert [(span.name.partition(" ")[0], span.status.status_code.name) for span in spans] == [
        ("timeout", "UNSET"),
        ("retry", "UNSET"),
        ("attempt", "ERROR"),
        ("circuit_breaker", "ERROR"),
        ("attempt", "UNSET"),
        ("circuit_breaker", "UNSET"),
    ]
    assert [event.name for span in spans for event in span.events] == ["retry.scheduled"]


def test_layers_every_attempt_fails_the_error_itself_is_raised_and_recorded_once(
    form: Form, telemetrix_capture: CapturedTelemetry
) -> None:
    error = ConnectionError("down")
    with pytest.raises(ConnectionError) as caught:
        form(Script([error]), timeout(seconds=30), again(), circuit_breaker)()
    assert caught.value is error
    assert endings(telemetrix_capture) == {
        "timeout failure error": 1,
        "retry failure exhausted": 1,
        "circuit_breaker failure counted": 3,
    }
    recorded = [span.name for span in telemetrix_capture.spans for event in span.events if event.name == "exception"]
    assert recorded == ["timeout app.call"]


def test_layers_circuit_opens_between_attempts_ends_the_retries_without_a_further_wait(
    form: Form, telemetrix_capture: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    service = Script([ConnectionError])
    call = form(service, timeout(seconds=30), again(5), circuit_breaker(failure_threshold=2))
    with pytest.raises(CircuitOpenError) as caught:
        call()
    assert service.calls == 2
    assert telemetrix_clock.sleeps == [1, 1]
    assert caught.value.last_error_type is ConnectionError
    assert endings(telemetrix_capture) == {
        "timeout failure error": 1,
        "retry failure not_retryable": 1,
        "circuit_breaker failure counted": 2,
        "circuit_breaker rejected open": 1,
    }


def test_layers_open_circuit_rejects_at_once(form: Form, telemetrix_clock: VirtualClock) -> None:
    service = Script(["answer"])
    breaker = CircuitBreaker()
    breaker.open()
    with pytest.raises(CircuitOpenError):
        form(service, timeout(seconds=30), again(), breaker)()
    assert service.calls == 0
    assert telemetrix_clock.sleeps == []


def test_retry_over_breaker_recovers_when_the_service_does(form: Form, telemetrix_clock: VirtualClock) -> None:
    service = Script([ConnectionError] * 3 + ["answer"])
    breaker = CircuitBreaker(failure_threshold=3, recovery_timeout=60)
    call = form(service, again(), breaker)
    with pytest.raises(ConnectionError):
        call()
    telemetrix_clock.advance(60)
    assert call() == "answer"
    assert breaker.state is CircuitState.CLOSED


def test_layers_keep_the_functions_signature_and_lead_to_the_breaker() -> None:
    def function(a: int, /, b: str = "b", *, c: bool = True) -> str:
        """What it does."""
        return ""

    guarded: Any = timeout(seconds=30)(retry(circuit_breaker(function)))
    assert inspect.signature(guarded) == inspect.signature(function)
    assert (guarded.__qualname__, guarded.__doc__) == (function.__qualname__, "What it does.")
    assert isinstance(guarded.circuit_breaker, CircuitBreaker)


# A retry and a circuit breaker


def test_retry_that_names_the_rejection_waits_for_the_circuit_to_recover(
    form: Form, telemetrix_clock: VirtualClock
) -> None:
    service = Script(["answer"])
    breaker = CircuitBreaker(recovery_timeout=2.5)
    breaker.open()
    assert form(service, again(5, exceptions=CircuitOpenError), breaker)() == "answer"
    assert telemetrix_clock.sleeps == [1, 1, 1]
    assert service.calls == 1


def test_breaker_around_retry_counts_one_failure_for_all_attempts(form: Form) -> None:
    breaker = CircuitBreaker()
    service = Script([ConnectionError])
    with pytest.raises(ConnectionError):
        form(service, breaker, again(3))()
    assert service.calls == 3
    assert breaker.failure_count == 1


def test_breaker_around_retry_around_breaker_inner_rejection_is_no_failure_of_the_outer(
    form: Form, telemetrix_capture: CapturedTelemetry
) -> None:
    outer, inner = CircuitBreaker(failure_threshold=1, name="outer"), CircuitBreaker(name="inner")
    inner.open()
    with pytest.raises(CircuitOpenError) as caught:
        form(Script(["answer"]), outer, again(), inner)()
    assert caught.value.name == "inner"
    assert (outer.state, outer.failure_count) == (CircuitState.CLOSED, 0)
    assert endings(telemetrix_capture) == {
        "circuit_breaker failure ignored": 1,
        "circuit_breaker rejected open": 1,
        "retry failure not_retryable": 1,
    }


def test_retry_around_retry_multiplies_the_attempts(form: Form) -> None:
    service = Script([ConnectionError])
    with pytest.raises(ConnectionError):
        form(service, again(2), again(3))()
    assert service.calls == 6


# A fallback, outside and inside


def test_fallback_outside_answers_for_exhausted_retries(form: Form, telemetrix_capture: CapturedTelemetry) -> None:
    assert form(Script([ConnectionError]), fallback("cached"), again(2), circuit_breaker)() == "cached"
    assert endings(telemetrix_capture) == {
        "fallback fallback served": 1,
        "retry failure exhausted": 1,
        "circuit_breaker failure counted": 2,
    }
    assert {span.name: span.status.is_ok or span.status.is_unset for span in telemetrix_capture.spans} == {
        "fallback app.call": True,
        "retry app.call": False,
        "attempt app.call": False,
        "circuit_breaker app.call": False,
    }
    assert not [span for span in telemetrix_capture.spans for event in span.events if event.name == "exception"]


def test_fallback_outside_answers_for_an_open_circuit_without_running_anything(form: Form) -> None:
    service = Script(["answer"])
    breaker = CircuitBreaker()
    breaker.open()
    assert form(service, fallback("cached"), breaker)() == "cached"
    assert service.calls == 0


def test_fallback_inside_a_retry_leaves_nothing_to_retry(form: Form, telemetrix_clock: VirtualClock) -> None:
    service = Script([ConnectionError])
    assert form(service, again(), fallback("cached"))() == "cached"
    assert service.calls == 1
    assert telemetrix_clock.sleeps == []


def test_fallback_inside_a_breaker_hides_the_failures_from_it(form: Form) -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    assert form(Script([ConnectionError]), breaker, fallback("cached"))() == "cached"
    assert (breaker.state, breaker.failure_count) == (CircuitState.CLOSED, 0)


# A timeout, outside and inside


class Late:
    """A service that is not back in time, whatever it runs on."""

    def __init__(self, virtual: VirtualClock) -> None:
        self._virtual = virtual
        self._gate = threading.Event()

    def call(self) -> str:
        self._virtual.advance(30)
        self._gate.wait(PATIENCE)
        return "too late"

    async def acall(self) -> str:
        self._virtual.advance(30)
        await anyio.sleep_forever()
        raise AssertionError

    def let_go(self) -> None:
        self._gate.set()


@pytest.fixture
def late(telemetrix_clock: VirtualClock) -> Iterator[Late]:
    service = Late(telemetrix_clock)
    yield service
    service.let_go()


def test_fallback_outside_a_timeout_answers_when_the_time_is_up(late: Late) -> None:
    assert fallback("cached")(timeout(seconds=30)(late.call))() == "cached"


@pytest.mark.anyio
async def test_fallback_outside_an_async_timeout_answers_when_the_time_is_up(late: Late) -> None:
    assert await fallback("cached")(timeout(seconds=30)(late.acall))() == "cached"


@pytest.mark.anyio
async def test_fallback_inside_an_async_timeout_does_not_answer_for_the_cancellation(late: Late) -> None:
    handler = Script(["cached"])
    with pytest.raises(OperationTimeout):
        await timeout(seconds=30)(fallback(handler)(late.acall))()
    assert handler.calls == 0


def test_breaker_around_a_timeout_counts_the_late_call(late: Late) -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(OperationTimeout):
        breaker(timeout(seconds=30)(late.call))()
    assert breaker.state is CircuitState.OPEN


@pytest.mark.anyio
async def test_breaker_around_an_async_timeout_counts_the_late_call(late: Late) -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(OperationTimeout):
        await breaker(timeout(seconds=30)(late.acall))()
    assert breaker.state is CircuitState.OPEN


@pytest.mark.anyio
async def test_breaker_inside_an_async_timeout_counts_the_call_that_was_cancelled_for_being_late(
    late: Late, telemetrix_capture: CapturedTelemetry
) -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    with pytest.raises(OperationTimeout):
        await timeout(seconds=30)(breaker(late.acall))()
    assert breaker.state is CircuitState.OPEN
    (opened,) = telemetrix_capture.of(CircuitOpened)
    assert opened.last_error_type is OperationTimeout


@pytest.mark.anyio
async def test_breaker_inside_an_async_timeout_late_probe_opens_it_again(late: Late) -> None:
    breaker = CircuitBreaker(recovery_timeout=60)
    breaker.state = CircuitState.HALF_OPEN
    with pytest.raises(OperationTimeout):
        await timeout(seconds=30)(breaker(late.acall))()
    assert breaker.state == CircuitState.OPEN


@pytest.mark.anyio
async def test_breaker_inside_an_async_timeout_call_cancelled_from_outside_in_time_is_neither_success_nor_failure() -> (
    None
):
    breaker = CircuitBreaker(failure_threshold=1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await timeout(seconds=30)(breaker(anyio.sleep_forever))()
    assert (breaker.state, breaker.failure_count) == (CircuitState.CLOSED, 0)


def test_breaker_inside_a_timeout_left_behind_probe_still_decides_when_it_ends(
    late: Late, telemetrix_clock: VirtualClock
) -> None:
    closed = threading.Event()
    breaker = CircuitBreaker(recovery_timeout=60, on_close=closed.set)
    breaker.state = CircuitState.HALF_OPEN
    with pytest.raises(OperationTimeout):
        timeout(seconds=30)(breaker(late.call))()
    with pytest.raises(CircuitOpenError):
        breaker.call(lambda: "second probe")
    late.let_go()
    assert closed.wait(PATIENCE)
    assert breaker.state is CircuitState.CLOSED


def test_breaker_around_a_timeout_whose_outer_deadline_had_passed_counts_nothing(
    late: Late, telemetrix_clock: VirtualClock
) -> None:
    breaker = CircuitBreaker(failure_threshold=1)
    service, tried = Script(["never"]), threading.Event()

    @timeout(seconds=30)
    def outer() -> None:
        telemetrix_clock.advance(30)
        with pytest.raises(OperationTimeout):
            breaker(timeout(seconds=5)(service))()
        tried.set()
        late.call()

    with pytest.raises(OperationTimeout):
        outer()
    assert tried.wait(PATIENCE)
    assert service.calls == 0
    assert breaker.failure_count == 0

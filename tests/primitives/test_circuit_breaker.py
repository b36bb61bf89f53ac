"""CircuitBreaker: what counts, how it recovers, and what a hand can do, in each form, watched and unwatched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import anyio
import pytest

from telemetrix import (
    CallRejectedError,
    CircuitOpenError,
    CircuitState,
    TransitionReason,
)
from telemetrix.events import (
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitTransition,
    Event,
    ProbeFinished,
    StaleResultDropped,
)
from telemetrix.testing import CapturedTelemetry, Script
from tests.primitives.circuits import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    Pause,
    Via,
    begun,
    caught_from,
    decorated,
    fail,
    finished,
    make,
)

pytestmark = pytest.mark.usefixtures("each_path")

INTERRUPTIONS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


# Counting


def test_breaker__failures_below_threshold__stays_closed_and_counts_them(via: Via) -> None:
    breaker = make(3)
    fail(breaker, 2, via)
    assert (breaker.state, breaker.failure_count) == (CLOSED, 2)
    assert via(breaker, Script(["passed"])) == "passed"


def test_breaker__threshold_reached__opens_and_does_not_run_the_function(via: Via) -> None:
    breaker, script = make(3), Script(["never"])
    fail(breaker, 3, via)
    assert (breaker.state, breaker.failure_count) == (OPEN, 3)
    assert isinstance(caught_from(lambda: via(breaker, script)), CircuitOpenError)
    assert script.calls == 0


def test_breaker__success_between_failures__forgets_them(via: Via) -> None:
    breaker = make(3)
    fail(breaker, 2, via)
    assert via(breaker, Script(["passed"])) == "passed"
    assert breaker.failure_count == 0
    fail(breaker, 2, via)
    assert breaker.state is CLOSED


def test_breaker__unexpected_exception__counts_nothing_and_resets_nothing(via: Via) -> None:
    # E15: elsewhere it sets the count back to 0.
    breaker = make(3)
    fail(breaker, 2, via)
    for _ in range(5):
        assert isinstance(caught_from(lambda: via(breaker, Script([ValueError]))), ValueError)
    assert (breaker.state, breaker.failure_count) == (CLOSED, 2)
    fail(breaker, 1, via)
    assert breaker.state is OPEN


@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_breaker__interruption__counts_nothing_and_resets_nothing(via: Via, kind: type[BaseException]) -> None:
    # E2, E4: elsewhere a cancelled call resets the count, or counts.
    breaker = make(2, expected_exception=Exception)
    fail(breaker, 1, via)
    for _ in range(3):
        assert isinstance(caught_from(lambda: via(breaker, Script([kind]))), kind)
    assert (breaker.state, breaker.failure_count) == (CLOSED, 1)
    fail(breaker, 1, via)
    assert breaker.state is OPEN


def test_breaker__rejection_by_another_breaker__counts_nothing_and_resets_nothing(via: Via) -> None:
    breaker = make(2, expected_exception=Exception)
    fail(breaker, 1, via)
    for error in (CircuitOpenError("inner"), CallRejectedError("limiter")):
        assert caught_from(lambda error=error: via(breaker, Script([error]))) is error  # type: ignore[misc]
    assert breaker.failure_count == 1


@pytest.mark.parametrize("expected", [(ConnectionError, KeyError), OSError, Exception])
def test_breaker__expected_class_or_subclass__counts(via: Via, expected: Any) -> None:
    breaker = make(1, expected_exception=expected)
    caught_from(lambda: via(breaker, Script([ConnectionResetError])))
    assert breaker.state is OPEN


def test_breaker__failure__reaches_the_caller_itself_and_unchanged(via: Via) -> None:
    error = ConnectionError("down")
    assert caught_from(lambda: via(make(1), Script([error]))) is error
    assert not hasattr(error, "__notes__")
    assert (error.__cause__, error.__context__) == (None, None)


# Recovering


def test_breaker__recovery_timeout_passed_and_nobody_called__reads_half_open(later: Callable[[float], None]) -> None:
    breaker = make(1, 30.0)
    fail(breaker)
    later(29.0)
    assert breaker.state is OPEN
    later(2.0)
    assert breaker.state is HALF_OPEN


def test_breaker__probe_succeeds__closes(via: Via, later: Callable[[float], None], heard: list[Event]) -> None:
    breaker = make(1, 30.0)
    fail(breaker, 1, via)
    later(31.0)
    assert via(breaker, Script(["back"])) == "back"
    assert (breaker.state, breaker.failure_count) == (CLOSED, 0)
    assert [type(event) for event in heard] == [CircuitOpened, CircuitHalfOpened, ProbeFinished, CircuitClosed]


def test_breaker__recovered__counts_and_opens_again(via: Via, later: Callable[[float], None]) -> None:
    breaker = make(2, 30.0)
    for _ in range(3):
        fail(breaker, 2, via)
        assert breaker.state is OPEN
        later(31.0)
        assert via(breaker, Script(["back"])) == "back"
        assert breaker.state is CLOSED


def test_breaker__probe_fails__opens_for_another_recovery_timeout(
    via: Via, later: Callable[[float], None], heard: list[Event]
) -> None:
    breaker = make(3, 30.0)
    fail(breaker, 3, via)
    later(31.0)
    fail(breaker, 1, via)
    later(29.0)
    assert breaker.state is OPEN
    later(2.0)
    assert breaker.state is HALF_OPEN
    assert [type(event) for event in heard] == [CircuitOpened, CircuitHalfOpened, ProbeFinished, CircuitOpened]


@pytest.mark.parametrize("kind", [ValueError, CircuitOpenError("inner"), *INTERRUPTIONS])
def test_breaker__probe_ends_as_neither__stays_half_open_and_gives_its_place_back(
    via: Via, later: Callable[[float], None], heard: list[Event], kind: Any
) -> None:
    breaker = make(1, 30.0)
    fail(breaker, 1, via)
    later(31.0)
    for _ in range(3):
        caught_from(lambda: via(breaker, Script([kind])))
        assert (breaker.state, breaker.failure_count) == (HALF_OPEN, 1)
    assert not any(isinstance(event, CallRejected) for event in heard)
    assert via(breaker, Script(["back"])) == "back"
    assert breaker.state is CLOSED


def test_breaker__second_call_while_the_probe_runs__is_rejected_at_once(
    via: Via, later: Callable[[float], None], heard: list[Event]
) -> None:
    breaker, script = make(1, 30.0), Script(["never"])
    fail(breaker, 1, via)
    later(31.0)
    errors: list[BaseException] = []

    def probe() -> str:
        errors.extend(caught_from(lambda: via(breaker, script)) for _ in range(3))
        return "back"

    assert via(breaker, probe) == "back"
    assert script.calls == 0
    assert [type(error) for error in errors] == [CircuitOpenError] * 3
    assert "while a probe is under way" in str(errors[0])
    assert breaker.state is CLOSED
    assert [event.reason for event in heard if isinstance(event, CallRejected)] == ["half_open"] * 3


def test_breaker__probe_never_comes_back__its_place_is_free_after_the_lease(later: Callable[[float], None]) -> None:
    # R4: elsewhere the circuit is stuck for ever.
    breaker = make(1, 30.0)
    fail(breaker)
    later(31.0)
    end_lost_probe = begun(breaker)
    later(29.0)
    assert isinstance(caught_from(lambda: decorated(breaker, Script(["never"]))), CircuitOpenError)
    later(2.0)
    assert decorated(breaker, Script(["back"])) == "back"
    assert breaker.state is CLOSED
    end_lost_probe()


def test_breaker__lost_probe_comes_back_after_its_lease__changes_nothing(
    later: Callable[[float], None], heard: list[Event]
) -> None:
    breaker = make(1, 30.0)
    fail(breaker)
    later(31.0)
    end_lost_probe = begun(breaker, ConnectionError())
    later(31.0)
    end_second_probe = begun(breaker)
    end_lost_probe()
    assert breaker.state is HALF_OPEN
    assert isinstance(heard[-1], StaleResultDropped)
    end_second_probe()
    assert breaker.state is CLOSED


def test_breaker__late_success_of_the_closed_time__does_not_close(
    later: Callable[[float], None], heard: list[Event]
) -> None:
    # R3: elsewhere it closes the circuit while the probe is still on its way.
    breaker = make(1, 30.0)
    end_late = begun(breaker)
    fail(breaker)
    end_late()
    assert breaker.state is OPEN
    assert [event.outcome for event in heard if isinstance(event, StaleResultDropped)] == ["success"]
    later(31.0)
    assert breaker.state is HALF_OPEN


def test_breaker__late_success_while_the_probe_runs__does_not_close(later: Callable[[float], None]) -> None:
    breaker = make(1, 30.0)
    end_late = begun(breaker)
    fail(breaker)
    later(31.0)
    end_probe = begun(breaker, ConnectionError())
    end_late()
    assert breaker.state is HALF_OPEN
    end_probe()
    assert breaker.state is OPEN


def test_breaker__late_failures_of_the_closed_time__do_not_open_the_recovered_circuit(
    later: Callable[[float], None], heard: list[Event]
) -> None:
    # R10, E13: elsewhere they do. E14 is how it should be.
    breaker = make(1, 30.0)
    ends = [begun(breaker, ConnectionError()) for _ in range(5)]
    fail(breaker)
    later(31.0)
    assert decorated(breaker, Script(["back"])) == "back"
    for end in ends:
        end()
    assert (breaker.state, breaker.failure_count) == (CLOSED, 0)
    assert [event.outcome for event in heard if isinstance(event, StaleResultDropped)] == ["failure"] * 5


def test_breaker__stale_results__give_no_extra_probe(later: Callable[[float], None]) -> None:
    # R2, R8: elsewhere each of them adds a place.
    breaker = make(1, 30.0)
    ends = [begun(breaker, error) for error in (None, ConnectionError(), ValueError())]
    fail(breaker)
    later(31.0)
    end_probe = begun(breaker)
    for end in ends:
        end()
    assert isinstance(caught_from(lambda: decorated(breaker, Script(["never"]))), CircuitOpenError)
    end_probe()
    assert breaker.state is CLOSED


@pytest.mark.parametrize("in_half_open", [False, True])
def test_breaker__coroutine_is_closed_on_its_way__is_neutral_and_leaves_no_permit_taken(
    later: Callable[[float], None], in_half_open: bool
) -> None:
    breaker = make(1, 30.0)
    if in_half_open:
        fail(breaker)
        later(31.0)

    @breaker
    async def guarded() -> None:
        await Pause()

    for _ in range(3):
        call = guarded()
        call.send(None)
        call.close()
    assert breaker.state is (HALF_OPEN if in_half_open else CLOSED)
    assert decorated(breaker, Script(["passed"])) == "passed"


def test_breaker__coroutine_is_never_started__takes_no_permit(later: Callable[[float], None]) -> None:
    breaker = make(1, 30.0)
    fail(breaker)
    later(31.0)

    @breaker
    async def guarded() -> str:
        return "back"

    guarded().close()
    assert finished(guarded()) == "back"


@pytest.mark.anyio
@pytest.mark.parametrize("form", ["decorated", "block"])
async def test_breaker__probe_is_cancelled__gives_its_place_back(later: Callable[[float], None], form: str) -> None:
    breaker = make(1, 30.0)
    fail(breaker)
    later(31.0)
    started = anyio.Event()

    async def body() -> None:
        started.set()
        await anyio.sleep_forever()

    async def block() -> None:
        async with breaker:
            await body()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(breaker(body) if form == "decorated" else block)
        await started.wait()
        assert isinstance(caught_from(lambda: decorated(breaker, Script(["never"]))), CircuitOpenError)
        tasks.cancel_scope.cancel()
    assert (breaker.state, breaker.failure_count) == (HALF_OPEN, 1)
    assert decorated(breaker, Script(["back"])) == "back"


# By hand


def test_open__closed_breaker__rejects_until_recovery_timeout(later: Callable[[float], None]) -> None:
    breaker = make(5, 30.0)
    breaker.open()
    assert breaker.state is OPEN
    assert isinstance(caught_from(lambda: decorated(breaker, Script(["never"]))), CircuitOpenError)
    later(31.0)
    assert decorated(breaker, Script(["back"])) == "back"


def test_open__breaker_that_would_probe__starts_the_recovery_timeout_again(later: Callable[[float], None]) -> None:
    breaker = make(1, 30.0)
    breaker.open()
    later(31.0)
    assert breaker.state is HALF_OPEN
    breaker.open()
    assert breaker.state is OPEN
    later(29.0)
    assert breaker.state is OPEN


def test_open__breaker_that_would_probe__is_shown_open_by_the_metric(
    later: Callable[[float], None], telemetrix_capture: CapturedTelemetry
) -> None:
    breaker = make(1, 30.0, name="opened again")
    breaker.open()
    later(31.0)
    breaker.open()
    assert telemetrix_capture.metric("telemetrix_circuit_state", circuit="opened again", state=breaker.state) == 1


def test_reset__open_breaker__closes_and_forgets(via: Via) -> None:
    breaker = make(2)
    fail(breaker, 2, via)
    breaker.reset()
    assert (breaker.state, breaker.failure_count) == (CLOSED, 0)
    assert via(breaker, Script(["passed"])) == "passed"
    fail(breaker, 1, via)
    assert breaker.state is CLOSED


def test_reset__call_of_before_comes_back__changes_nothing() -> None:
    breaker = make(1)
    end = begun(breaker, ConnectionError())
    breaker.reset()
    end()
    assert (breaker.state, breaker.failure_count) == (CLOSED, 0)


@pytest.mark.parametrize("state", list(CircuitState))
@pytest.mark.parametrize("before", list(CircuitState))
def test_state__is_set__is_read_back_and_told_if_it_changed(
    heard: list[Event], before: CircuitState, state: CircuitState
) -> None:
    breaker = make(1)
    breaker.state = before
    heard.clear()
    breaker.state = state
    assert breaker.state is state
    moves = [(e.from_state, e.to_state, e.reason) for e in heard if isinstance(e, CircuitTransition)]
    assert moves == ([] if state is before else [(before, state, TransitionReason.MANUAL)])


def test_state__set_to_half_open__admits_one_probe(via: Via) -> None:
    breaker = make(1)
    breaker.state = HALF_OPEN
    assert via(breaker, Script(["back"])) == "back"
    assert breaker.state is CLOSED


@pytest.mark.parametrize("value", ["open", None, 1])
def test_state__set_to_something_else__is_refused(value: Any) -> None:
    breaker = make(1)
    with pytest.raises(TypeError, match=r"^state=.+ is not allowed: a CircuitState"):
        breaker.state = value
    assert breaker.state is CLOSED

"""The timeout of plain functions; coroutine functions and nesting have files of their own."""

from __future__ import annotations

import contextvars
import copy
import gc
import inspect
import pickle
import threading
import traceback
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from telemetrix import OperationTimeout, clock, subscribe, timeout
from telemetrix.errors import TelemetrixError
from telemetrix.events import AbandonedWorkFinished, TimeoutExpired
from telemetrix.primitives._workers import Job, WorkerPool
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock

PATIENCE = 10
"""Seconds after which a test that waits for another thread gives up."""

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="nobody's")


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Waits until the work that the test left behind has ended, so that the next test does not hear of it."""
    left: Counter[str] = Counter()
    changed = threading.Condition()

    def count(event: TimeoutExpired | AbandonedWorkFinished) -> None:
        with changed:
            if isinstance(event, AbandonedWorkFinished):
                left[event.operation] -= 1
            elif event.abandoned:
                left[event.operation] += 1
            changed.notify()

    with subscribe(count, to=(TimeoutExpired, AbandonedWorkFinished)):
        yield
        with changed:
            assert changed.wait_for(lambda: max(left.values(), default=0) <= 0, PATIENCE)


class Hang:
    """Work that passes `seconds` of virtual time and then goes on until `let_go`."""

    def __init__(self, virtual: VirtualClock) -> None:
        self._virtual = virtual
        self._gate = threading.Event()
        self.error: Exception | None = None

    def __call__(self, seconds: float) -> str:
        self._virtual.advance(seconds)
        self._gate.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return "too late"

    def let_go(self) -> None:
        self._gate.set()


@pytest.fixture
def hang(telemetrix_clock: VirtualClock) -> Iterator[Hang]:
    work = Hang(telemetrix_clock)
    yield work
    work.let_go()


@pytest.fixture
def late_ends(telemetrix_capture: CapturedTelemetry) -> Iterator[Callable[[], AbandonedWorkFinished]]:
    """Waits for the next piece of abandoned work to end; the capture has heard of it by then."""
    ends: SimpleQueue[AbandonedWorkFinished] = SimpleQueue()

    def keep(event: AbandonedWorkFinished) -> None:
        if event.operation == "op":
            ends.put(event)

    with subscribe(keep, to=AbandonedWorkFinished):
        yield lambda: ends.get(timeout=PATIENCE)


def calls(captured: CapturedTelemetry, outcome: str, reason: str, operation: str = "op") -> float:
    labels = {"primitive": "timeout", "operation": operation, "outcome": outcome, "reason": reason}
    return captured.metric("telemetrix_calls_total", **labels)


def abandoned(captured: CapturedTelemetry) -> float:
    return captured.metric("telemetrix_timeouts_abandoned_threads", operation="op")


# In time


def test_timeout_function_is_in_time_returns_its_result(telemetrix_capture: CapturedTelemetry) -> None:
    @timeout(seconds=5, name="op")
    def function(a: int, /, b: int, *c: int, d: int) -> Any:
        return a, b, c, d

    assert function(1, 2, 3, d=4) == (1, 2, (3,), 4)
    assert calls(telemetrix_capture, "success", "in_time") == 1


def test_timeout_function_runs_on_another_thread_that_keeps_no_program_alive() -> None:
    worker = timeout(seconds=5)(threading.current_thread)()
    assert worker is not threading.current_thread()
    assert worker.daemon
    assert worker.name.startswith("telemetrix-timeout-")


def test_timeout_caller_waits_on_the_system_clock_and_gets_the_result() -> None:
    assert timeout(seconds=1e12)(lambda: "result")() == "result"


def test_timeout_limit_has_passed_on_the_system_clock_raises() -> None:
    gate = threading.Event()
    with pytest.raises(OperationTimeout):
        timeout(seconds=0.01)(gate.wait)(PATIENCE)
    gate.set()


def test_timeout_method_gets_its_object() -> None:
    class Client:
        name = "client"

        @timeout(seconds=5)
        def get(self, key: str) -> str:
            return f"{self.name}: {key}"

    assert Client().get("a") == "client: a"


def test_timeout_decorated_function_keeps_name_docstring_and_signature() -> None:
    def function(a: int, /, b: str = "b", *c: int, d: bool = True, **e: int) -> str:
        """What it does."""
        return ""

    guarded = timeout(seconds=1)(function)
    assert (guarded.__qualname__, guarded.__doc__) == (function.__qualname__, "What it does.")
    assert inspect.signature(guarded) == inspect.signature(function)


# Too late


def test_timeout_function_is_late_raises_a_timeout_error_that_says_what_and_how_long(
    hang: Hang, telemetrix_capture: CapturedTelemetry
) -> None:
    with pytest.raises(TimeoutError) as caught:
        timeout(seconds=5, name="op")(hang)(5)
    error = caught.value
    assert isinstance(error, OperationTimeout)
    assert isinstance(error, TelemetrixError)
    assert (error.operation, error.seconds, error.abandoned) == ("op", 5, True)
    assert str(error) == "op did not finish within 5 s; its work goes on in an abandoned thread"
    assert calls(telemetrix_capture, "timeout", "expired") == 1
    (event,) = telemetrix_capture.of(TimeoutExpired)
    assert (event.operation, event.seconds, event.abandoned) == ("op", 5, True)


def test_timeout_abandoned_work_is_counted_until_it_ends(
    hang: Hang,
    telemetrix_capture: CapturedTelemetry,
    telemetrix_clock: VirtualClock,
    late_ends: Callable[[], AbandonedWorkFinished],
) -> None:
    function = timeout(seconds=5, name="op")(hang)
    for count in (1, 2):
        with pytest.raises(OperationTimeout):
            function(5)
        assert abandoned(telemetrix_capture) == count
    telemetrix_clock.advance(7)
    hang.let_go()
    ends = [late_ends(), late_ends()]
    assert sorted(end.late_by for end in ends) == [7, 12]
    assert {(end.operation, end.error_type) for end in ends} == {("op", None)}
    assert abandoned(telemetrix_capture) == 0
    assert calls(telemetrix_capture, "success", "in_time") == 0


def test_timeout_abandoned_work_fails_late_end_tells_the_error_and_nobody_raises_it(
    hang: Hang, telemetrix_capture: CapturedTelemetry, late_ends: Callable[[], AbandonedWorkFinished]
) -> None:
    hang.error = ValueError("late")
    with pytest.raises(OperationTimeout):
        timeout(seconds=5, name="op")(hang)(5)
    hang.let_go()
    assert late_ends().error_type is ValueError
    assert abandoned(telemetrix_capture) == 0
    assert telemetrix_capture.metric("telemetrix_errors_total", operation="op", error_type="ValueError") == 0


def test_timeout_late_end_is_told_in_the_context_of_the_call(hang: Hang) -> None:
    seen: SimpleQueue[str] = SimpleQueue()

    def see(event: AbandonedWorkFinished) -> None:
        if event.operation == "op":
            seen.put(REQUEST.get())

    with subscribe(see, to=AbandonedWorkFinished):
        token = REQUEST.set("of the call")
        with pytest.raises(OperationTimeout):
            timeout(seconds=5, name="op")(hang)(5)
        REQUEST.reset(token)
        hang.let_go()
        assert seen.get(timeout=PATIENCE) == "of the call"


class SlowPool(WorkerPool):
    """Takes five seconds to start a thread."""

    def __init__(self, virtual: VirtualClock) -> None:
        super().__init__()
        self._virtual = virtual

    def submit(self, job: Job) -> None:
        super().submit(job)
        self._virtual.advance(5)


def test_timeout_time_that_passes_before_the_caller_waits_counts(
    telemetrix_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("telemetrix.primitives.timeout._workers", SlowPool(telemetrix_clock))
    gate = threading.Event()
    with pytest.raises(OperationTimeout):
        timeout(seconds=5)(gate.wait)(0.2)
    gate.set()


def test_operation_timeout_survives_pickling_and_copying() -> None:
    error = OperationTimeout("op", 2.5, abandoned=True)
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):  # noqa: S301 - our own
        assert type(twin) is OperationTimeout
        assert (twin.operation, twin.seconds, twin.abandoned, str(twin)) == ("op", 2.5, True, str(error))


def test_operation_timeout_is_no_errno_of_the_operating_system() -> None:
    error = OperationTimeout("op", 2.5)
    assert (error.errno, error.strerror, error.filename) == (None, None, None)


# Errors of the function


@pytest.mark.parametrize("error", [ValueError("own"), TimeoutError("own"), OperationTimeout("own", 1)])
def test_timeout_function_fails_in_time_raises_its_error_itself(
    telemetrix_capture: CapturedTelemetry, error: Exception
) -> None:
    with pytest.raises(type(error), match="own") as caught:
        timeout(seconds=5, name="op")(Script([error]))()
    assert caught.value is error
    assert calls(telemetrix_capture, "failure", "error") == 1
    assert telemetrix_capture.of(TimeoutExpired) == []


def test_timeout_function_fails_traceback_leads_into_the_function() -> None:
    def deep() -> None:
        raise ValueError("own")

    with pytest.raises(ValueError, match="own") as caught:
        timeout(seconds=5)(deep)()
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "deep"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_timeout_function_raises_interpreter_exit_reaches_the_caller_as_cancelled(
    telemetrix_capture: CapturedTelemetry, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        timeout(seconds=5, name="op")(Script([error]))()
    assert calls(telemetrix_capture, "cancelled", "cancelled") == 1


# The caller is interrupted


class InterruptedClock(VirtualClock):
    """Ctrl-C arrives while a thread is waited for."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        raise KeyboardInterrupt

    wait_until = wait


def test_timeout_caller_is_interrupted_goes_at_once_and_the_work_is_counted_until_it_ends(
    telemetrix_capture: CapturedTelemetry, late_ends: Callable[[], AbandonedWorkFinished]
) -> None:
    gate = threading.Event()
    previous = clock.install(InterruptedClock())
    try:
        with pytest.raises(KeyboardInterrupt):
            timeout(seconds=5, name="op")(gate.wait)(PATIENCE)
    finally:
        clock.install(previous)
    assert calls(telemetrix_capture, "cancelled", "cancelled") == 1
    assert abandoned(telemetrix_capture) == 1
    gate.set()
    late_ends()
    assert abandoned(telemetrix_capture) == 0


# Context


def test_timeout_function_sees_the_callers_context_variables_and_cannot_change_them() -> None:
    @timeout(seconds=5)
    def function() -> str:
        seen = REQUEST.get()
        REQUEST.set("the worker's")
        return seen

    token = REQUEST.set("the caller's")
    try:
        assert function() == "the caller's"
        assert REQUEST.get() == "the caller's"
    finally:
        REQUEST.reset(token)
    assert function() == "nobody's"


def test_timeout_many_callers_at_once_get_their_own_results() -> None:
    barrier = threading.Barrier(20)
    results: dict[int, int] = {}

    @timeout(seconds=PATIENCE)
    def function(number: int) -> int:
        barrier.wait(PATIENCE)
        return number

    def call(number: int) -> None:
        results[number] = function(number)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert results == {number: number for number in range(20)}


# What is left behind


class Thing:
    pass


class OwnError(Exception):
    pass


def freed(make: Callable[[], object]) -> bool:
    """Whether what `make` returns dies once nobody refers to it, without the garbage collector's help."""
    died = threading.Event()
    gc.disable()
    try:
        watch = weakref.ref(make(), lambda _: died.set())
        return died.wait(1) and watch() is None
    finally:
        gc.enable()


def test_timeout_result_is_freed_when_the_caller_is_done_with_it() -> None:
    assert freed(timeout(seconds=5)(lambda: Thing()))  # noqa: PLW0108 - a class is refused


def test_timeout_argument_is_freed_when_the_caller_is_done_with_it() -> None:
    function = timeout(seconds=5)(lambda thing: None)

    def make() -> Thing:
        thing = Thing()
        function(thing)
        return thing

    assert freed(make)


def test_timeout_error_is_freed_when_the_caller_is_done_with_it() -> None:
    @timeout(seconds=5)
    def function() -> None:
        raise OwnError

    def make() -> OwnError:
        try:
            function()
        except OwnError as error:
            return error.with_traceback(error.__traceback__)
        raise AssertionError

    assert freed(make)


# What is refused


@pytest.mark.parametrize(
    ("seconds", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (True, TypeError),
        ("1", TypeError),
        (None, TypeError),
        (Thing, TypeError),
    ],
)
def test_timeout_seconds_out_of_range_are_refused_when_the_decorator_is_made(
    seconds: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=r"seconds=.* is not allowed: a finite number of seconds, more than 0"):
        timeout(seconds)


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("target", [generator, 7])
def test_timeout_target_that_cannot_be_guarded_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match="timeout cannot guard"):
        timeout(1)(target)

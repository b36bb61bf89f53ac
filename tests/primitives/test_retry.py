"""retry and async_retry: every rule for plain functions and coroutine functions, watched and unwatched."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import re
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from functools import partial
from typing import Any, Final

import anyio
import anyio.lowlevel
import pytest

from telemetrix import (
    CircuitBreaker,
    CircuitOpenError,
    Jitter,
    RetryStrategy,
    async_retry,
    clock,
    retry,
    timeout,
)
from telemetrix.context import deadline_scope
from telemetrix.events import RetryGaveUp, RetryRecovered, RetryScheduled, SubscriberFailed
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, virtual_clock
from tests.primitives.tally import Tally

Run = Callable[[Callable[[Any], Any], Callable[[], Any]], Any]
"""Guards a function that does what the second argument does, with the decorator that is the first, and calls it."""

INTERRUPTIONS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits asked of the system clock, none of which takes time. A virtual clock would have all calls watched."""
    asked: list[float] = []

    async def async_sleep(seconds: float) -> None:
        asked.append(seconds)
        await anyio.lowlevel.checkpoint()

    monkeypatch.setattr(clock.SystemClock, "sleep", staticmethod(asked.append))
    monkeypatch.setattr(clock.SystemClock, "async_sleep", staticmethod(async_sleep))
    return asked


@pytest.fixture(params=["sync", "asyncio", "trio"])
def run(request: pytest.FixtureRequest) -> Run:
    """Makes one guarded call of a plain function, and of a coroutine function on each event loop."""

    def run_sync(decorator: Callable[[Any], Any], body: Callable[[], Any]) -> Any:
        @decorator
        def guarded() -> Any:
            return body()

        return guarded()

    def run_async(decorator: Callable[[Any], Any], body: Callable[[], Any]) -> Any:
        @decorator
        async def guarded() -> Any:
            await anyio.lowlevel.checkpoint()
            return body()

        return anyio.run(guarded, backend=request.param)

    return run_sync if request.param == "sync" else run_async


def caught_from(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


# What comes back


def test_retry__first_attempt_succeeds__returns_its_result(run: Run, seen: Tally) -> None:
    script = Script(["paid"])
    assert run(retry(3, 1.0, name="pay"), script) == "paid"
    assert script.calls == 1
    assert seen.count("pay", "success", "first_try") == 1
    assert seen.attempts("pay") == 1
    assert seen.events == []


def test_retry__third_attempt_succeeds__waits_twice_and_returns_its_result(
    run: Run, seen: Tally, sleeps: list[float]
) -> None:
    script = Script([ConnectionError, TimeoutError, "paid"])
    assert run(retry(5, 2.0, strategy=RetryStrategy.LINEAR, name="pay"), script) == "paid"
    assert script.calls == 3
    assert sleeps == [2.0, 4.0]
    assert [(e.attempt, e.wait, e.error_type) for e in seen.of(RetryScheduled)] == [
        (1, 2.0, ConnectionError),
        (2, 4.0, TimeoutError),
    ]
    assert [(e.operation, e.attempts) for e in seen.of(RetryRecovered)] == [("pay", 3)]
    assert seen.count("pay", "success", "recovered") == 1
    assert [(call.attempts, call.errors, call.waits) for call in seen.calls] == [
        (3, [ConnectionError, TimeoutError], [2.0, 4.0])
    ]


def test_retry__attempts_used_up__raises_the_last_exception_itself(run: Run, seen: Tally, sleeps: list[float]) -> None:
    errors = [ConnectionError("first"), ConnectionError("second"), ConnectionError("third")]
    caught = caught_from(lambda: run(retry(3, 1.0, strategy=RetryStrategy.FIXED, name="pay"), Script(errors)))
    assert caught is errors[2]
    assert sleeps == [1.0, 1.0]
    assert [(e.attempts, e.reason, e.error_type) for e in seen.of(RetryGaveUp)] == [(3, "exhausted", ConnectionError)]
    assert seen.count("pay", "failure", "exhausted") == 1
    assert [call.errors for call in seen.calls] == [[ConnectionError] * 3]


@pytest.mark.usefixtures("each_path", "sleeps")
def test_retry__attempts_used_up__does_not_chain_the_exceptions(run: Run) -> None:
    error = caught_from(lambda: run(retry(3, 1.0), Script([ValueError("1"), ValueError("2"), ValueError("3")])))
    assert (error.__cause__, error.__context__) == (None, None)


@pytest.mark.usefixtures("each_path", "sleeps")
def test_retry__attempts_used_up__notes_what_was_tried(run: Run) -> None:
    error = caught_from(lambda: run(retry(3, 1.0, name="pay"), Script([ValueError])))
    assert len(error.__notes__) == 1
    assert re.fullmatch(r"telemetrix: pay gave up after 3 attempts in .+ s: exhausted", error.__notes__[0])


@pytest.mark.usefixtures("each_path")
def test_retry__same_exception_object_in_every_call__keeps_one_note_and_the_users_own(run: Run) -> None:
    error = ValueError("always this one")
    error.add_note("said by the user")
    for _ in range(5):
        assert caught_from(lambda: run(retry(2, 0, name="pay"), Script([error]))) is error
    assert len(error.__notes__) == 2
    assert error.__notes__[0] == "said by the user"


@pytest.mark.usefixtures("each_path")
def test_retry__inside_another_retry__each_leaves_its_note() -> None:
    guarded = retry(2, 0, name="outer")(retry(2, 0, name="inner")(Script([ValueError])))
    notes = caught_from(guarded).__notes__
    assert [note.split()[1] for note in notes] == ["inner", "outer"]


def test_retry__inside_another_whose_name_it_begins_with__keeps_its_note() -> None:
    guarded = retry(2, 0, name="load")(retry(2, 0, name="load users")(Script([ValueError])))
    assert len(caught_from(guarded).__notes__) == 2


@dataclasses.dataclass(frozen=True)
class FrozenError(Exception):
    code: int


@pytest.mark.usefixtures("each_path")
def test_retry__exception_that_takes_no_note__still_comes_back_itself(run: Run) -> None:
    error = FrozenError(7)
    assert caught_from(lambda: run(retry(2, 0), Script([error]))) is error


@pytest.mark.usefixtures("each_path")
def test_retry__exhausted_calls__leave_no_cyclic_garbage() -> None:
    script = Script([ValueError])

    @retry(3, 0, name="garbage")
    def guarded(payload: list[int]) -> Any:
        return script()

    @retry(3, 0, name="garbage")
    async def async_guarded(payload: list[int]) -> Any:
        return script()

    def exhaust() -> None:
        for call in (guarded, lambda payload: async_guarded(payload).send(None)):
            try:
                call([1, 2, 3])
            except ValueError:
                continue

    exhaust()  # first use fills caches
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            exhaust()
        assert gc.collect() == 0
    finally:
        gc.enable()


# What is retried


def test_retry__exception_of_another_class__comes_back_at_once_without_a_note(run: Run, seen: Tally) -> None:
    script = Script([ValueError("broken")])
    error = caught_from(lambda: run(retry(3, 1.0, exceptions=(ConnectionError, TimeoutError), name="pay"), script))
    assert script.calls == 1
    assert not hasattr(error, "__notes__")
    assert seen.count("pay", "failure", "not_retryable") == 1


@pytest.mark.usefixtures("sleeps")
def test_retry__second_failure_of_another_class__stops_and_says_so(run: Run, seen: Tally) -> None:
    script = Script([ConnectionError, ValueError("broken")])
    error = caught_from(lambda: run(retry(5, 1.0, exceptions=ConnectionError, name="pay"), script))
    assert script.calls == 2
    assert error.__notes__[0].startswith("telemetrix: pay gave up after 2 attempts in ")
    assert error.__notes__[0].endswith(": not_retryable")
    assert [(e.attempts, e.reason) for e in seen.of(RetryGaveUp)] == [(2, "not_retryable")]


@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_retry__interruption__is_never_retried(kind: type[BaseException], seen: Tally) -> None:
    script = Script([kind])
    assert isinstance(caught_from(retry(3, 1.0, name="pay")(script)), kind)
    assert script.calls == 1
    assert seen.count("pay", "cancelled", "cancelled") == 1
    assert seen.events == []


@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_async_retry__interruption_in_the_second_attempt__is_never_retried(
    kind: type[BaseException], seen: Tally
) -> None:
    script = Script([ValueError, kind])
    call = retry(3, 0, name="pay")(script.acall)()
    assert isinstance(caught_from(lambda: call.send(None)), kind)
    assert script.calls == 2
    assert seen.count("pay", "cancelled", "cancelled") == 1
    assert [(call.attempts, call.errors) for call in seen.calls] == [(2, [ValueError])]


def test_retry__open_circuit__is_not_retried(run: Run, seen: Tally) -> None:
    script = Script([CircuitOpenError("payments")])
    assert isinstance(caught_from(lambda: run(retry(3, 0, name="pay"), script)), CircuitOpenError)
    assert script.calls == 1
    assert seen.count("pay", reason="not_retryable") == 1


@pytest.mark.usefixtures("each_path")
def test_retry__open_circuit_that_is_named__is_retried(run: Run) -> None:
    script = Script([CircuitOpenError("payments"), ValueError(), "paid"])
    assert run(retry(3, 0, exceptions=(Exception, CircuitOpenError)), script) == "paid"


def test_retry__over_a_circuit_breaker_that_opens__stops_at_the_rejection() -> None:
    script = Script([ConnectionError])
    breaker = CircuitBreaker(2, 30.0, name="payments")
    error = caught_from(retry(5, 0)(breaker(script)))
    assert isinstance(error, CircuitOpenError)
    assert error.last_error_type is ConnectionError
    assert script.calls == 2


# When


@pytest.mark.parametrize(
    ("strategy", "delay", "expected"),
    [
        (RetryStrategy.LINEAR, 2.0, [2.0, 4.0, 6.0, 8.0]),
        (RetryStrategy.FIXED, 5.0, [5.0, 5.0, 5.0, 5.0]),
        (RetryStrategy.FIBONACCI, 1.0, [1.0, 1.0, 2.0, 3.0]),
        (RetryStrategy.EXPONENTIAL, 1.0, [1.0, 2.0, 4.0, 8.0]),
    ],
)
@pytest.mark.usefixtures("each_path")
def test_retry__five_attempts_without_jitter__waits_the_first_four_of_the_sequence(
    run: Run, sleeps: list[float], strategy: RetryStrategy, delay: float, expected: list[float]
) -> None:
    caught_from(lambda: run(retry(5, delay, jitter=False, strategy=strategy), Script([ValueError])))
    assert sleeps == expected


@pytest.mark.parametrize(
    ("strategy", "jitter", "expected"),
    [
        (RetryStrategy.EXPONENTIAL, None, [(0.0, 1.0), (0.0, 2.0)]),
        (RetryStrategy.EXPONENTIAL, True, [(0.0, 1.0), (0.0, 2.0)]),
        (RetryStrategy.EXPONENTIAL, False, []),
        (RetryStrategy.LINEAR, None, []),
        (RetryStrategy.FIXED, None, []),
        (RetryStrategy.FIBONACCI, None, []),
        (RetryStrategy.LINEAR, True, [(0.0, 1.0), (0.0, 2.0)]),
        (RetryStrategy.FIXED, Jitter.EQUAL, [(0.0, 0.5), (0.0, 0.5)]),
        (RetryStrategy.FIXED, Jitter.DECORRELATED, [(1.0, 3.0), (1.0, 9.0)]),
    ],
)
def test_retry__jitter__is_drawn_from_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch,
    sleeps: list[float],
    strategy: RetryStrategy,
    jitter: bool | Jitter | None,
    expected: list[tuple[float, float]],
) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return high

    monkeypatch.setattr("random.uniform", uniform)
    caught_from(retry(3, 1.0, jitter=jitter, strategy=strategy)(Script([ValueError])))
    assert asked == expected
    assert len(sleeps) == 2


@pytest.mark.usefixtures("each_path")
def test_retry__zero_delay__never_sleeps(run: Run, sleeps: list[float]) -> None:
    assert run(retry(3, 0), Script([ValueError, ValueError, "done"])) == "done"
    assert sleeps == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"delay": 100.0}, [100.0, 200.0, 300.0, 300.0]),
        ({"delay": 500.0}, [500.0, 500.0, 500.0, 500.0]),
        ({"delay": 1.0, "max_delay": 3.0}, [1.0, 2.0, 3.0, 3.0]),
    ],
)
def test_retry__long_waits__are_capped_at_max_delay_or_300_s_or_the_delay(
    sleeps: list[float], settings: dict[str, Any], expected: list[float]
) -> None:
    caught_from(retry(5, jitter=False, **settings)(Script([ValueError])))
    assert sleeps == expected


@pytest.mark.usefixtures("each_path")
def test_retry__deadline_before_the_wait_would_end__gives_up_instead_of_sleeping(run: Run, sleeps: list[float]) -> None:
    script = Script([ValueError("slow")])

    def body() -> Any:
        return script()

    with deadline_scope(clock.current().monotonic() + 5.0):
        error = caught_from(lambda: run(retry(9, 3.0, jitter=False, name="pay"), body))
    # 3 s fit, the 6 s after them do not; the patched sleep takes no time, so neither does the first.
    assert sleeps == [3.0]
    assert script.calls == 2
    assert error.__notes__[0].endswith(": deadline")


def test_retry__inside_a_timeout__sees_its_deadline(telemetrix_clock: VirtualClock) -> None:
    script = Script([ValueError("slow")])
    guarded = timeout(10.0)(retry(9, 4.0, strategy=RetryStrategy.FIXED)(script))
    assert isinstance(caught_from(guarded), ValueError)
    assert telemetrix_clock.sleeps == [4.0, 4.0]
    assert script.calls == 3


def test_retry__events_under_a_virtual_clock__carry_the_moments(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    retry(3, 2.0, strategy=RetryStrategy.LINEAR, name="pay")(Script([ValueError, ValueError, "paid"]))()
    assert [(type(e).__name__, e.at) for e in telemetrix_capture.events] == [
        ("RetryScheduled", 1000.0),
        ("RetryScheduled", 1002.0),
        ("RetryRecovered", 1006.0),
    ]
    assert telemetrix_capture.of(RetryRecovered)[0].elapsed == 6.0
    assert telemetrix_capture.metric("telemetrix_call_duration_seconds_sum", operation="pay") == 6.0
    assert telemetrix_capture.span_tree() == ["retry pay", "  attempt pay", "  attempt pay", "  attempt pay"]


# on_retry


def test_on_retry__each_failure_that_is_retried__is_called_with_exception_and_attempt_before_the_wait(
    run: Run, seen: Tally, sleeps: list[float]
) -> None:
    errors = [ValueError("1"), ValueError("2"), ValueError("3")]
    heard: list[tuple[BaseException, int, int]] = []

    def on_retry(exception: BaseException, attempt: int) -> None:
        heard.append((exception, attempt, len(sleeps)))

    caught_from(lambda: run(retry(3, 1.0, on_retry=on_retry), Script(errors)))
    assert heard == [(errors[0], 1, 0), (errors[1], 2, 1)]


def test_on_retry__raises__is_counted_and_changes_nothing(
    run: Run, seen: Tally, caplog: pytest.LogCaptureFixture
) -> None:
    def on_retry(exception: BaseException, attempt: int) -> None:
        raise RuntimeError("the callback is broken")

    assert run(retry(3, 0, on_retry=on_retry), Script([ValueError, ValueError, "paid"])) == "paid"
    assert [(e.subscriber, e.error_type) for e in seen.of(SubscriberFailed)] == [("on_retry", RuntimeError)] * 2
    assert "the callback is broken" not in caplog.text


def test_on_retry__is_interrupted__ends_the_call_and_its_spans(run: Run, seen: Tally) -> None:
    def on_retry(exception: BaseException, attempt: int) -> None:
        raise KeyboardInterrupt

    # In a context of its own, because a span that is never left stays current.
    guarded = partial(run, retry(3, 0, on_retry=on_retry, name="pay"), Script([ValueError]))
    caught = caught_from(lambda: copy_context().run(guarded))
    assert isinstance(caught, KeyboardInterrupt)
    assert seen.count("pay", "cancelled") == 1


# How it is written


def plain(a: int, b: int = 2) -> Any:
    return (a, b)


def test_retry__bare__uses_the_defaults(sleeps: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda low, high: high)
    script = Script([ValueError])

    @retry
    def guarded() -> Any:
        return script()

    caught_from(guarded)
    assert script.calls == 3
    assert sleeps == [1.0, 2.0]


def test_retry__empty_parentheses__is_the_same_as_bare() -> None:
    script = Script([ValueError, "paid"])
    assert retry()(script) is not script
    assert retry(delay=0)(script)() == "paid"


@pytest.mark.parametrize("target", [plain, Script([1]), partial(plain, 1), staticmethod(plain)])
def test_async_retry__on_a_plain_function__is_refused(target: Any) -> None:
    for decorator in (async_retry, async_retry(3, 0)):
        with pytest.raises(TypeError, match="it is not a coroutine function; use retry"):
            decorator(target)


@pytest.mark.anyio
async def test_async_retry__bare_and_with_settings__retries() -> None:
    first, second = Script(["done"]), Script([ValueError, "done"])

    @async_retry
    async def bare() -> Any:
        return first()

    @async_retry(max_attempts=3, delay=0)
    async def with_settings() -> Any:
        return second()

    assert (await bare(), await with_settings()) == ("done", "done")


# Settings


@pytest.mark.parametrize("decorator", [retry, async_retry])
@pytest.mark.parametrize(
    ("parameter", "value", "error"),
    [
        ("max_attempts", 0, ValueError),
        ("max_attempts", -1, ValueError),
        ("max_attempts", True, TypeError),
        ("max_attempts", 2.0, TypeError),
        ("max_attempts", None, TypeError),
        ("delay", -0.1, ValueError),
        ("delay", float("nan"), ValueError),
        ("delay", float("inf"), ValueError),
        ("delay", "1", TypeError),
        ("delay", True, TypeError),
        ("backoff", 0, ValueError),
        ("backoff", 0.5, ValueError),
        ("backoff", float("nan"), ValueError),
        ("backoff", float("inf"), ValueError),
        ("jitter", 1, TypeError),
        ("jitter", "full", TypeError),
        ("strategy", "linear", TypeError),
        ("strategy", None, TypeError),
        ("exceptions", (), ValueError),
        ("exceptions", (ValueError, BaseException), ValueError),
        ("exceptions", KeyboardInterrupt, ValueError),
        ("exceptions", asyncio.CancelledError, ValueError),
        ("exceptions", "ValueError", TypeError),
        ("exceptions", ValueError("an instance"), TypeError),
        ("on_retry", "print", TypeError),
        ("max_delay", 0, ValueError),
        ("max_delay", 0.5, ValueError),
        ("max_delay", float("inf"), ValueError),
        ("name", "", ValueError),
        ("name", 3, TypeError),
    ],
)
def test_retry__setting_out_of_range__is_refused_before_any_function_is_seen(
    decorator: Callable[..., object], parameter: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"^{parameter}=.+ is not allowed: "):
        decorator(**{parameter: value})


def test_retry__coroutine_function_as_on_retry__is_refused() -> None:
    async def on_retry(exception: BaseException, attempt: int) -> None: ...

    with pytest.raises(TypeError, match=r"^on_retry=.+ is not allowed: a plain function; it is called, not awaited"):
        retry(on_retry=on_retry)


def test_retry__without_a_name__is_called_after_the_function(spans: CapturedTelemetry) -> None:
    retry(3, 0)(plain)(1)
    name = f"{plain.__module__}.plain"
    assert spans.span_tree() == [f"retry {name}", f"  attempt {name}"]


# Cancellation


@pytest.mark.anyio
async def test_async_retry__cancelled_during_an_attempt__is_not_retried(spans: CapturedTelemetry, tally: Tally) -> None:
    script = Script([None])
    started = anyio.Event()

    @retry(3, 0, name="pay")
    async def guarded() -> None:
        script()
        started.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(guarded)
        await started.wait()
        tasks.cancel_scope.cancel()
    assert script.calls == 1
    assert tally.count("pay", "cancelled") == 1
    assert spans.span_tree() == ["retry pay", "  attempt pay"]


@pytest.mark.anyio
async def test_async_retry__cancelled_during_the_wait__ends_at_once(spans: CapturedTelemetry, tally: Tally) -> None:
    script = Script([ValueError])
    failed = anyio.Event()
    with virtual_clock(autojump=False) as virtual:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(retry(3, 5.0, name="pay", on_retry=lambda *_: failed.set())(script.acall))
            await failed.wait()
            tasks.cancel_scope.cancel()
        assert virtual.monotonic() == 1000.0
    assert script.calls == 1
    assert tally.count("pay", "cancelled") == 1
    assert spans.span_tree() == ["retry pay", "  attempt pay"]


def test_async_retry__coroutine_closed_while_it_runs__ends_the_call(seen: Tally) -> None:
    @retry(3, 0, name="pay")
    async def guarded() -> None:
        await asyncio.sleep(0)

    call: Coroutine[Any, Any, None] = guarded()
    call.send(None)
    call.close()
    assert seen.count("pay", "cancelled") == 1


def test_retry__keyboard_interrupt_during_the_wait__ends_the_call(seen: Tally, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script([ValueError])
    monkeypatch.setattr(clock.SystemClock, "sleep", staticmethod(Script([KeyboardInterrupt])))
    assert isinstance(caught_from(retry(3, 1.0, name="pay")(script)), KeyboardInterrupt)
    assert script.calls == 1
    assert seen.count("pay", "cancelled") == 1


# Many at once


def test_retry__50_threads_share_a_function__each_call_counts_its_own_attempts(seen: Tally) -> None:
    # E7: elsewhere the statistics of concurrent calls are one another's.
    mine = threading.local()
    start = threading.Barrier(50)
    wrong: list[object] = []

    def on_retry(exception: BaseException, attempt: int) -> None:
        if attempt != mine.calls:
            wrong.append((attempt, mine.calls))

    @retry(4, 0, on_retry=on_retry, name="shared")
    def guarded(failures: int) -> int:
        mine.calls += 1
        if mine.calls <= failures:
            raise ConnectionError
        return failures

    def work(number: int) -> None:
        start.wait(10)
        for call in range(20):
            failures = (number + call) % 4
            mine.calls = 0
            if guarded(failures) != failures or mine.calls != failures + 1:
                wrong.append((failures, mine.calls))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert seen.count("shared", reason="first_try") == 250
    assert seen.count("shared", reason="recovered") == 750
    assert seen.attempts("shared") == 250 * (1 + 2 + 3 + 4)
    assert len(seen.of(RetryScheduled)) == 250 * (1 + 2 + 3)


@pytest.mark.anyio
async def test_async_retry__20_tasks_share_a_function__each_has_all_its_attempts(
    telemetrix_clock: VirtualClock,
) -> None:
    # E6: elsewhere they use up each other's.
    done: list[int] = []

    @retry(3, 1.0)
    async def guarded(script: Script) -> Any:
        await anyio.lowlevel.checkpoint()
        return script()

    async def work(number: int) -> None:
        done.append(await guarded(Script([ValueError, ValueError, number])))

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(work, number)
    assert sorted(done) == list(range(20))
    assert len(telemetrix_clock.sleeps) == 40

"""The deadline that a timeout sets for everything inside it: other timeouts, retries, and whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import anyio
import anyio.lowlevel
import pytest

from telemetrix import OperationTimeout, RetryStrategy, remaining, retry, retrying, timeout
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock

PATIENCE = 10


@pytest.fixture
def stay(telemetrix_clock: VirtualClock) -> Iterator[Callable[[float], None]]:
    """Passes that many virtual seconds, and does not come back before the test is over."""
    gate = threading.Event()

    def work(seconds: float) -> None:
        telemetrix_clock.advance(seconds)
        gate.wait(PATIENCE)

    yield work
    gate.set()


def calls(captured: CapturedTelemetry, primitive: str, operation: str, outcome: str, reason: str) -> float:
    labels = {"primitive": primitive, "operation": operation, "outcome": outcome, "reason": reason}
    return captured.metric("telemetrix_calls_total", **labels)


# Asking for it


def test_remaining_without_a_timeout_is_none() -> None:
    assert remaining() is None


def test_remaining_inside_a_timeout_counts_down_to_0(telemetrix_clock: VirtualClock) -> None:
    @timeout(seconds=100)
    @timeout(seconds=5)
    def function() -> list[float | None]:
        seen = [remaining()]
        telemetrix_clock.advance(2)
        seen.append(remaining())
        return seen

    assert function() == [5, 3]
    assert remaining() is None


@pytest.mark.anyio
async def test_remaining_past_the_deadline_is_0(telemetrix_clock: VirtualClock) -> None:
    @timeout(seconds=5)
    async def function() -> float | None:
        telemetrix_clock.advance(6)
        return remaining()

    assert await function() == 0
    assert remaining() is None


@pytest.mark.anyio
async def test_remaining_in_a_child_task_and_a_worker_thread_is_that_of_the_call(
    telemetrix_clock: VirtualClock,
) -> None:
    seen: list[float | None] = []

    async def child() -> None:
        seen.append(remaining())

    @timeout(seconds=5)
    async def function() -> None:
        telemetrix_clock.advance(1)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child)
        seen.append(await anyio.to_thread.run_sync(remaining))

    await function()
    assert seen == [4, 4]


# Sync in sync


def test_nested_sync_inner_limit_is_nearer_only_the_inner_call_is_late(
    stay: Callable[[float], None], telemetrix_capture: CapturedTelemetry
) -> None:
    inner = timeout(seconds=1, name="inner")(stay)

    @timeout(seconds=5, name="outer")
    def outer() -> str:
        with pytest.raises(OperationTimeout) as caught:
            inner(1)
        assert (caught.value.operation, caught.value.seconds) == ("inner", 1)
        return "outer goes on"

    assert outer() == "outer goes on"
    assert calls(telemetrix_capture, "timeout", "inner", "timeout", "expired") == 1
    assert calls(telemetrix_capture, "timeout", "outer", "success", "in_time") == 1


def test_nested_sync_outer_limit_is_nearer_the_inner_call_is_cut_to_it(
    stay: Callable[[float], None], telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    seen: list[tuple[str, float]] = []
    inner_is_over = threading.Event()
    inner = timeout(seconds=5, name="inner")(stay)

    @timeout(seconds=3, name="outer")
    def outer() -> None:
        telemetrix_clock.advance(1)
        try:
            inner(2)
        except OperationTimeout as error:
            seen.append((error.operation, error.seconds))
        inner_is_over.set()
        stay(0)

    with pytest.raises(OperationTimeout) as caught:
        outer()
    assert inner_is_over.wait(PATIENCE)
    assert (caught.value.operation, caught.value.seconds) == ("outer", 3)
    assert seen == [("inner", 2)]
    assert calls(telemetrix_capture, "timeout", "inner", "timeout", "deadline") == 1
    assert calls(telemetrix_capture, "timeout", "outer", "timeout", "expired") == 1


def test_nested_sync_deadline_has_passed_already_the_inner_function_is_not_run(
    stay: Callable[[float], None], telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    function = Script(["never"])
    errors: list[OperationTimeout] = []
    done = threading.Event()

    @timeout(seconds=3)
    def outer() -> None:
        telemetrix_clock.advance(3)
        try:
            timeout(seconds=5, name="inner")(function)()
        except OperationTimeout as error:
            errors.append(error)
        done.set()
        stay(0)

    with pytest.raises(OperationTimeout):
        outer()
    assert done.wait(PATIENCE)
    assert function.calls == 0
    assert [(error.operation, error.seconds, error.abandoned) for error in errors] == [("inner", 0, False)]
    assert calls(telemetrix_capture, "timeout", "inner", "timeout", "deadline") == 1


# Async in async


@pytest.mark.anyio
async def test_nested_async_inner_limit_is_nearer_only_the_inner_call_is_late(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    @timeout(seconds=1, name="inner")
    async def inner() -> None:
        telemetrix_clock.advance(1)
        await anyio.sleep_forever()

    @timeout(seconds=5, name="outer")
    async def outer() -> str:
        with pytest.raises(OperationTimeout):
            await inner()
        await anyio.lowlevel.checkpoint()
        return "outer goes on"

    assert await outer() == "outer goes on"
    assert calls(telemetrix_capture, "timeout", "inner", "timeout", "expired") == 1
    assert calls(telemetrix_capture, "timeout", "outer", "success", "in_time") == 1


@pytest.mark.anyio
async def test_nested_async_outer_limit_is_nearer_the_outer_call_is_late(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    left: list[float | None] = []

    @timeout(seconds=5, name="inner")
    async def inner() -> None:
        left.append(remaining())
        telemetrix_clock.advance(2)
        await anyio.sleep_forever()

    @timeout(seconds=3, name="outer")
    async def outer() -> None:
        telemetrix_clock.advance(1)
        await inner()

    with pytest.raises(OperationTimeout) as caught:
        await outer()
    assert (caught.value.operation, caught.value.seconds) == ("outer", 3)
    assert left == [2]
    assert calls(telemetrix_capture, "timeout", "outer", "timeout", "expired") == 1


# Sync in async, async in sync


@pytest.mark.anyio
async def test_nested_sync_in_async_sees_the_nearer_deadline_of_either(telemetrix_clock: VirtualClock) -> None:
    @timeout(seconds=5)
    async def outer() -> list[float | None]:
        telemetrix_clock.advance(1)
        return [timeout(seconds=2)(remaining)(), timeout(seconds=10)(remaining)()]

    assert await outer() == [2, 4]


@pytest.mark.anyio
async def test_nested_sync_in_async_inner_limit_is_nearer_only_the_inner_call_is_late(
    stay: Callable[[float], None],
) -> None:
    @timeout(seconds=5)
    async def outer() -> str:
        with pytest.raises(OperationTimeout):
            timeout(seconds=1)(stay)(1)
        await anyio.lowlevel.checkpoint()
        return "outer goes on"

    assert await outer() == "outer goes on"


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_nested_async_in_sync_sees_the_nearer_deadline_of_either(telemetrix_clock: VirtualClock, backend: str) -> None:
    async def ask() -> float | None:
        return remaining()

    @timeout(seconds=5)
    def outer() -> list[float | None]:
        telemetrix_clock.advance(1)
        return [anyio.run(timeout(seconds=limit)(ask), backend=backend) for limit in (2, 10)]

    assert outer() == [2, 4]


@pytest.mark.anyio
async def test_virtual_clock_moved_by_a_worker_thread_past_an_async_deadline_cancels_the_task(
    telemetrix_clock: VirtualClock,
) -> None:
    @timeout(seconds=1)
    async def function() -> None:
        await anyio.to_thread.run_sync(telemetrix_clock.sleep, 2)
        await anyio.sleep_forever()

    with pytest.raises(OperationTimeout):
        await function()


def test_virtual_clock_moved_after_an_event_loop_has_ended_leaves_its_scopes_alone(
    telemetrix_clock: VirtualClock,
) -> None:
    @timeout(seconds=1)
    async def function() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError) as caught:
        anyio.run(function)
    telemetrix_clock.advance(1)
    assert caught.tb is not None  # its frames keep the scope alive


# Retry inside a timeout


def failing_retry(exceptions: type[Exception] = Exception, attempts: int = 10) -> Callable[..., Callable[[], object]]:
    decorate: Callable[..., Callable[[], object]] = retry(
        attempts, delay=2, strategy=RetryStrategy.FIXED, exceptions=exceptions, name="op"
    )
    return decorate


def test_retry_in_timeout_next_wait_would_end_past_the_deadline_gives_up_at_once(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    work = Script([ConnectionError("down")])
    with pytest.raises(ConnectionError, match="down") as caught:
        timeout(seconds=5)(failing_retry()(work))()
    assert telemetrix_clock.sleeps == [2, 2]
    assert work.calls == 3
    assert caught.value.__notes__ == ["telemetrix: op gave up after 3 attempts in 4 s: deadline"]
    assert calls(telemetrix_capture, "retry", "op", "failure", "deadline") == 1


@pytest.mark.anyio
async def test_retry_in_async_timeout_next_wait_would_end_past_the_deadline_gives_up_at_once(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    work = Script([ConnectionError("down")])
    with pytest.raises(ConnectionError, match="down"):
        await timeout(seconds=5)(retry(10, delay=2, strategy=RetryStrategy.FIXED, name="op")(work.acall))()
    assert telemetrix_clock.sleeps == [2, 2]
    assert calls(telemetrix_capture, "retry", "op", "failure", "deadline") == 1


def test_retry_in_timeout_wait_that_ends_exactly_at_the_deadline_is_not_begun(telemetrix_clock: VirtualClock) -> None:
    work = Script([ConnectionError("down")])
    with pytest.raises(ConnectionError, match="down"):
        timeout(seconds=2)(failing_retry()(work))()
    assert telemetrix_clock.sleeps == []
    assert work.calls == 1


def test_retry_block_in_timeout_gives_up_at_the_deadline(telemetrix_clock: VirtualClock) -> None:
    @timeout(seconds=5)
    def function() -> None:
        for attempt in retrying(10, delay=2, strategy=RetryStrategy.FIXED):
            with attempt:
                raise ConnectionError("down")

    with pytest.raises(ConnectionError, match="down"):
        function()
    assert telemetrix_clock.sleeps == [2, 2]


def test_retry_in_timeout_in_timeout_sees_the_outer_deadline_where_that_is_nearer(
    telemetrix_clock: VirtualClock,
) -> None:
    work = Script([ConnectionError("down")])
    with pytest.raises(ConnectionError, match="down"):
        timeout(seconds=3)(timeout(seconds=100)(failing_retry()(work)))()
    assert telemetrix_clock.sleeps == [2]


def test_retry_around_timeout_each_attempt_has_the_whole_limit(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    seen: list[float | None] = []

    @retry(3, delay=2, strategy=RetryStrategy.FIXED)
    @timeout(seconds=5)
    def function() -> None:
        seen.append(remaining())
        telemetrix_clock.advance(1)
        raise ConnectionError

    with pytest.raises(ConnectionError):
        function()
    assert seen == [5, 5, 5]


def test_retry_around_timeout_late_attempt_is_retried(stay: Callable[[float], None]) -> None:
    work = Script([lambda: stay(5), lambda: "second"])

    @retry(3, delay=0, exceptions=TimeoutError)
    @timeout(seconds=5)
    def function() -> object:
        return work()()

    assert function() == "second"


@pytest.mark.anyio
async def test_retry_around_async_timeout_late_attempt_is_retried(telemetrix_clock: VirtualClock) -> None:
    attempts = 0

    @retry(3, delay=0, exceptions=TimeoutError)
    @timeout(seconds=5)
    async def function() -> str:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            telemetrix_clock.advance(5)
            await anyio.sleep_forever()
        return "second"

    assert await function() == "second"

"""The timeout of coroutine functions, on asyncio and trio."""

from __future__ import annotations

import contextvars
import inspect
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telemetrix import OperationTimeout, timeout
from telemetrix.events import AbandonedWorkFinished, TimeoutExpired
from telemetrix.testing import CapturedTelemetry, VirtualClock

pytestmark = pytest.mark.anyio

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="nobody's")


def calls(captured: CapturedTelemetry, outcome: str, reason: str) -> float:
    labels = {"primitive": "timeout", "operation": "op", "outcome": outcome, "reason": reason}
    return captured.metric("telemetrix_calls_total", **labels)


async def test_timeout_coroutine_is_in_time_returns_its_result(telemetrix_capture: CapturedTelemetry) -> None:
    @timeout(seconds=5, name="op")
    async def function(a: int, /, b: int, *c: int, d: int) -> Any:
        await anyio.lowlevel.checkpoint()
        return a, b, c, d

    assert inspect.iscoroutinefunction(function)
    assert await function(1, 2, 3, d=4) == (1, 2, (3,), 4)
    assert calls(telemetrix_capture, "success", "in_time") == 1


async def test_timeout_coroutine_is_late_is_cancelled_and_raises(
    telemetrix_capture: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    @timeout(seconds=5, name="op")
    async def function() -> None:
        telemetrix_clock.advance(5)
        await anyio.sleep_forever()

    with pytest.raises(TimeoutError) as caught:
        await function()
    error = caught.value
    assert isinstance(error, OperationTimeout)
    assert (error.operation, error.seconds, error.abandoned) == ("op", 5, False)
    assert str(error) == "op did not finish within 5 s"
    assert calls(telemetrix_capture, "timeout", "expired") == 1
    (event,) = telemetrix_capture.of(TimeoutExpired)
    assert (event.operation, event.seconds, event.abandoned) == ("op", 5, False)


async def test_timeout_coroutine_is_late_its_cleanup_runs_before_the_caller_goes_on(
    telemetrix_clock: VirtualClock,
) -> None:
    steps: list[str] = []

    @timeout(seconds=5)
    async def function() -> None:
        try:
            telemetrix_clock.advance(5)
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
            steps.append("cleaned up")

    with pytest.raises(OperationTimeout):
        await function()
    assert steps == ["cleaned up"]


async def test_timeout_coroutine_is_late_leaves_nothing_behind(
    telemetrix_capture: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    @timeout(seconds=5, name="op")
    async def function() -> None:
        telemetrix_clock.advance(5)
        await anyio.sleep_forever()

    with pytest.raises(OperationTimeout):
        await function()
    assert telemetrix_capture.metric("telemetrix_timeouts_abandoned_threads", operation="op") == 0
    assert telemetrix_capture.of(AbandonedWorkFinished) == []


async def test_timeout_limit_has_passed_on_the_event_loops_clock_raises() -> None:
    with pytest.raises(OperationTimeout):
        await timeout(seconds=0.01)(anyio.sleep_forever)()


async def test_timeout_very_long_limit_is_no_problem_for_the_event_loop() -> None:
    await timeout(seconds=1e12)(anyio.lowlevel.checkpoint)()


@pytest.mark.parametrize("error", [ValueError("own"), TimeoutError("own"), OperationTimeout("own", 1)])
async def test_timeout_coroutine_fails_in_time_raises_its_error_itself(
    telemetrix_capture: CapturedTelemetry, error: Exception
) -> None:
    @timeout(seconds=5, name="op")
    async def function() -> None:
        await anyio.lowlevel.checkpoint()
        raise error

    with pytest.raises(type(error), match="own") as caught:
        await function()
    assert caught.value is error
    assert calls(telemetrix_capture, "failure", "error") == 1
    assert telemetrix_capture.of(TimeoutExpired) == []


async def test_timeout_own_timeout_scope_of_the_coroutine_passes_as_it_is(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    @timeout(seconds=5, name="op")
    async def function() -> None:
        with anyio.fail_after(0):
            await anyio.sleep_forever()

    with pytest.raises(TimeoutError) as caught:
        await function()
    assert not isinstance(caught.value, OperationTimeout)
    assert calls(telemetrix_capture, "failure", "error") == 1


async def test_timeout_coroutine_fails_while_it_is_cancelled_raises_that_error(
    telemetrix_capture: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    @timeout(seconds=5, name="op")
    async def function() -> None:
        try:
            telemetrix_clock.advance(5)
            await anyio.sleep_forever()
        finally:
            raise ValueError("cleanup failed")

    with pytest.raises(ValueError, match="cleanup failed"):
        await function()
    assert calls(telemetrix_capture, "failure", "error") == 1


async def test_timeout_coroutine_answers_its_cancellation_with_a_result_returns_it(
    telemetrix_capture: CapturedTelemetry, telemetrix_clock: VirtualClock
) -> None:
    @timeout(seconds=5, name="op")
    async def function() -> str:
        try:
            telemetrix_clock.advance(5)
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            pass
        return "partial result"

    assert await function() == "partial result"
    assert calls(telemetrix_capture, "success", "in_time") == 1


async def test_timeout_task_is_cancelled_from_outside_counts_as_cancelled_and_not_as_late(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await timeout(seconds=5, name="op")(anyio.sleep_forever)()
    assert scope.cancelled_caught
    assert calls(telemetrix_capture, "cancelled", "cancelled") == 1
    assert telemetrix_capture.of(TimeoutExpired) == []


async def test_timeout_coroutine_runs_in_the_callers_task_and_context() -> None:
    @timeout(seconds=5)
    async def function() -> int:
        REQUEST.set("set inside")
        return anyio.get_current_task().id

    assert await function() == anyio.get_current_task().id
    assert REQUEST.get() == "set inside"


async def test_timeout_method_gets_its_object() -> None:
    class Client:
        name = "client"

        @timeout(seconds=5)
        async def get(self, key: str) -> str:
            return f"{self.name}: {key}"

    assert await Client().get(key="a") == "client: a"


async def test_timeout_many_tasks_at_once_are_late_each_for_itself(telemetrix_clock: VirtualClock) -> None:
    results: dict[int, object] = {}

    @timeout(seconds=5)
    async def function(number: int) -> int:
        if number % 2:
            await anyio.sleep_forever()
        await anyio.lowlevel.checkpoint()
        return number

    async def call(number: int) -> None:
        try:
            results[number] = await function(number)
        except OperationTimeout:
            results[number] = "late"

    async with anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(call, number)
        await anyio.wait_all_tasks_blocked()
        telemetrix_clock.advance(5)
    assert results == {number: "late" if number % 2 else number for number in range(10)}


async def test_timeout_async_generator_function_is_refused() -> None:
    async def generator() -> Any:
        yield 1

    with pytest.raises(TypeError, match="timeout cannot guard generator function"):
        timeout(1)(generator)

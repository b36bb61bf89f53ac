from __future__ import annotations

import inspect
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telemetrix import safe_execute
from telemetrix.events import FallbackServed
from telemetrix.testing import CapturedTelemetry, Script, capture

NAME = f"{Script.__module__}.{Script.__qualname__}"


@pytest.fixture(params=["fast", "observed"])
def path(request: pytest.FixtureRequest) -> Iterator[CapturedTelemetry]:
    """With nobody who listens to live calls, and with spans."""
    with capture(spans="all" if request.param == "observed" else None) as captured:
        yield captured


def calls(captured: CapturedTelemetry, outcome: str, reason: str) -> float:
    labels = {"primitive": "fallback", "operation": NAME, "outcome": outcome, "reason": reason}
    return captured.metric("telemetrix_calls_total", **labels)


def test_safe_execute_function_succeeds_returns_its_result(path: CapturedTelemetry) -> None:
    assert safe_execute(Script(["result"]), default="default") == "result"
    assert calls(path, "success", "primary") == 1


def test_safe_execute_function_gets_the_arguments_and_nothing_else() -> None:
    def function(*args: object, **kwargs: object) -> Any:
        return args, kwargs

    result = safe_execute(function, 1, "two", three=3, name="four", default=0, exceptions=ValueError)
    assert result == ((1, "two"), {"three": 3, "name": "four"})


def test_safe_execute_function_fails_returns_the_default(path: CapturedTelemetry) -> None:
    assert safe_execute(Script([ValueError]), default="default") == "default"
    assert calls(path, "fallback", "served") == 1
    assert [event.error_type for event in path.of(FallbackServed)] == [ValueError]


def test_safe_execute_function_fails_without_a_default_returns_none() -> None:
    assert safe_execute(Script([ValueError])) is None


@pytest.mark.parametrize("default", [0, "", False, [], {"debug": False}, dict, print, lambda: "called"])
def test_safe_execute_function_fails_returns_that_very_default_uncalled(default: object) -> None:
    assert safe_execute(Script([ValueError]), default=default) is default


def test_safe_execute_function_is_called_once() -> None:
    function = Script([ValueError])
    safe_execute(function)
    assert function.calls == 1


def test_safe_execute_wrong_arguments_return_the_default() -> None:
    assert safe_execute(int, "not a number", default=-1) == -1
    assert safe_execute(lambda a: a, 1, 2, default="default") == "default"


@pytest.mark.parametrize(("error", "answered"), [(KeyError, True), (IndexError, True), (ValueError, False)])
def test_safe_execute_exceptions_answers_for_these_and_no_others(error: type[Exception], answered: bool) -> None:
    if answered:
        assert safe_execute(Script([error]), default="default", exceptions=LookupError) == "default"
    else:
        with pytest.raises(error):
            safe_execute(Script([error]), default="default", exceptions=LookupError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_safe_execute_interpreter_exit_reaches_the_caller(path: CapturedTelemetry, error: type[BaseException]) -> None:
    with pytest.raises(error):
        safe_execute(Script([error]), default="default")
    assert calls(path, "cancelled", "cancelled") == 1


def test_safe_execute_method_and_partial_are_named_after_their_function() -> None:
    with capture(spans=None) as captured:
        safe_execute(partial(boom, 1))
        safe_execute(Holder().method)
    assert [event.operation for event in captured.of(FallbackServed)] == [
        f"{__name__}.boom",
        f"{__name__}.Holder.method",
    ]


def boom(*args: object) -> None:
    raise ConnectionError


class Holder:
    def method(self) -> None:
        raise ConnectionError


# Coroutine functions


async def add(a: int, *, b: int) -> int:
    await anyio.lowlevel.checkpoint()
    return a + b


async def fail(error: type[BaseException]) -> None:
    await anyio.lowlevel.checkpoint()
    raise error


@pytest.mark.anyio
async def test_safe_execute_async_function_succeeds_returns_its_result_when_awaited(path: CapturedTelemetry) -> None:
    awaitable = safe_execute(add, 1, b=2, default=0)
    assert inspect.isawaitable(awaitable)
    assert await awaitable == 3


@pytest.mark.anyio
async def test_safe_execute_async_function_fails_returns_the_default(path: CapturedTelemetry) -> None:
    assert await safe_execute(fail, ValueError, default="default") == "default"


@pytest.mark.anyio
async def test_safe_execute_async_exceptions_answers_for_these_and_no_others() -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the stub's own
        await safe_execute(fail, ValueError, default="default", exceptions=LookupError)


@pytest.mark.anyio
async def test_safe_execute_async_function_is_not_run_before_it_is_awaited() -> None:
    function = Script(["result"])
    awaitable = safe_execute(function.acall)
    assert function.calls == 0
    await awaitable
    assert function.calls == 1


@pytest.mark.anyio
async def test_safe_execute_cancellation_reaches_the_caller(path: CapturedTelemetry) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await safe_execute(anyio.sleep_forever, default="default")
    assert scope.cancelled_caught


# What is refused


@pytest.mark.parametrize("func", [None, 7, "int"])
def test_safe_execute_something_that_is_not_a_function_is_refused(func: Any) -> None:
    with pytest.raises(TypeError, match=r"func=.* is not allowed: a function, followed by its arguments"):
        safe_execute(func, default=0)


@pytest.mark.parametrize(
    ("exceptions", "error"), [((), ValueError), (BaseException, ValueError), ("ValueError", TypeError)]
)
def test_safe_execute_exceptions_out_of_range_are_refused_before_the_function_runs(
    exceptions: Any, error: type[Exception]
) -> None:
    function = Script(["result"])
    with pytest.raises(error, match=r"exceptions=.* is not allowed"):
        safe_execute(function, exceptions=exceptions)
    assert function.calls == 0


def generator() -> Iterator[int]:
    yield 1
    raise ValueError


def test_safe_execute_generator_function_is_refused() -> None:
    with pytest.raises(TypeError, match="generator"):
        safe_execute(generator)


def test_safe_execute_function_with_a_parameter_named_func_gets_it() -> None:
    def function(*, func: str) -> str:
        return func

    execute: Any = safe_execute
    assert execute(function, func="its own") == "its own"


def test_safe_execute_method_of_a_builtin_class_is_called() -> None:
    assert safe_execute(str.upper, "a") == "A"

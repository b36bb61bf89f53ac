from __future__ import annotations

import gc
import inspect
import sys
import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from telemetrix import fallback
from telemetrix.bus import default_bus
from telemetrix.events import FallbackFailed, FallbackServed
from telemetrix.testing import CapturedTelemetry, Script, capture


@pytest.fixture(params=["fast", "observed"])
def path(request: pytest.FixtureRequest) -> Iterator[CapturedTelemetry]:
    """Both ways through a wrapper: successes counted in place, and every step told live."""
    observed = request.param == "observed"
    with capture(spans="all" if observed else None) as captured:
        assert (default_bus.watch is not None and default_bus.watch()) is observed
        yield captured


def calls(captured: CapturedTelemetry, outcome: str, reason: str) -> float:
    labels = {"primitive": "fallback", "operation": "op", "outcome": outcome, "reason": reason}
    return captured.metric("telemetrix_calls_total", **labels)


def boom(*args: object, **kwargs: object) -> Any:
    raise ConnectionError("primary")


async def async_boom(*args: object, **kwargs: object) -> Any:
    await anyio.lowlevel.checkpoint()
    raise ConnectionError("primary")


# The answer


def test_fallback_function_succeeds_returns_its_result_and_leaves_the_handler_alone(path: CapturedTelemetry) -> None:
    handler = Script(["handler"])
    assert fallback(handler, name="op")(lambda: "primary")() == "primary"
    assert handler.calls == 0
    assert calls(path, "success", "primary") == 1


@pytest.mark.parametrize("value", [None, 0, "", False, "cached", [1], {"a": 1}])
def test_fallback_value_function_fails_returns_that_very_value(path: CapturedTelemetry, value: object) -> None:
    assert fallback(value, name="op")(boom)() is value
    assert calls(path, "fallback", "served") == 1


def test_fallback_handler_function_fails_gets_the_arguments_of_the_call(path: CapturedTelemetry) -> None:
    def handler(*args: object, **kwargs: object) -> tuple[Any, Any]:
        return args, kwargs

    assert fallback(handler)(boom)(1, "two", three=3) == ((1, "two"), {"three": 3})


def test_fallback_handler_gets_every_kind_of_argument(path: CapturedTelemetry) -> None:
    def handler(a: int, b: int, *rest: int, key: str = "own", **more: int) -> tuple[Any, ...]:
        return a, b, rest, key, more

    @fallback(handler)
    def function(a: int, /, b: int, *rest: int, key: str = "function", **more: int) -> Any:
        raise ConnectionError

    assert function(1, 2, 3, 4, key="given", c=5) == (1, 2, (3, 4), "given", {"c": 5})
    assert function(1, b=2) == (1, 2, (), "function", {})


def test_fallback_handler_that_is_a_class_makes_a_new_object_each_time(path: CapturedTelemetry) -> None:
    function = fallback(dict)(boom)
    assert function() == {}
    assert function() is not function()


def test_fallback_chain_inner_handler_fails_outer_one_answers(path: CapturedTelemetry) -> None:
    inner, outer = Script([LookupError("secondary")]), Script(["tertiary"])
    function = fallback(outer, name="outer")(fallback(inner, name="inner")(boom))
    assert function() == "tertiary"
    assert (inner.calls, outer.calls) == (1, 1)
    served = path.of(FallbackServed)
    assert [(event.operation, event.error_type) for event in served] == [("outer", LookupError)]


def test_fallback_chain_inner_handler_answers_outer_one_sees_a_success(path: CapturedTelemetry) -> None:
    outer = Script(["tertiary"])
    assert fallback(outer, name="op")(fallback("secondary", name="inner")(boom))() == "secondary"
    assert outer.calls == 0
    assert calls(path, "success", "primary") == 1


# Which errors


@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, ConnectionResetError])
def test_fallback_named_exception_or_its_subclass_is_answered(path: CapturedTelemetry, error: type[Exception]) -> None:
    assert fallback("answer", exceptions=(ConnectionError, TimeoutError))(Script([error]))() == "answer"


def test_fallback_other_exception_reaches_the_caller_itself(path: CapturedTelemetry) -> None:
    error, handler = ValueError("mine"), Script(["answer"])
    with pytest.raises(ValueError, match="mine") as caught:
        fallback(handler, exceptions=ConnectionError, name="op")(Script([error]))()
    assert caught.value is error
    assert handler.calls == 0
    assert calls(path, "failure", "not_handled") == 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_fallback_interpreter_exit_reaches_the_caller_and_counts_as_cancelled(
    path: CapturedTelemetry, error: type[BaseException]
) -> None:
    handler = Script(["answer"])
    with pytest.raises(error):
        fallback(handler, name="op")(Script([error]))()
    assert handler.calls == 0
    assert calls(path, "cancelled", "cancelled") == 1


@pytest.mark.anyio
async def test_fallback_cancellation_of_the_function_is_not_answered(path: CapturedTelemetry) -> None:
    handler = Script(["answer"])
    function = fallback(handler, name="op")(anyio.sleep_forever)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await function()
    assert scope.cancelled_caught
    assert handler.calls == 0
    assert calls(path, "cancelled", "cancelled") == 1


# When the handler fails too


def test_fallback_handler_fails_its_error_is_raised_with_the_first_as_context(path: CapturedTelemetry) -> None:
    first, second = ConnectionError("first"), LookupError("second")
    with pytest.raises(LookupError) as caught:
        fallback(Script([second]), name="op")(Script([first]))()
    assert caught.value is second
    assert second.__context__ is first
    assert calls(path, "failure", "handler_failed") == 1
    (event,) = path.of(FallbackFailed)
    assert (event.error_type, event.handler_error_type) == (ConnectionError, LookupError)


@pytest.mark.anyio
async def test_fallback_async_handler_fails_its_error_is_raised_with_the_first_as_context(
    path: CapturedTelemetry,
) -> None:
    first, second = ConnectionError("first"), LookupError("second")

    async def handler() -> None:
        await anyio.lowlevel.checkpoint()
        raise second

    @fallback(handler, name="op")
    async def function() -> None:
        raise first

    with pytest.raises(LookupError) as caught:
        await function()
    assert caught.value is second
    assert second.__context__ is first
    assert calls(path, "failure", "handler_failed") == 1


def test_fallback_handler_that_reraises_gives_the_caller_the_functions_own_error(path: CapturedTelemetry) -> None:
    error = ConnectionError("first")

    def handler() -> None:
        raise  # noqa: PLE0704 - the handler runs where an error is being handled

    with pytest.raises(ConnectionError) as caught:
        fallback(handler)(Script([error]))()
    assert caught.value is error
    assert error.__context__ is None


def test_fallback_handler_is_interrupted_counts_as_cancelled(path: CapturedTelemetry) -> None:
    with pytest.raises(KeyboardInterrupt):
        fallback(Script([KeyboardInterrupt]), name="op")(boom)()
    assert calls(path, "cancelled", "cancelled") == 1
    assert path.of(FallbackFailed) == []


@pytest.mark.anyio
async def test_fallback_cancellation_of_the_handler_counts_as_cancelled(path: CapturedTelemetry) -> None:
    with anyio.CancelScope() as scope:

        @fallback(anyio.sleep_forever, name="op")
        async def function() -> None:
            scope.cancel()
            raise ConnectionError

        await function()
    assert scope.cancelled_caught
    assert calls(path, "cancelled", "cancelled") == 1


# Inside the handler


def test_fallback_handler_sees_the_error_as_sys_exception(path: CapturedTelemetry) -> None:
    error = ConnectionError("first")
    assert fallback(sys.exception)(Script([error]))() is error
    assert sys.exception() is None


@pytest.mark.anyio
async def test_fallback_async_handler_sees_the_error_as_sys_exception_also_after_a_suspension(
    path: CapturedTelemetry,
) -> None:
    error = ConnectionError("first")
    seen: list[object] = []

    async def handler() -> None:
        seen.append(sys.exception())
        await anyio.lowlevel.checkpoint()
        seen.append(sys.exception())

    @fallback(handler)
    async def function() -> None:
        raise error

    await function()
    assert seen == [error, error]


# Coroutine functions


@pytest.mark.anyio
async def test_fallback_async_function_succeeds_returns_its_result(path: CapturedTelemetry) -> None:
    @fallback("answer", name="op")
    async def function(a: int, *, b: int) -> int:
        await anyio.lowlevel.checkpoint()
        return a + b

    assert inspect.iscoroutinefunction(function)
    assert await function(1, b=2) == 3
    assert calls(path, "success", "primary") == 1


@pytest.mark.anyio
@pytest.mark.parametrize("value", [None, 0, "cached"])
async def test_fallback_value_async_function_fails_returns_it(path: CapturedTelemetry, value: object) -> None:
    assert await fallback(value, name="op")(async_boom)() is value
    assert calls(path, "fallback", "served") == 1


@pytest.mark.anyio
async def test_fallback_plain_handler_async_function_fails_answers_with_the_calls_arguments(
    path: CapturedTelemetry,
) -> None:
    assert await fallback(lambda *args, **kwargs: (args, kwargs))(async_boom)(1, two=2) == ((1,), {"two": 2})


@pytest.mark.anyio
async def test_fallback_async_handler_async_function_fails_answers_with_the_calls_arguments(
    path: CapturedTelemetry,
) -> None:
    async def handler(*args: object, **kwargs: object) -> Any:
        await anyio.lowlevel.checkpoint()
        return args, kwargs

    assert await fallback(handler, name="op")(async_boom)(1, two=2) == ((1,), {"two": 2})
    assert calls(path, "fallback", "served") == 1


@pytest.mark.anyio
async def test_fallback_partial_of_a_coroutine_function_is_guarded(path: CapturedTelemetry) -> None:
    assert await fallback(lambda *_: "answer")(partial(async_boom, 1))() == "answer"


@pytest.mark.anyio
async def test_fallback_async_function_is_not_run_before_it_is_awaited(path: CapturedTelemetry) -> None:
    primary = Script(["primary"])
    coroutine = fallback("answer", name="op")(primary.acall)()
    assert primary.calls == 0
    assert await coroutine == "primary"


# Methods and signatures


class Client:
    """Methods guarded in every usual way."""

    answer = "from the client"

    def backup(self, key: str) -> str:
        return f"{self.answer}: {key}"

    @fallback(backup)
    def get(self, key: str) -> str:
        raise ConnectionError

    @fallback(backup)
    async def aget(self, key: str) -> str:
        raise ConnectionError

    @classmethod
    @fallback(lambda cls, key: f"{cls.__name__}: {key}")
    def inner_class_method(cls, key: str) -> str:
        raise ConnectionError

    @fallback(lambda cls, key: f"{cls.__name__}: {key}")
    @classmethod
    def outer_class_method(cls, key: str) -> str:
        raise ConnectionError

    @staticmethod
    @fallback(lambda key: f"static: {key}")
    def inner_static_method(key: str) -> str:
        raise ConnectionError

    @fallback(lambda key: f"static: {key}")
    @staticmethod
    def outer_static_method(key: str) -> str:
        raise ConnectionError


def test_fallback_method_fails_handler_gets_the_object_and_the_arguments(path: CapturedTelemetry) -> None:
    assert Client().get("a") == "from the client: a"


@pytest.mark.anyio
async def test_fallback_async_method_fails_handler_gets_the_object_and_the_arguments(path: CapturedTelemetry) -> None:
    assert await Client().aget(key="a") == "from the client: a"


@pytest.mark.parametrize("name", ["inner_class_method", "outer_class_method"])
def test_fallback_classmethod_in_either_order_handler_gets_the_class(path: CapturedTelemetry, name: str) -> None:
    assert getattr(Client, name)("a") == "Client: a"
    assert getattr(Client(), name)(key="a") == "Client: a"


@pytest.mark.parametrize("name", ["inner_static_method", "outer_static_method"])
def test_fallback_staticmethod_in_either_order_handler_gets_the_arguments(path: CapturedTelemetry, name: str) -> None:
    assert getattr(Client, name)("a") == "static: a"
    assert getattr(Client(), name)(key="a") == "static: a"


def test_fallback_bound_method_as_handler_is_called_on_its_object(path: CapturedTelemetry) -> None:
    assert fallback(Client().backup)(lambda key: boom())("a") == "from the client: a"


def test_fallback_decorated_function_keeps_name_docstring_and_signature() -> None:
    def function(a: int, /, b: str = "b", *c: int, d: bool = True, **e: int) -> str:
        """What it does."""
        return ""

    guarded = fallback("answer")(function)
    assert (guarded.__name__, guarded.__qualname__, guarded.__doc__) == (
        "function",
        function.__qualname__,
        "What it does.",
    )
    assert inspect.signature(guarded) == inspect.signature(function)


# What is left behind


def test_fallback_error_that_was_answered_for_is_freed_at_once(path: CapturedTelemetry) -> None:
    class OwnError(Exception):
        pass

    errors: list[weakref.ref[OwnError]] = []

    @fallback("answer")
    def function() -> str:
        error = OwnError()
        errors.append(weakref.ref(error))
        try:
            raise error
        finally:
            del error  # this frame would keep it alive

    gc.disable()
    try:
        assert function() == "answer"
        assert errors[0]() is None
    finally:
        gc.enable()


def test_fallback_served_span_is_no_error_and_failed_handler_span_is() -> None:
    with capture() as captured:
        fallback("answer", name="served")(boom)()
        with pytest.raises(LookupError):
            fallback(Script([LookupError]), name="failed")(boom)()
    statuses = {span.name: (span.status.is_unset, dict(span.attributes or {})) for span in captured.spans}
    unset, attributes = statuses["fallback served"]
    assert unset
    assert (attributes["telemetrix.outcome"], attributes["telemetrix.reason"]) == ("fallback", "served")
    unset, attributes = statuses["fallback failed"]
    assert not unset
    assert attributes["error.type"] == "LookupError"

"""What a decorator can be put on, what it refuses and why, and what the guarded thing is called."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, cast

import pytest

from telemetrix import CircuitBreaker, async_retry, circuit_breaker, fallback, retry, timeout
from telemetrix._core.outcomes import Primitive
from telemetrix.primitives import _targets
from telemetrix.testing import CapturedTelemetry, Script

Decorator = Callable[[Any], Any]

GUARDS: Final = [
    pytest.param(retry(3, 0), id="retry"),
    pytest.param(retry, id="retry, bare"),
    pytest.param(circuit_breaker(3), id="circuit_breaker"),
    pytest.param(circuit_breaker, id="circuit_breaker, bare"),
    pytest.param(CircuitBreaker(3), id="CircuitBreaker"),
    pytest.param(fallback("instead", exceptions=LookupError), id="fallback"),
    pytest.param(timeout(60), id="timeout"),
]


def plain() -> str:
    return "done"


async def coroutine() -> str:
    return "done"


def generator() -> Iterator[int]:
    yield 1


async def async_generator() -> AsyncIterator[int]:
    yield 1


class Service:
    """Each kind of method, decorated in each order that makes sense."""

    def __init__(self, *outcomes: object) -> None:
        self.script = Script(outcomes or ["done"])

    @retry(3, 0)
    def method(self, value: int) -> Any:
        """Doc of method."""
        return (self.script(), value)

    @async_retry(3, 0)
    async def async_method(self, value: int) -> Any:
        return (self.script(), value)

    @staticmethod
    @retry(3, 0)
    def static_outside(script: Script) -> Any:
        return script()

    @retry(3, 0)
    @staticmethod
    def static_inside(script: Script) -> Any:
        return script()

    @classmethod
    @retry(3, 0)
    def class_outside(cls, script: Script) -> Any:
        return (cls, script())

    @retry(3, 0)
    @classmethod
    def class_inside(cls, script: Script) -> Any:
        return (cls, script())

    @retry
    @staticmethod
    def bare_static(script: Script) -> Any:
        return script()

    @circuit_breaker
    @classmethod
    def bare_class(cls) -> Any:
        return cls

    @async_retry(3, 0)
    @classmethod
    async def async_class_inside(cls, script: Script) -> Any:
        return (cls, script())


class AsyncCallable:
    async def __call__(self) -> int:
        raise ValueError


class GeneratorCallable:
    def __call__(self) -> Iterator[int]:
        yield 1


# Methods


def test_decorator__on_a_method__guards_each_objects_own_call() -> None:
    first, second = Service(ValueError, "first"), Service(ValueError, ValueError, "second")
    assert (first.method(1), second.method(2)) == (("first", 1), ("second", 2))
    assert (first.script.calls, second.script.calls) == (2, 3)
    assert Service.method.__doc__ == "Doc of method."


@pytest.mark.anyio
async def test_decorator__on_a_coroutine_method__guards_it() -> None:
    assert await Service(ValueError, "done").async_method(4) == ("done", 4)


def test_decorator__on_static_and_class_methods__guards_them_in_either_order() -> None:
    service: Any = Service
    for owner in (service, service()):
        assert owner.static_outside(Script([ValueError, "done"])) == "done"
        assert owner.static_inside(Script([ValueError, "done"])) == "done"
        assert owner.class_outside(Script([ValueError, "done"])) == (Service, "done")
        assert owner.class_inside(Script([ValueError, "done"])) == (Service, "done")
        assert owner.bare_static(Script(["done"])) == "done"
        assert owner.bare_class() is Service


@pytest.mark.anyio
async def test_async_retry__on_a_classmethod_object__guards_it() -> None:
    service: Any = Service
    assert await service.async_class_inside(Script([ValueError, "done"])) == (Service, "done")


# Other callables


@pytest.mark.parametrize("guard", GUARDS)
def test_decorator__on_partial_bound_method_builtin_and_callable_object__guards_them(guard: Decorator) -> None:
    assert guard(functools.partial(max, 3))(4) == 4
    assert guard(Service().method)(4) == ("done", 4)
    assert guard(len)([1, 2]) == 2
    assert guard(Script(["done"]))("any", argument=1) == "done"
    assert guard(lambda value: value)(5) == 5


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.anyio
async def test_decorator__on_a_partial_of_a_coroutine_function__awaits_it(guard: Decorator) -> None:
    guarded = guard(functools.partial(Service("done").async_method, 4))
    assert inspect.iscoroutinefunction(guarded)
    assert await guarded() == ("done", 4)


# Refusals


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (generator, "generator function generator: a generator runs after the call has returned"),
        (async_generator, "generator function async_generator: a generator runs after the call has returned"),
        (functools.partial(generator), "a generator runs after the call has returned"),
        (staticmethod(generator), "generator function generator: a generator runs after the call has returned"),
        (
            classmethod(cast("Any", async_generator)),
            "generator function async_generator: a generator",
        ),
        (Service, "class Service: decorate its methods"),
    ],
)
def test_decorator__on_a_generator_function_or_class__is_refused_with_the_reason(
    guard: Decorator, target: Any, reason: str
) -> None:
    with pytest.raises(TypeError, match=r" cannot guard ") as caught:
        guard(target)
    assert reason in str(caught.value)


@pytest.mark.parametrize("guard", [guard for guard in GUARDS if "bare" not in str(guard.id)])
@pytest.mark.parametrize("target", [property(cast("Any", plain)), "a string", 3, None])
def test_decorator__on_what_is_not_callable__is_refused(guard: Decorator, target: Any) -> None:
    with pytest.raises(TypeError, match=r"^[\w ]+ cannot guard .+: it is not a function$"):
        guard(target)


@pytest.mark.parametrize("target", [generator, async_generator, Service, plain])
def test_async_retry__on_what_is_no_coroutine_function__is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match=r"^async_retry cannot guard "):
        async_retry(target)


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("target", [AsyncCallable(), GeneratorCallable()])
def test_decorator__on_an_object_whose_call_is_no_plain_function__refuses_or_guards_it(
    guard: Decorator, target: Any
) -> None:
    try:
        guarded = guard(target)
    except TypeError:
        return
    assert inspect.iscoroutinefunction(guarded)


# Names


def test_function_name__function__is_module_and_qualname() -> None:
    assert _targets.function_name(plain) == f"{__name__}.plain"
    assert _targets.function_name(Service.method) == f"{__name__}.Service.method"


def test_function_name__partial_or_object__is_what_is_behind_it() -> None:
    assert _targets.function_name(functools.partial(functools.partial(plain))) == f"{__name__}.plain"
    assert _targets.function_name(AsyncCallable()) == f"{__name__}.AsyncCallable"
    assert _targets.function_name(len) == "builtins.len"


def test_operation_for__given_name__wins_and_the_function_is_kept() -> None:
    operation = _targets.operation_for(Primitive.RETRY, plain, "targets-test")
    assert (operation.name, operation.function) == ("targets-test", f"{__name__}.plain")
    assert _targets.operation_for(Primitive.RETRY, plain, "targets-test") is operation


def test_caller_place__function__names_the_line_that_called_it() -> None:
    def asked() -> str:
        return _targets.caller_place(1)

    frame = inspect.currentframe()
    assert frame is not None
    assert asked() == f"{__name__}:{frame.f_lineno}"


def test_caller_name__function__names_the_code_that_called_it() -> None:
    def asked() -> str:
        return _targets.caller_name(1)

    assert asked() == f"{__name__}.test_caller_name__function__names_the_code_that_called_it"


@pytest.mark.parametrize("guard", [retry(3, 0), circuit_breaker(3), fallback(None), timeout(60)])
def test_decorator__without_a_name__calls_the_operation_after_the_function(
    guard: Decorator, telemetrix_capture: CapturedTelemetry
) -> None:
    guard(plain)()
    primitive = telemetrix_capture.spans[-1].name.split()[0]
    assert telemetrix_capture.metric("telemetrix_calls_total", primitive=primitive, operation=f"{__name__}.plain") == 1

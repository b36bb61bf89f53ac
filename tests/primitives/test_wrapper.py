"""The written wrapper: the signature of the function it guards, on every path, for every primitive."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable
from typing import Any, Final

import pytest

from telemetrix import circuit_breaker, fallback, retry, timeout
from telemetrix.primitives import _wrapper

Decorator = Callable[[Any], Any]

GUARDS: Final = [
    pytest.param(retry(3, 0), id="retry"),
    pytest.param(circuit_breaker(1_000), id="circuit_breaker"),
    pytest.param(fallback("instead", exceptions=LookupError), id="fallback"),
    pytest.param(timeout(60), id="timeout"),
]


pytestmark = pytest.mark.usefixtures("each_path")


def positional(a: int, b: int = 2) -> Any:
    """Doc of positional."""
    return (a, b)


def positional_only(a: int, b: int = 2, /, c: int = 3) -> Any:
    return (a, b, c)


def keyword_only(*, a: int, b: int = 2) -> Any:
    return (a, b)


def every_kind(a: int, /, b: int, *args: int, c: int, d: int = 4, **kwargs: int) -> Any:
    return (a, b, args, c, d, kwargs)


def variadic(*args: int, **kwargs: int) -> Any:
    return (args, kwargs)


def only_args(*args: int) -> Any:
    return args


def only_kwargs(**kwargs: int) -> Any:
    return kwargs


def nothing() -> Any:
    return "nothing"


def clashing(tx_function: int, tx_bus: int = 2) -> Any:
    return (tx_function, tx_bus)


def defaults(a: list[int] | None = None, *, b: object = ..., c: float = float("inf")) -> Any:
    return (a, b, c)


def many_locals(a: int) -> Any:
    tx_result = a + 1
    self = tx_result * 2
    return (tx_result, self)


async def coroutine(a: int, /, b: int = 2, *args: int, c: int = 3, **kwargs: int) -> Any:
    """Doc of coroutine."""
    return (a, b, args, c, kwargs)


CALLS: Final = [
    pytest.param(positional, (1,), {}, (1, 2), id="positional, default"),
    pytest.param(positional, (1,), {"b": 5}, (1, 5), id="positional, by keyword"),
    pytest.param(positional, (), {"b": 5, "a": 1}, (1, 5), id="positional, keywords in another order"),
    pytest.param(positional_only, (1, 9), {}, (1, 9, 3), id="positional-only"),
    pytest.param(positional_only, (1,), {"c": 7}, (1, 2, 7), id="positional-only, default"),
    pytest.param(keyword_only, (), {"a": 1}, (1, 2), id="keyword-only"),
    pytest.param(every_kind, (1, 2, 3), {"c": 5, "e": 6}, (1, 2, (3,), 5, 4, {"e": 6}), id="every kind"),
    pytest.param(every_kind, (1, 2), {"c": 5, "a": 6}, (1, 2, (), 5, 4, {"a": 6}), id="keyword like a positional-only"),
    pytest.param(variadic, (1,), {"self": 2, "function": 3}, ((1,), {"self": 2, "function": 3}), id="variadic"),
    pytest.param(only_args, (1, 2), {}, (1, 2), id="args"),
    pytest.param(only_kwargs, (), {"call": 1}, {"call": 1}, id="kwargs"),
    pytest.param(nothing, (), {}, "nothing", id="no parameter"),
    pytest.param(clashing, (1,), {}, (1, 2), id="names the wrapper uses itself"),
    pytest.param(defaults, (), {}, (None, ..., float("inf")), id="defaults that have no literal"),
    pytest.param(many_locals, (1,), {}, (2, 4), id="locals like the wrapper's"),
]

FUNCTIONS: Final = [positional, positional_only, keyword_only, every_kind, variadic, nothing, clashing, coroutine]


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize(("function", "args", "kwargs", "expected"), CALLS)
def test_wrapper__each_kind_of_parameter__is_passed_on(
    guard: Decorator, function: Callable[..., Any], args: tuple[int, ...], kwargs: dict[str, int], expected: object
) -> None:
    assert guard(function)(*args, **kwargs) == expected


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.anyio
async def test_wrapper__each_kind_of_parameter_of_a_coroutine_function__is_passed_on(guard: Decorator) -> None:
    assert await guard(coroutine)(1, 5, 6, c=7, d=8) == (1, 5, (6,), 7, {"d": 8})
    assert await guard(coroutine)(1) == (1, 2, (), 3, {})


def test_wrapper__attempts_after_the_first__get_the_same_arguments() -> None:
    heard: list[object] = []

    @retry(3, 0)
    def guarded(a: int, /, b: int, *args: int, c: int, d: int = 4, **kwargs: int) -> None:
        heard.append((a, b, args, c, d, kwargs))
        if len(heard) < 3:
            raise ValueError

    guarded(1, 2, 3, c=5, e=6)
    assert heard == [(1, 2, (3,), 5, 4, {"e": 6})] * 3


def test_wrapper__fallback_handler__gets_the_calls_arguments() -> None:
    def handler(*args: int, **kwargs: int) -> object:
        return (args, kwargs)

    @fallback(handler)
    def guarded(a: int, /, b: int, *args: int, c: int, d: int = 4, **kwargs: int) -> Any:
        raise ValueError

    assert guarded(1, 2, 3, c=5, e=6) == ((1, 2, 3), {"c": 5, "d": 4, "e": 6})


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_wrapper__guarded_function__keeps_name_doc_module_annotations_and_signature(
    guard: Decorator, function: Callable[..., Any]
) -> None:
    function.__dict__["said_by_the_user"] = "kept"
    guarded = guard(function)
    assert (guarded.__name__, guarded.__qualname__) == (function.__name__, function.__qualname__)
    assert (guarded.__doc__, guarded.__module__) == (function.__doc__, function.__module__)
    assert guarded.__annotations__ == function.__annotations__
    assert guarded.__wrapped__ is function
    assert guarded.said_by_the_user == "kept"
    assert inspect.signature(guarded) == inspect.signature(function)
    assert inspect.iscoroutinefunction(guarded) is inspect.iscoroutinefunction(function)


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("function", [f for f in FUNCTIONS if f is not clashing])
def test_wrapper__guarded_function__really_has_that_signature(guard: Decorator, function: Callable[..., Any]) -> None:
    assert inspect.signature(guard(function), follow_wrapped=False) == inspect.signature(function)


@pytest.mark.parametrize("guard", GUARDS)
def test_wrapper__wrong_arguments__are_refused_under_the_functions_own_name(guard: Decorator) -> None:
    with pytest.raises(TypeError, match=r"^positional\(\) missing 1 required positional argument: 'a'$"):
        guard(positional)()
    with pytest.raises(TypeError, match=r"^keyword_only\(\) got an unexpected keyword argument 'c'$"):
        guard(keyword_only)(a=1, c=2)


def test_wrapper__wrong_arguments__are_not_retried() -> None:
    heard: list[int] = []
    guarded: Any = retry(3, 0, on_retry=lambda _, attempt: heard.append(attempt))(positional)
    with pytest.raises(TypeError):
        guarded()
    assert heard == []


@pytest.mark.parametrize("guard", GUARDS)
def test_wrapper__function_that_wraps_another__is_called_as_it_can_be_called(guard: Decorator) -> None:
    @functools.wraps(positional)
    def outer(*args: Any, **kwargs: Any) -> Any:
        return (kwargs.pop("extra"), positional(*args, **kwargs))

    assert guard(outer)(1, extra="more") == ("more", (1, 2))


def test_wrapper__guards_on_guards__pass_on_and_keep_the_signature() -> None:
    guarded = retry(3, 0)(circuit_breaker(5)(fallback("instead", exceptions=LookupError)(timeout(60)(every_kind))))
    assert guarded(1, 2, 3, c=5, e=6) == (1, 2, (3,), 5, 4, {"e": 6})
    assert inspect.signature(guarded, follow_wrapped=False) == inspect.signature(every_kind)


@pytest.mark.parametrize("guard", GUARDS)
def test_wrapper__mangled_parameter_name__is_passed_on(guard: Decorator) -> None:
    class Mangling:
        @guard
        def method(self, __secret: int, *, __other: int = 2) -> Any:  # noqa: PYI063 - a mangled name is the case
            return (__secret, __other)

    assert Mangling().method(1) == (1, 2)


@pytest.mark.parametrize("guard", GUARDS)
def test_wrapper__default_is_mutable__is_the_functions_own_object(guard: Decorator) -> None:
    def collecting(item: int, into: list[int] = []) -> list[int]:  # noqa: B006 - shared on purpose
        into.append(item)
        return into

    guarded = guard(collecting)
    assert guarded(1) is guarded(2)
    assert collecting.__defaults__ == ([1, 2],)


def test_wrapper__same_signature_again__is_not_compiled_again() -> None:
    def make() -> Callable[[int], int]:
        def closure(first_of_this_shape: int) -> int:
            return first_of_this_shape

        return closure

    guard = retry(3, 0)
    guard(make())
    compiled = _wrapper._factory.cache_info().misses  # noqa: SLF001 - nothing else shows it
    guards = [guard(make()) for _ in range(20)]
    assert _wrapper._factory.cache_info().misses == compiled  # noqa: SLF001
    assert [guarded(number) for number, guarded in enumerate(guards)] == list(range(20))


def test_wrapper__error_in_the_function__has_a_traceback_with_the_wrappers_lines() -> None:
    @retry(1)
    def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken") as caught:
        broken()
    frames = traceback.extract_tb(caught.value.__traceback__)
    assert all(frame.line for frame in frames)
    assert frames[-1].name == "broken"
    assert len(frames) <= 5, "test, wrapper, two of the driver, function"

"""What a decorator is put on: which functions can be guarded, what they are called, and how methods are unwrapped."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, ParamSpec, Protocol, TypeGuard, TypeVar, cast

from telemetrix._core.outcomes import Primitive
from telemetrix.bus import default_bus as bus
from telemetrix.calls import Operation

P = ParamSpec("P")
R = TypeVar("R")

Function = Callable[..., Any]
Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Decorator(Protocol):
    """Gives back a function of the same signature and type."""

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Decorate."""
        ...


_REFUSED: Final = "{decorator} cannot guard {what}: {why}"


def decorate(target: Any, decorator: str, wrap: Callable[[Callable[..., Any]], Any]) -> Any:
    """Apply `wrap` to the function in `target`, through `staticmethod` and `classmethod`.

    Raises:
        TypeError: it is nothing that can be guarded; the text says why.
    """
    if isinstance(target, (staticmethod, classmethod)):
        method = cast("staticmethod[..., Any] | classmethod[Any, ..., Any]", target)
        return type(method)(decorate(method.__func__, decorator, wrap))
    refuse_unguardable(target, decorator)
    return wrap(target)


def refuse_unguardable(target: Any, decorator: str) -> None:
    """Raise TypeError, with the reason, for what would pass through unguarded."""
    what = getattr(target, "__qualname__", repr(target))
    called = _called(target)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        why = "a generator runs after the call has returned, so its errors would pass unguarded; guard what it calls"
        raise TypeError(_REFUSED.format(decorator=decorator, what=f"generator function {what}", why=why))
    if inspect.isclass(target):
        why = "decorate its methods, or a function that makes the object"
        raise TypeError(_REFUSED.format(decorator=decorator, what=f"class {what}", why=why))
    if not callable(target):
        raise TypeError(_REFUSED.format(decorator=decorator, what=what, why="it is not a function"))


class Decorating:
    """A decorator with its settings, waiting for the function."""

    __slots__ = ("_name", "_wrap")

    def __init__(self, name: str, wrap: Callable[[Callable[..., Any]], Any]) -> None:
        self._name = name
        self._wrap = wrap

    def __call__(self, *target: Any, **rest: Any) -> Any:
        """Decorate."""
        if len(target) != 1 or rest:
            raise TypeError(
                f"{self._name}(...) takes the function to guard; was {self._name} used without parentheses?"
            )
        return decorate(target[0], self._name, self._wrap)


def is_function(first: object) -> TypeGuard[Any]:
    """Whether a decorator's first argument is already what it decorates: it was written without parentheses."""
    return callable(first) or isinstance(first, (staticmethod, classmethod))


def operation_for(primitive: Primitive, function: Any, given: str | None = None) -> Operation:
    """The operation under which a primitive guards a function: by the user's name, or the function's own."""
    qualified = function_name(function)
    return bus.operation(primitive, given or qualified, qualified)


def function_name(function: Any) -> str:
    """`module.qualname` of a function, through `functools.partial`; of a callable object, its class's."""
    while isinstance(function, functools.partial):
        function = function.func
    if not hasattr(function, "__qualname__"):
        function = cast("Any", type(function))
    owner: Any = getattr(function, "__objclass__", None) or cast("Any", type(getattr(function, "__self__", None)))
    module = getattr(function, "__module__", None) or owner.__module__
    return f"{module}.{function.__qualname__}"


def is_async(function: Any) -> bool:
    """Whether calling it gives a coroutine: a coroutine function, or an object whose `__call__` is one."""
    return inspect.iscoroutinefunction(_called(function))


def _called(function: Any) -> Any:
    """The function whose body runs when this is called."""
    while isinstance(function, functools.partial):
        function = function.func
    if hasattr(function, "__code__") or inspect.isroutine(function) or inspect.isclass(function):
        return function
    kind = cast("Any", type(function))
    return getattr(kind, "__call__", function)  # noqa: B004 - the method, not whether there is one


def caller_place(depth: int) -> str:
    """`module:line` of the code that many calls up, for what has neither a name nor a function to be named after."""
    frame = _frame(depth + 2)
    return f"{frame.f_globals.get('__name__', '?')}:{frame.f_lineno}"


def caller_name(depth: int) -> str:
    """`module.qualname` of the code that many calls up, for a block of code."""
    frame = _frame(depth + 2)
    return f"{frame.f_globals.get('__name__', '?')}.{frame.f_code.co_qualname}"


def _frame(depth: int) -> FrameType:
    # Documented, and a thousand times faster than inspect.stack.
    return sys._getframe(depth)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

"""Settings are checked when a decorator runs, and refused with the parameter, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

ExceptionTypes = tuple[type[BaseException], ...]
_F = TypeVar("_F", bound=Callable[..., Any])


def refuse(parameter: str, value: object, allowed: str) -> ValueError:
    """The error for a value that is of a usable type but out of range."""
    return ValueError(f"{parameter}={value!r} is not allowed: {allowed}")


def refuse_type(parameter: str, value: object, allowed: str) -> TypeError:
    """The error for a value of the wrong type."""
    return TypeError(f"{parameter}={value!r} is not allowed: {allowed}")


def count(parameter: str, value: object, *, least: int = 1) -> int:
    """A whole number, `least` or more; a bool is not a number here."""
    allowed = f"a whole number, {least} or more"
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse_type(parameter, value, allowed)
    if value < least:
        raise refuse(parameter, value, allowed)
    return value


def seconds(parameter: str, value: object, *, zero: bool = False) -> float:
    """A finite number of seconds, more than 0 (or 0 itself where `zero` allows it)."""
    allowed = f"a finite number of seconds, {'0 or more' if zero else 'more than 0'}"
    number = _number(parameter, value, allowed)
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise refuse(parameter, value, allowed)
    return number


def factor(parameter: str, value: object, *, least: float = 1.0) -> float:
    """A finite factor, `least` or more."""
    allowed = f"a finite number, {least:g} or more"
    number = _number(parameter, value, allowed)
    if not math.isfinite(number) or number < least:
        raise refuse(parameter, value, allowed)
    return number


def exception_types(parameter: str, value: object) -> ExceptionTypes:
    """One exception class or a non-empty tuple of them; what may never be swallowed is refused."""
    allowed = "an exception class or a non-empty tuple of them"
    items = as_tuple(value)
    if not items:
        raise refuse(parameter, items, allowed)
    types: list[type[BaseException]] = []
    for item in items:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise refuse_type(parameter, _any(item), allowed)
        if not issubclass(item, Exception):
            raise refuse(
                parameter,
                item,
                f"subclasses of Exception; {item.__name__} would cover cancellation or interpreter exit",
            )
        types.append(item)
    return tuple(types)


def as_tuple(value: Any) -> tuple[Any, ...]:
    """The value itself if it is a tuple, else a tuple of it alone."""
    return _any(value) if isinstance(value, tuple) else (value,)


def _any(value: Any) -> Any:
    # What isinstance has made of it is no help to a type checker here.
    return value


def optional_callable(parameter: str, value: _F | None) -> _F | None:
    """A callable, or None."""
    if value is not None and not callable(value):
        raise refuse_type(parameter, value, "a callable or None")
    return value


def optional_name(parameter: str, value: object) -> str | None:
    """A non-empty string, or None."""
    if value is not None and not isinstance(value, str):
        raise refuse_type(parameter, value, "a non-empty string or None")
    if value == "":
        raise refuse(parameter, value, "a non-empty string or None")
    return value


def _number(parameter: str, value: object, allowed: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse_type(parameter, value, allowed)
    try:
        return float(value)
    except OverflowError:
        raise refuse(parameter, value, allowed) from None

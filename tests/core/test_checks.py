"""Settings checks: what is refused names the parameter, the value and what is allowed."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetrix._core import checks

Check = Callable[[str, Any], object]

HUGE = 10**400
"""An int that is no float."""


class NotAnError:
    pass


def refusal(check: Check, value: object) -> tuple[type[BaseException], str]:
    """The error class and text with which a check refuses a value of the parameter `setting`."""
    with pytest.raises((TypeError, ValueError)) as caught:
        check("setting", value)
    return caught.type, str(caught.value)


@pytest.mark.parametrize(
    ("check", "value", "error", "allowed"),
    [
        (checks.count, 0, ValueError, "a whole number, 1 or more"),
        (checks.count, -1, ValueError, "a whole number, 1 or more"),
        (checks.count, True, TypeError, "a whole number, 1 or more"),
        (checks.count, False, TypeError, "a whole number, 1 or more"),
        (checks.count, 3.0, TypeError, "a whole number, 1 or more"),
        (checks.count, math.nan, TypeError, "a whole number, 1 or more"),
        (checks.count, math.inf, TypeError, "a whole number, 1 or more"),
        (checks.count, "3", TypeError, "a whole number, 1 or more"),
        (checks.count, None, TypeError, "a whole number, 1 or more"),
        (partial(checks.count, least=0), -1, ValueError, "a whole number, 0 or more"),
        (checks.seconds, 0, ValueError, "a finite number of seconds, more than 0"),
        (checks.seconds, 0.0, ValueError, "a finite number of seconds, more than 0"),
        (checks.seconds, -0.0, ValueError, "a finite number of seconds, more than 0"),
        (checks.seconds, -1.5, ValueError, "a finite number of seconds, more than 0"),
        (checks.seconds, math.nan, ValueError, "a finite number of seconds, more than 0"),
        (checks.seconds, math.inf, ValueError, "a finite number of seconds, more than 0"),
        (checks.seconds, -math.inf, ValueError, "a finite number of seconds, more than 0"),
        (checks.seconds, True, TypeError, "a finite number of seconds, more than 0"),
        (checks.seconds, "1", TypeError, "a finite number of seconds, more than 0"),
        (checks.seconds, None, TypeError, "a finite number of seconds, more than 0"),
        (checks.seconds, Decimal(1), TypeError, "a finite number of seconds, more than 0"),
        (checks.seconds, Fraction(1, 2), TypeError, "a finite number of seconds, more than 0"),
        (partial(checks.seconds, zero=True), -1e-9, ValueError, "a finite number of seconds, 0 or more"),
        (partial(checks.seconds, zero=True), math.nan, ValueError, "a finite number of seconds, 0 or more"),
        (checks.factor, 0.99, ValueError, "a finite number, 1 or more"),
        (checks.factor, 0, ValueError, "a finite number, 1 or more"),
        (checks.factor, -2, ValueError, "a finite number, 1 or more"),
        (checks.factor, math.nan, ValueError, "a finite number, 1 or more"),
        (checks.factor, math.inf, ValueError, "a finite number, 1 or more"),
        (checks.factor, True, TypeError, "a finite number, 1 or more"),
        (partial(checks.factor, least=0.5), 0.4, ValueError, "a finite number, 0.5 or more"),
        (checks.exception_types, (), ValueError, "an exception class or a non-empty tuple of them"),
        (checks.exception_types, NotAnError, TypeError, "an exception class or a non-empty tuple of them"),
        (checks.exception_types, None, TypeError, "an exception class or a non-empty tuple of them"),
        (checks.exception_types, [ValueError], TypeError, "an exception class or a non-empty tuple of them"),
        (checks.exception_types, "ValueError", TypeError, "an exception class or a non-empty tuple of them"),
        (checks.optional_callable, 3, TypeError, "a callable or None"),
        (checks.optional_name, "", ValueError, "a non-empty string or None"),
        (checks.optional_name, 3, TypeError, "a non-empty string or None"),
        (checks.optional_name, b"name", TypeError, "a non-empty string or None"),
    ],
)
def test_check__value_out_of_range__is_refused_with_parameter_value_and_what_is_allowed(
    check: Check, value: object, error: type[Exception], allowed: str
) -> None:
    assert refusal(check, value) == (error, f"setting={value!r} is not allowed: {allowed}")


@pytest.mark.parametrize(
    "kind", [BaseException, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, BaseExceptionGroup]
)
@pytest.mark.parametrize("in_tuple", [False, True])
def test_exception_types__class_that_covers_interruption__is_refused_with_the_reason(
    kind: type[BaseException], in_tuple: bool
) -> None:
    error, text = refusal(checks.exception_types, (ValueError, kind) if in_tuple else kind)
    assert error is ValueError
    assert text == (
        f"setting={kind!r} is not allowed: "
        f"subclasses of Exception; {kind.__name__} would cover cancellation or interpreter exit"
    )


@pytest.mark.parametrize("bad", [ValueError("an instance"), (TypeError, KeyError), NotAnError, 3])
def test_exception_types__tuple_with_one_wrong_item__names_that_item(bad: object) -> None:
    error, text = refusal(checks.exception_types, (ValueError, bad))
    assert error is TypeError
    assert text == f"setting={bad!r} is not allowed: an exception class or a non-empty tuple of them"


@pytest.mark.parametrize("check", [checks.seconds, checks.factor])
@pytest.mark.parametrize("value", [HUGE, -HUGE], ids=["huge", "minus huge"])
def test_check__int_too_large_for_a_float__is_refused_like_infinity(check: Check, value: int) -> None:
    error, text = refusal(check, value)
    assert error is ValueError
    assert text.startswith("setting=")


@given(st.integers(min_value=1))
def test_count__any_positive_int__comes_back(value: int) -> None:
    assert checks.count("setting", value) == value


@given(st.floats(min_value=0, exclude_min=True, allow_infinity=False))
def test_seconds__any_positive_finite_number__comes_back(value: float) -> None:
    assert checks.seconds("setting", value) == value


def test_seconds__whole_number__comes_back_as_a_float() -> None:
    found = checks.seconds("setting", 60)
    assert (found, type(found)) == (60.0, float)


@pytest.mark.parametrize("value", [0, 0.0, 1])
def test_seconds__zero_where_it_is_allowed__comes_back(value: float) -> None:
    assert checks.seconds("setting", value, zero=True) == value


@pytest.mark.parametrize("value", [1, 1.0, 2.5])
def test_factor__one_or_more__comes_back(value: float) -> None:
    assert checks.factor("setting", value) == value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (ValueError, (ValueError,)),
        ((ValueError, OSError), (ValueError, OSError)),
        (Exception, (Exception,)),
        (ExceptionGroup, (ExceptionGroup,)),
    ],
)
def test_exception_types__class_or_tuple_of_them__comes_back_as_a_tuple(
    value: object, expected: tuple[type[Exception], ...]
) -> None:
    assert checks.exception_types("setting", value) == expected


@pytest.mark.parametrize("value", [None, print, NotAnError])
def test_optional_callable__callable_or_none__comes_back(value: Callable[..., object] | None) -> None:
    assert checks.optional_callable("setting", value) is value


@pytest.mark.parametrize("value", [None, "payments", " "])
def test_optional_name__string_or_none__comes_back(value: str | None) -> None:
    assert checks.optional_name("setting", value) == value

"""What `fallback` accepts and what it refuses when the decorator runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from telemetrix import fallback


def boom(*args: object, **kwargs: object) -> Any:
    raise ConnectionError("primary")


async def async_boom(*args: object, **kwargs: object) -> Any:
    raise ConnectionError("primary")


def test_fallback_coroutine_handler_on_a_plain_function_is_refused_at_decoration() -> None:
    with pytest.raises(TypeError, match=r"handler=.*async_boom.* is not allowed: a plain function, because .*boom"):
        fallback(async_boom)(boom)


def one(a: int) -> None:
    pass


def one_and_a_keyword(a: int, *, key: int) -> None:
    pass


def by_keyword_only(*, key: int) -> None:
    pass


@pytest.mark.parametrize(
    ("handler", "function"),
    [
        (lambda: None, one),
        (lambda a, b: None, one),
        (lambda a: None, lambda: None),
        (lambda a: None, one_and_a_keyword),
        (lambda *, other: None, by_keyword_only),
        (one_and_a_keyword, one),
    ],
)
def test_fallback_handler_that_cannot_take_the_functions_arguments_is_refused_at_decoration(
    handler: Any, function: Any
) -> None:
    with pytest.raises(TypeError, match="is not allowed: it is called with the arguments of"):
        fallback(handler)(function)


@pytest.mark.parametrize(
    ("handler", "function"),
    [
        (lambda a: None, one),
        (lambda *args: None, one),
        (lambda a, b=1: None, one),
        (lambda a, **kwargs: None, one_and_a_keyword),
        (lambda a, key: None, one_and_a_keyword),
        (print, one),
        (dict, lambda: None),
        (type, one),
    ],
)
def test_fallback_handler_that_can_take_the_functions_arguments_is_accepted(handler: Any, function: Any) -> None:
    assert callable(fallback(handler)(function))


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("target", [generator, int, 7])
def test_fallback_target_that_cannot_be_guarded_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match="fallback cannot guard"):
        fallback("answer")(target)


@pytest.mark.parametrize(
    ("exceptions", "error"),
    [((), ValueError), (BaseException, ValueError), (KeyboardInterrupt, ValueError), ("ValueError", TypeError)],
)
def test_fallback_exceptions_out_of_range_are_refused(exceptions: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"exceptions=.* is not allowed"):
        fallback("answer", exceptions)


@pytest.mark.parametrize(("name", "error"), [("", ValueError), (7, TypeError)])
def test_fallback_name_out_of_range_is_refused(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"name=.* is not allowed"):
        fallback("answer", name=name)


class AsyncCallable:
    async def __call__(self) -> None:
        raise ConnectionError


@pytest.mark.anyio
async def test_fallback_object_with_an_async_call_method_is_guarded() -> None:
    function: Any = fallback("answer")(AsyncCallable())
    assert await function() == "answer"


def test_fallback_handler_with_an_async_call_method_on_a_plain_function_is_refused() -> None:
    with pytest.raises(TypeError):
        fallback(AsyncCallable())(boom)


def test_fallback_method_of_a_builtin_class_is_guarded() -> None:
    assert fallback(lambda text: "answer")(str.upper)("a") == "A"


def test_fallback_handler_that_requires_what_the_function_has_a_default_for_gets_the_default() -> None:
    @fallback(lambda env, region: f"{env} in {region}")
    def function(env: str, region: str = "eu") -> str:
        raise ConnectionError

    assert function("prod") == "prod in eu"


def test_fallback_handler_without_the_functions_optional_parameter_gets_what_the_caller_passed() -> None:
    @fallback(lambda env: f"{env} somewhere")
    def function(env: str, region: str = "eu") -> str:
        raise ConnectionError("primary")

    assert function("prod") == "prod somewhere"
    with pytest.raises(TypeError) as caught:
        function("prod", "us")
    assert isinstance(caught.value.__context__, ConnectionError)

"""CircuitBreaker: decorator, call, acall and block, names, and settings that are refused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any

import pytest

from telemetrix import (
    CircuitBreaker,
    CircuitOpenError,
    circuit_breaker,
)
from telemetrix.testing import Script
from tests.primitives.circuits import (
    CLOSED,
    HALF_OPEN,
    OPEN,
    caught_from,
    finished,
    make,
)

pytestmark = pytest.mark.usefixtures("each_path")

# How it is written


def test_decorator__two_functions_of_one_breaker__share_its_state() -> None:
    breaker = make(2)

    @breaker
    def first() -> None:
        raise ConnectionError

    @breaker
    async def second() -> None:
        raise ConnectionError

    caught_from(first)
    caught_from(lambda: finished(second()))
    assert breaker.state is OPEN
    assert isinstance(caught_from(first), CircuitOpenError)
    assert isinstance(caught_from(lambda: finished(second())), CircuitOpenError)


def test_circuit_breaker__with_settings__guards_and_is_the_functions_attribute() -> None:
    @circuit_breaker(failure_threshold=2, recovery_timeout=5.0, expected_exception=KeyError, name="settings")
    def guarded() -> None:
        raise KeyError

    breaker: CircuitBreaker = guarded.circuit_breaker  # type: ignore[attr-defined]
    assert isinstance(breaker, CircuitBreaker)
    assert breaker.name == "settings"
    caught_from(guarded)
    assert breaker.state is CLOSED
    caught_from(guarded)
    assert breaker.state is OPEN


def test_circuit_breaker__bare__has_the_defaults() -> None:
    @circuit_breaker
    def guarded() -> None:
        raise KeyError

    breaker: CircuitBreaker = guarded.circuit_breaker  # type: ignore[attr-defined]
    for _ in range(4):
        caught_from(guarded)
    assert (breaker.state, breaker.failure_count) == (CLOSED, 4)
    caught_from(guarded)
    error = caught_from(guarded)
    assert isinstance(error, CircuitOpenError)
    assert error.retry_after == pytest.approx(60.0, abs=1.0)


def test_circuit_breaker__one_decorator_on_two_functions__gives_each_its_own_breaker() -> None:
    decorator: Any = circuit_breaker(1)
    first, second = decorator(Script([KeyError])), decorator(Script(["passed"]))
    caught_from(first)
    assert first.circuit_breaker.state is OPEN
    assert second() == "passed"


def test_name__given_or_not__is_the_name_or_the_first_function_or_the_place() -> None:
    given, of_function = CircuitBreaker(name="given"), CircuitBreaker()
    of_place = CircuitBreaker()

    @given
    @of_function
    def guarded() -> None: ...

    assert given.name == "given"
    assert of_function.name == f"{__name__}.{guarded.__qualname__}"
    assert of_place.name.startswith(f"{__name__}:")


def test_call__arguments__are_passed_on() -> None:
    def guarded(a: int, /, *args: int, b: int, **kwargs: int) -> object:
        return (a, args, b, kwargs)

    async def async_guarded(a: int, *, b: int) -> object:
        return (a, b)

    breaker = make()
    assert breaker.call(guarded, 1, 2, b=3, function=4, self=5) == (1, (2,), 3, {"function": 4, "self": 5})
    assert finished(breaker.acall(async_guarded, 1, b=2)) == (1, 2)


def test_call__on_a_coroutine_function__is_refused() -> None:
    async def guarded() -> None: ...

    with pytest.raises(TypeError, match=r"^call cannot guard the coroutine function .+guarded: use acall$"):
        finished(make().call(guarded))


async def coroutine() -> None: ...


def generator() -> Iterator[int]:
    yield 1


def test_call__on_a_partial_of_a_coroutine_function__is_refused() -> None:
    with pytest.raises(TypeError, match="use acall"):
        finished(make().call(partial(coroutine)))


def test_call__on_a_generator_function__is_refused() -> None:
    with pytest.raises(TypeError, match="generator"):
        make().call(generator)


def test_acall__on_a_plain_function__is_refused_before_it_runs() -> None:
    script, breaker = Script([1]), make(1, expected_exception=Exception)
    with pytest.raises(TypeError):
        finished(breaker.acall(script))
    assert script.calls == 0
    assert breaker.state is CLOSED


def test_block__open_circuit__is_not_entered() -> None:
    breaker = make(1)
    breaker.open()
    with pytest.raises(CircuitOpenError), breaker:
        pytest.fail("the block ran")


def test_block__exception__comes_out_itself() -> None:
    error = ConnectionError()

    def run() -> None:
        with make(2):
            raise error

    assert caught_from(run) is error


def test_block__nested_in_itself__counts_both() -> None:
    breaker = make(3)

    def run() -> None:
        with breaker, breaker:
            raise ConnectionError

    caught_from(run)
    assert breaker.failure_count == 2


def test_block__inside_a_block_of_an_earlier_time__ends_its_own_call() -> None:
    breaker = make(3)
    with breaker:
        breaker.state = HALF_OPEN
        with breaker:
            pass
        assert breaker.state is CLOSED
        breaker.state = HALF_OPEN
    assert breaker.state is HALF_OPEN, "the outer call is of a time that is over"


def test_block__left_in_another_context_than_it_was_entered_in__ends_its_call() -> None:
    # A framework that runs the two halves of a generator on two worker threads does this.
    breaker = make(1, 30.0)
    breaker.state = HALF_OPEN
    copy_context().run(breaker.__enter__)
    breaker.__exit__(None, None, None)
    assert breaker.state is CLOSED


def test_block__fails_in_another_context_than_it_was_entered_in__counts() -> None:
    breaker = make(1)
    copy_context().run(breaker.__enter__)
    breaker.__exit__(ConnectionError, ConnectionError(), None)
    assert breaker.state is OPEN


def test_block__entered_as_a_value__is_the_breaker() -> None:
    breaker = make()
    with breaker as inside:
        assert inside is breaker


# Settings


@pytest.mark.parametrize("form", [CircuitBreaker, circuit_breaker])
@pytest.mark.parametrize(
    ("parameter", "value", "error"),
    [
        ("failure_threshold", 0, ValueError),
        ("failure_threshold", -1, ValueError),
        ("failure_threshold", True, TypeError),
        ("failure_threshold", 1.5, TypeError),
        ("failure_threshold", None, TypeError),
        ("recovery_timeout", 0, ValueError),
        ("recovery_timeout", -1, ValueError),
        ("recovery_timeout", float("nan"), ValueError),
        ("recovery_timeout", float("inf"), ValueError),
        ("recovery_timeout", "60", TypeError),
        ("expected_exception", (), ValueError),
        ("expected_exception", BaseException, ValueError),
        ("expected_exception", (ValueError, asyncio.CancelledError), ValueError),
        ("expected_exception", ValueError(), TypeError),
        ("expected_exception", None, TypeError),
        ("on_open", "print", TypeError),
        ("on_open", coroutine, TypeError),
        ("on_close", 1, TypeError),
        ("on_close", coroutine, TypeError),
    ],
)
def test_breaker__setting_out_of_range__is_refused_before_any_function_is_seen(
    form: Callable[..., object], parameter: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"^{parameter}=.+ is not allowed: "):
        form(**{parameter: value})


@pytest.mark.parametrize(("value", "error"), [("", ValueError), (3, TypeError)])
def test_breaker__name_that_is_none__is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^name=.+ is not allowed: a non-empty string or None"):
        CircuitBreaker(name=value)
    with pytest.raises(error, match=r"^name=.+ is not allowed: a non-empty string or None"):
        circuit_breaker(name=value)(generator.__init__)

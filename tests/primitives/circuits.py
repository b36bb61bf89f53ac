"""Guarded calls, in each way a circuit breaker can guard one."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from contextlib import suppress
from typing import Any, Final

from telemetrix import CircuitBreaker, CircuitState
from telemetrix.testing import Script

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN

Body = Callable[[], Any]
Via = Callable[[CircuitBreaker, Body], Any]
"""Makes one guarded call of the body."""


def decorated(breaker: CircuitBreaker, body: Body) -> Any:
    @breaker
    def guarded() -> Any:
        return body()

    return guarded()


def called(breaker: CircuitBreaker, body: Body) -> Any:
    return breaker.call(lambda: body())  # noqa: PLW0108 - a function whatever the body is


def entered(breaker: CircuitBreaker, body: Body) -> Any:
    with breaker:
        return body()


def finished(call: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that never really waits."""
    try:
        call.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def async_decorated(breaker: CircuitBreaker, body: Body) -> Any:
    @breaker
    async def guarded() -> Any:
        return body()

    return finished(guarded())


def async_called(breaker: CircuitBreaker, body: Body) -> Any:
    async def guarded() -> Any:
        return body()

    return finished(breaker.acall(guarded))


def async_entered(breaker: CircuitBreaker, body: Body) -> Any:
    async def guarded() -> Any:
        async with breaker:
            return body()

    return finished(guarded())


FORMS: Final = (decorated, called, entered, async_decorated, async_called, async_entered)


def make(threshold: int = 3, recovery: float = 30.0, **settings: Any) -> CircuitBreaker:
    defaults: dict[str, Any] = {"expected_exception": ConnectionError, "name": "circuit"}
    return CircuitBreaker(threshold, recovery, **{**defaults, **settings})


def caught_from(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail(breaker: CircuitBreaker, times: int = 1, via: Via = decorated) -> None:
    for _ in range(times):
        assert isinstance(caught_from(lambda: via(breaker, Script([ConnectionError]))), ConnectionError)


class Pause:
    """Something to await that ends when it is told to."""

    def __await__(self) -> Generator[None, None, None]:
        yield


def begun(breaker: CircuitBreaker, error: BaseException | None = None) -> Callable[[], None]:
    """Begin a guarded call and leave it on its way; the answer lets it end, well or with that error."""

    @breaker
    async def guarded() -> None:
        await Pause()
        if error is not None:
            raise error

    call = guarded()
    call.send(None)

    def end() -> None:
        with suppress(StopIteration, Exception):
            call.send(None)

    return end

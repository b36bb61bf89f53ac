# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
# pyright: reportUnknownLambdaType=false
"""What type checkers make of the public API. `make types` checks this file; nothing runs it.

A line that must be refused has a `type: ignore`, and one that a checker does not need is an error itself: mypy's
`warn_unused_ignores` and pyright's `reportUnnecessaryTypeIgnoreComment`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, assert_type

from telemetrix import (
    CircuitBreaker,
    CircuitState,
    Jitter,
    RetryStrategy,
    async_retry,
    circuit_breaker,
    fallback,
    remaining,
    retry,
    retrying,
    timeout,
)

# Every decorator, on a plain function: parameters and result stay as they are.


@retry
def bare_retry(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


@retry(max_attempts=3, delay=1.0, backoff=2.0, jitter=True, strategy=RetryStrategy.LINEAR, exceptions=OSError)
def with_retry(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


@circuit_breaker
def bare_breaker(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


@circuit_breaker(failure_threshold=3, recovery_timeout=1, expected_exception=(OSError, ValueError))
def with_breaker(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


breaker = CircuitBreaker(on_open=lambda: None, on_close=lambda: None, name="circuit")


@breaker
def with_breaker_object(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


@fallback(1.0)
def with_fallback_value(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


@fallback(lambda a, b, c: 1.0, exceptions=(OSError,))
def with_fallback_handler(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


@timeout(seconds=1)
def with_timeout(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


@timeout(1)
@retry
@circuit_breaker
@fallback(1.0)
def with_all(a: int, /, b: str, *, c: bool = True) -> float:
    return 1.0


def decorated_functions() -> None:
    for function in (
        bare_retry,
        with_retry,
        bare_breaker,
        with_breaker,
        with_breaker_object,
        with_fallback_value,
        with_fallback_handler,
        with_timeout,
        with_all,
    ):
        assert_type(function(1, "b"), float)
        assert_type(function(1, b="b", c=False), float)
        function("a", "b")  # type: ignore[arg-type]
        function(1)  # type: ignore[call-arg]
        function(1, "b", True)  # type: ignore[call-arg]
        function(a=1, b="b")  # type: ignore[call-arg]


# Coroutine functions stay coroutine functions, of which a task can be made.


@retry
async def bare_retry_async(a: int, *, b: str = "") -> float:
    return 1.0


@retry(max_attempts=3, on_retry=lambda error, attempt: (error.args, attempt + 1))
async def with_retry_async(a: int, *, b: str = "") -> float:
    return 1.0


@async_retry
async def bare_async_retry(a: int, *, b: str = "") -> float:
    return 1.0


@async_retry(max_attempts=3, jitter=Jitter.EQUAL)
async def with_async_retry(a: int, *, b: str = "") -> float:
    return 1.0


@circuit_breaker
async def bare_breaker_async(a: int, *, b: str = "") -> float:
    return 1.0


@breaker
async def with_breaker_async(a: int, *, b: str = "") -> float:
    return 1.0


@fallback(1.0)
async def with_fallback_async(a: int, *, b: str = "") -> float:
    return 1.0


@timeout(seconds=1)
async def with_timeout_async(a: int, *, b: str = "") -> float:
    return 1.0


async def decorated_coroutine_functions() -> None:
    for function in (
        bare_retry_async,
        with_retry_async,
        with_async_retry,
        bare_breaker_async,
        with_breaker_async,
        with_fallback_async,
        with_timeout_async,
    ):
        assert_type(await function(1, b="b"), float)
        start(function(1))
        await function("a")  # type: ignore[arg-type]
    assert_type(await bare_async_retry(1, b="b"), float)
    # Wanted: a coroutine, as every other decorator leaves it.
    start(bare_async_retry(1))  # type: ignore[arg-type]


def start(coroutine: Coroutine[Any, Any, float]) -> None:
    """Takes a coroutine and nothing else that can be awaited, as `asyncio.create_task` does."""


def plain(a: int) -> float:
    return 1.0


async def coroutine(a: int) -> float:
    return 1.0


def async_retry_refuses_plain_functions() -> None:
    async_retry(plain)  # type: ignore[arg-type]
    # Wanted: refused too.
    async_retry()(plain)


# Methods.


class Client:
    @retry
    def bare(self, key: str) -> bytes:
        return b""

    @retry(max_attempts=2)
    def method(self, key: str) -> bytes:
        return b""

    @breaker
    async def async_method(self, key: str) -> bytes:
        return b""

    @classmethod
    @timeout(1)
    def class_method(cls, key: str) -> bytes:
        return b""

    @staticmethod
    @fallback(b"")
    def static_method(key: str) -> bytes:
        return b""

    @property
    @retry
    def value(self) -> bytes:
        return b""


async def methods(client: Client) -> None:
    assert_type(client.bare("k"), bytes)
    assert_type(client.method(key="k"), bytes)
    assert_type(await client.async_method("k"), bytes)
    assert_type(Client.class_method("k"), bytes)
    assert_type(client.static_method("k"), bytes)
    assert_type(client.value, bytes)
    client.method(1)  # type: ignore[arg-type]
    Client.method("k")  # type: ignore[call-arg, arg-type]


def overridden(function: Callable[[int], float]) -> Callable[[int], float]:
    """A decorated function is as good as the function where one of that type is wanted."""
    return retry()(timeout(1)(breaker(fallback(0.0)(function))))


# Settings.


def settings_of_the_wrong_type() -> None:
    retry(max_attempts="3")  # type: ignore[call-overload]
    retry(strategy="linear")  # type: ignore[call-overload]
    retry(on_retry=lambda: None)  # type: ignore[misc, arg-type]
    circuit_breaker(on_open=lambda error: None)  # type: ignore[misc, arg-type]
    timeout()  # type: ignore[call-arg]
    timeout(plain)  # type: ignore[arg-type]
    fallback()  # type: ignore[call-arg]


# The breaker as an object.


async def breaker_object() -> None:
    assert_type(breaker.state, CircuitState)
    assert_type(breaker.failure_count, int)
    assert_type(breaker.name, str)
    breaker.state = CircuitState.HALF_OPEN
    breaker.state = "open"  # type: ignore[assignment]
    assert_type(breaker.call(plain, 1), float)
    assert_type(breaker.call(plain, a=1), float)
    assert_type(await breaker.acall(coroutine, 1), float)
    breaker.call(plain, "a")  # type: ignore[arg-type]
    breaker.call(plain)  # type: ignore[call-arg]
    await breaker.acall(plain, 1)  # type: ignore[arg-type]
    with breaker as entered:
        assert_type(entered, CircuitBreaker)
    async with breaker as entered:
        assert_type(entered, CircuitBreaker)


# Blocks and the deadline.


async def blocks() -> None:
    for attempt in retrying(max_attempts=3, exceptions=OSError):
        with attempt as entered:
            assert_type(entered.number, int)
    async for attempt in retrying():
        with attempt:
            assert_type(attempt.number, int)
    assert_type(remaining(), float | None)

"""Retry as a block: `for attempt in retrying(...): with attempt: ...`, and the same with `async for`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from telemetrix._core import checks
from telemetrix._core.backoff import Jitter, RetryStrategy
from telemetrix._core.outcomes import Primitive
from telemetrix.bus import default_bus as bus
from telemetrix.calls import Call
from telemetrix.primitives._targets import caller_name
from telemetrix.primitives.retry import Exceptions, OnRetry, RetryDriver, make_rule, observing_callback


class Attempt:
    """One attempt at the block; to be entered with `with`.

    Attributes:
        number: 1 for the first.
    """

    __slots__ = ("_attempts", "number")

    def __init__(self, attempts: Attempts, number: int) -> None:
        self._attempts: Attempts | None = attempts
        self.number: int = number

    def __enter__(self) -> Self:
        if self._attempts is None:
            raise RuntimeError("the attempt is over: each one can be entered once")
        self._attempts.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        # Let go: after a `break` the loop's iterator must end with the loop, not with the loop's variable.
        attempts, self._attempts = self._attempts, None
        return attempts is not None and attempts.leave(error)


class Attempts(Iterator[Attempt], AsyncIterator[Attempt]):
    """The attempts of one call of the block, handed out until one succeeds or the rule says stop."""

    __slots__ = ("_call", "_driver", "_entered", "_number", "_over")

    def __init__(self, driver: RetryDriver) -> None:
        self._driver = driver
        self._call: Call | None = None
        self._number = 0
        self._entered = True
        self._over = False

    def __next__(self) -> Attempt:
        self._check()
        if self._over:
            raise StopIteration
        if self._call is not None:
            self._driver.pause(self._call)
        return self._attempt()

    async def __anext__(self) -> Attempt:
        self._check()
        if self._over:
            raise StopAsyncIteration
        if self._call is not None:
            await self._driver.async_pause(self._call)
        return self._attempt()

    def _check(self) -> None:
        if not self._entered:
            raise RuntimeError("the attempt was not entered: write `with attempt:` inside the loop")

    def _attempt(self) -> Attempt:
        self._entered = False
        self._number += 1
        return Attempt(self, self._number)

    def enter(self) -> None:
        """The block begins."""
        self._entered = True
        if self._call is None:
            self._call = self._driver.begin()
        bus.attempt_started(self._call)

    def leave(self, error: BaseException | None) -> bool:
        """The block ended; whether its error is to be swallowed because another attempt follows."""
        call = self._call
        if call is None:
            raise RuntimeError("the attempt was left before it was entered")
        if error is None:
            self._over = True
            self._driver.succeeded(call)
            return False
        follows = self._driver.failed(call, error)
        self._over = not follows
        return follows

    def __del__(self) -> None:
        # The loop was left between two attempts: nobody else can end the call, and its span with it.
        if self._call is not None and self._call.outcome is None:
            self._driver.cancelled(self._call, GeneratorExit())


class retrying:  # noqa: N801 - reads as a function where it is used
    """Retry a block of code instead of a function.

    ::

        for attempt in retrying(max_attempts=3, exceptions=ConnectionError):
            with attempt:
                send(message)

        async for attempt in retrying(max_attempts=3):
            with attempt:
                await send(message)

    The parameters, errors and telemetry are those of `telemetrix.retry`, except `name`: None is the `module.qualname`
    of the code that calls `retrying`. One object may be looped over again, by several threads or tasks at once.
    """

    __slots__ = ("_driver",)

    def __init__(
        self,
        max_attempts: int = 3,
        delay: float = 1.0,
        backoff: float = 2.0,
        jitter: bool | Jitter | None = None,
        strategy: RetryStrategy = RetryStrategy.EXPONENTIAL,
        exceptions: Exceptions = (Exception,),
        on_retry: OnRetry | None = None,
        *,
        max_delay: float | None = None,
        name: str | None = None,
    ) -> None:
        rule = make_rule(max_attempts, delay, backoff, jitter, strategy, exceptions, max_delay)
        callback = observing_callback("on_retry", on_retry)
        caller = caller_name(1)
        operation = bus.operation(Primitive.RETRY, checks.optional_name("name", name) or caller, caller)
        self._driver = RetryDriver(rule, callback, operation)

    def __iter__(self) -> Iterator[Attempt]:
        return Attempts(self._driver)

    def __aiter__(self) -> AsyncIterator[Attempt]:
        return Attempts(self._driver)

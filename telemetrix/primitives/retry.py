"""Retry: run again what failed, after a wait."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from functools import partial
from textwrap import indent
from typing import Any, Final, overload

from telemetrix import clock, context
from telemetrix._core import checks
from telemetrix._core.backoff import Backoff, Jitter, RetryStrategy
from telemetrix._core.outcomes import Outcome, Primitive, Reason
from telemetrix._core.retry import RetryRule
from telemetrix.bus import default_bus as bus
from telemetrix.calls import Call, Operation
from telemetrix.errors import CallRejectedError
from telemetrix.events import RetryGaveUp, RetryRecovered, RetryScheduled
from telemetrix.primitives._notes import note_giving_up
from telemetrix.primitives._targets import (
    Args,
    Decorating,
    Decorator,
    Function,
    Kwargs,
    P,
    R,
    is_async,
    is_function,
    operation_for,
)
from telemetrix.primitives._wrapper import OBSERVED, RECORD, START, write_wrapper

OnRetry = Callable[[BaseException, int], object]
Exceptions = type[BaseException] | tuple[type[BaseException], ...]

DEFAULT_MAX_DELAY: Final = 300.0
"""No wait is longer than this many seconds, unless `delay` itself is."""

_WRAPPER: Final = f"""\
{OBSERVED}
{START}
try:
    tx_result = $await tx_function($call)
except BaseException as tx_error:
    tx_call = tx_failed(tx_error, tx_started)
    if tx_call is None:
        raise
else:
{indent(RECORD, "    ")}
    return tx_result
return $await tx_resume(tx_call, $pack)
"""


class RetryDriver:
    """Runs the attempts of one operation; shared by threads and tasks, for what belongs to a call is in its `Call`."""

    __slots__ = ("_on_retry", "operation", "rule")

    def __init__(self, rule: RetryRule, on_retry: OnRetry | None, operation: Operation) -> None:
        self.rule: RetryRule = rule
        self.operation: Operation = operation
        self._on_retry = on_retry

    # Whole calls

    def run(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        """Make a call, every step of it observed."""
        return self._attempts(function, self.begin(), args, kwargs)

    def resume(self, function: Function, call: Call, args: Args, kwargs: Kwargs) -> Any:
        """Go on with a call whose first attempt failed on the fast path."""
        self.pause(call)
        return self._attempts(function, call, args, kwargs)

    def _attempts(self, function: Function, call: Call, args: Args, kwargs: Kwargs) -> Any:
        while True:
            if call.watchers:
                bus.attempt_started(call)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                if not self.failed(call, error):
                    raise
            else:
                self.succeeded(call)
                return result
            self.pause(call)

    async def async_run(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        """Make a call, every step of it observed."""
        return await self._async_attempts(function, self.begin(), args, kwargs)

    async def async_resume(self, function: Function, call: Call, args: Args, kwargs: Kwargs) -> Any:
        """Go on with a call whose first attempt failed on the fast path."""
        await self.async_pause(call)
        return await self._async_attempts(function, call, args, kwargs)

    async def _async_attempts(self, function: Function, call: Call, args: Args, kwargs: Kwargs) -> Any:
        while True:
            if call.watchers:
                bus.attempt_started(call)
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                if not self.failed(call, error):
                    raise
            else:
                self.succeeded(call)
                return result
            await self.async_pause(call)

    # Steps

    def begin(self) -> Call:
        """A call begins."""
        return bus.begin(self.operation, clock.current().monotonic())

    def failed_first(self, error: BaseException, started_at: float) -> Call | None:
        """The first attempt failed on the fast path: the call to go on with, or None to let the error go."""
        call = Call(self.operation, started_at)
        return call if self.failed(call, error) else None

    def failed(self, call: Call, error: BaseException) -> bool:
        """An attempt failed: whether another one follows; if not, the call is finished."""
        if call.watchers:
            bus.attempt_finished(call, error)
        if not isinstance(error, Exception):
            self.cancelled(call, error)
            return False
        try:
            return self._schedules(call, error)
        except BaseException as interruption:
            self.cancelled(call, interruption)
            raise

    def _schedules(self, call: Call, error: Exception) -> bool:
        call.failed_with(error)
        now = clock.current().monotonic()
        verdict = self.rule.after_failure(
            error,
            attempt=call.attempts,
            previous_wait=call.wait,
            now=now,
            deadline=context.deadline(),
            uniform=random.uniform,
        )
        if isinstance(verdict, Reason):
            self._give_up(call, error, verdict, now)
            return False
        call.waits_for(verdict)
        if self._on_retry is not None:
            bus.observe(self._on_retry, "on_retry", error, call.attempts)
        if bus.listens(RetryScheduled):
            bus.publish(RetryScheduled(now, self.operation.name, call.attempts, verdict, type(error)))
        return True

    def _give_up(self, call: Call, error: Exception, reason: Reason, now: float) -> None:
        elapsed = now - call.started_at
        if call.attempts > 1 or reason is not Reason.NOT_RETRYABLE:
            note_giving_up(error, self.operation.name, call.attempts, elapsed, reason)
        if bus.listens(RetryGaveUp):
            bus.publish(RetryGaveUp(now, self.operation.name, call.attempts, elapsed, reason, type(error)))
        bus.finish(call, Outcome.FAILURE, reason, now, error)

    def succeeded(self, call: Call) -> None:
        """An attempt came back well."""
        bus.attempt_finished(call, None)
        now = clock.current().monotonic()
        if call.attempts == 1:
            bus.finish(call, Outcome.SUCCESS, Reason.FIRST_TRY, now)
            return
        if bus.listens(RetryRecovered):
            bus.publish(RetryRecovered(now, self.operation.name, call.attempts, now - call.started_at))
        bus.finish(call, Outcome.SUCCESS, Reason.RECOVERED, now)

    def cancelled(self, call: Call, error: BaseException) -> None:
        """The call was stopped from outside."""
        bus.finish(call, Outcome.CANCELLED, Reason.CANCELLED, clock.current().monotonic(), error)

    def pause(self, call: Call) -> None:
        """Wait as long as was scheduled."""
        # Not even for 0 seconds: that system call takes 57 µs.
        if call.wait > 0:
            try:
                clock.current().sleep(call.wait)
            except BaseException as error:
                self.cancelled(call, error)
                raise
        call.attempts += 1

    async def async_pause(self, call: Call) -> None:
        """Wait as long as was scheduled."""
        if call.wait > 0:
            try:
                await clock.current().async_sleep(call.wait)
            except BaseException as error:
                self.cancelled(call, error)
                raise
        call.attempts += 1


def make_rule(
    max_attempts: object,
    delay: object,
    backoff: object,
    jitter: object,
    strategy: object,
    exceptions: object,
    max_delay: object,
) -> RetryRule:
    """The rule that a user's settings describe, checked."""
    attempts = checks.count("max_attempts", max_attempts)
    unit = checks.seconds("delay", delay, zero=True)
    cap = max(DEFAULT_MAX_DELAY, unit) if max_delay is None else checks.seconds("max_delay", max_delay)
    if unit > cap:
        raise checks.refuse("max_delay", max_delay, f"`delay` ({unit:g} s) or more")
    kinds = "RetryStrategy." + ", RetryStrategy.".join(kind.name for kind in RetryStrategy)
    if not isinstance(strategy, RetryStrategy):
        raise checks.refuse_type("strategy", strategy, kinds)
    return RetryRule(
        attempts,
        Backoff(unit, checks.factor("backoff", backoff), strategy, _jitter(jitter, strategy), cap),
        checks.exception_types("exceptions", exceptions),
        (CallRejectedError,),
    )


def _jitter(jitter: object, strategy: RetryStrategy) -> Jitter:
    if jitter is None:
        return Jitter.FULL if strategy is RetryStrategy.EXPONENTIAL else Jitter.NONE
    if isinstance(jitter, bool):
        return Jitter.FULL if jitter else Jitter.NONE
    if isinstance(jitter, Jitter):
        return jitter
    raise checks.refuse_type("jitter", jitter, "True, False, None or a Jitter")


def observing_callback(parameter: str, callback: Any) -> Any:
    """A plain callable or None; a coroutine function would never be awaited."""
    if is_async(callback):
        raise checks.refuse_type(parameter, callback, "a plain function; it is called, not awaited")
    return checks.optional_callable(parameter, callback)


@overload
def retry(max_attempts: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def retry(
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
) -> Decorator: ...
def retry(
    max_attempts: Any = 3,
    delay: float = 1.0,
    backoff: float = 2.0,
    jitter: bool | Jitter | None = None,
    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL,
    exceptions: Exceptions = (Exception,),
    on_retry: OnRetry | None = None,
    *,
    max_delay: float | None = None,
    name: str | None = None,
) -> Any:
    """Run the function again when it fails, after a wait.

    For functions, methods and coroutine functions; also without parentheses. When the attempts are used up, the last
    exception comes back itself, with a note that says what was tried. Cancellation, KeyboardInterrupt, SystemExit and
    GeneratorExit are never retried. No wait is begun that would end past the deadline of an enclosing `timeout`.

    Parameters:
        max_attempts: runs in total, the first included; 1 or more.
        delay: the unit of the waits, seconds; 0 retries at once.
        backoff: what EXPONENTIAL multiplies each wait by; 1 or more.
        jitter: how waits are spread. True is `Jitter.FULL`, False is none; None (the default) is full for EXPONENTIAL
            and none for the strategies whose exact sequence matters.
        strategy: the sequence of waits. With n attempts there are n - 1 waits.
        exceptions: the exception classes to retry. An open circuit or another rejection by telemetrix is only retried
            when its class is named here.
        on_retry: called as `on_retry(exception, attempt)` before each wait, `attempt` being the number (1-based) of the
            one that failed; what it raises is counted and ignored.
        max_delay: no wait is longer, seconds; None is 300, or `delay` if that is more.
        name: the operation's name in telemetry; None is the function's `module.qualname`.

    Raises:
        ValueError, TypeError: a setting is out of range, or the function cannot be guarded; when the decorator runs.

    Telemetry:
        span `retry <operation>` with one child `attempt <operation>` per attempt; events `RetryScheduled`,
        `RetryRecovered`, `RetryGaveUp`; metrics `calls_total`, `call_duration_seconds`, `attempts_total`,
        `attempts_per_call`, `retry_delay_seconds`, `errors_total`.

    Backoff and jitter after Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    if is_function(max_attempts):
        return retry()(max_attempts)
    rule = make_rule(max_attempts, delay, backoff, jitter, strategy, exceptions, max_delay)
    callback = observing_callback("on_retry", on_retry)
    given = checks.optional_name("name", name)

    def wrap(function: Function) -> Any:
        return _wrap(function, RetryDriver(rule, callback, operation_for(Primitive.RETRY, function, given)))

    return Decorating("retry", wrap)


def _wrap(function: Function, driver: RetryDriver) -> Any:
    awaits = is_async(function)
    names = {
        "tx_observed": partial(driver.async_run if awaits else driver.run, function),
        "tx_resume": partial(driver.async_resume if awaits else driver.resume, function),
        "tx_failed": driver.failed_first,
    }
    return write_wrapper(function, _WRAPPER, driver.operation, names)


@overload
def async_retry(max_attempts: Callable[P, Awaitable[R]], /) -> Callable[P, Awaitable[R]]: ...
@overload
def async_retry(
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
) -> Decorator: ...
def async_retry(
    max_attempts: Any = 3,
    delay: float = 1.0,
    backoff: float = 2.0,
    jitter: bool | Jitter | None = None,
    strategy: RetryStrategy = RetryStrategy.EXPONENTIAL,
    exceptions: Exceptions = (Exception,),
    on_retry: OnRetry | None = None,
    *,
    max_delay: float | None = None,
    name: str | None = None,
) -> Any:
    """`retry` for coroutine functions only, said explicitly; every parameter is `retry`'s.

    Raises:
        TypeError: the function is not a coroutine function (besides what `retry` raises).
    """
    if is_function(max_attempts):
        return async_retry()(max_attempts)
    decorator = retry(
        max_attempts, delay, backoff, jitter, strategy, exceptions, on_retry, max_delay=max_delay, name=name
    )

    def guard(function: Any) -> Any:
        inner: Any = getattr(function, "__func__", function)  # of a staticmethod or classmethod
        if not is_async(inner):
            what = getattr(inner, "__qualname__", repr(inner))
            raise TypeError(f"async_retry cannot guard {what}: it is not a coroutine function; use retry")
        return decorator(function)

    return guard

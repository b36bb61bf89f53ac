"""Fallback: another answer when the first one fails."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from telemetrix import clock
from telemetrix._core import checks
from telemetrix._core.outcomes import Outcome, Primitive, Reason
from telemetrix.bus import default_bus as bus
from telemetrix.calls import Call, Operation
from telemetrix.events import FallbackFailed, FallbackServed
from telemetrix.primitives._targets import (
    Args,
    Decorating,
    Decorator,
    Function,
    Kwargs,
    is_async,
    operation_for,
    refuse_unguardable,
)
from telemetrix.primitives._wrapper import OBSERVED, RECORD, START, write_wrapper
from telemetrix.primitives.retry import Exceptions

T = TypeVar("T")

# The handler runs inside the except clause: a second error is chained to the first, and sys.exception() is the first.
_WRAPPER: Final = f"""\
{OBSERVED}
{START}
try:
    tx_result = $await tx_function($call)
except tx_exceptions as tx_error:
    return $await tx_rescue(tx_error, tx_started, $pack)
except BaseException as tx_error:
    tx_failed(tx_error, tx_started)
    raise
{RECORD}
return tx_result
"""


class FallbackDriver:
    """Calls one operation and, when it fails, its handler."""

    __slots__ = ("_exceptions", "_handler", "operation")

    def __init__(self, handler: Function, exceptions: tuple[type[BaseException], ...], operation: Operation) -> None:
        self._handler = handler
        self._exceptions = exceptions
        self.operation: Operation = operation

    def run(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        """Make a call, every step of it observed."""
        call = bus.begin(self.operation, clock.current().monotonic())
        try:
            result = function(*args, **kwargs)
        except self._exceptions as error:
            return self._serve(call, error, args, kwargs)
        except BaseException as error:
            self._not_handled(call, error)
            raise
        bus.finish(call, Outcome.SUCCESS, Reason.PRIMARY, clock.current().monotonic())
        return result

    async def async_run(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        """Make a call, every step of it observed."""
        call = bus.begin(self.operation, clock.current().monotonic())
        try:
            result = await function(*args, **kwargs)
        except self._exceptions as error:
            return await self._async_serve(call, error, args, kwargs)
        except BaseException as error:
            self._not_handled(call, error)
            raise
        bus.finish(call, Outcome.SUCCESS, Reason.PRIMARY, clock.current().monotonic())
        return result

    def rescue(self, error: BaseException, started_at: float, args: Args, kwargs: Kwargs) -> Any:
        """Answer for a call that failed on the fast path."""
        return self._serve(Call(self.operation, started_at), error, args, kwargs)

    async def async_rescue(self, error: BaseException, started_at: float, args: Args, kwargs: Kwargs) -> Any:
        """Answer for a call that failed on the fast path."""
        return await self._async_serve(Call(self.operation, started_at), error, args, kwargs)

    def failed(self, error: BaseException, started_at: float) -> None:
        """A call failed on the fast path with an error that is not handled here."""
        self._not_handled(Call(self.operation, started_at), error)

    def _serve(self, call: Call, error: BaseException, args: Args, kwargs: Kwargs) -> Any:
        call.failed_with(error)
        try:
            answer = self._handler(*args, **kwargs)
        except BaseException as second:
            self._handler_failed(call, error, second)
            raise
        self._served(call, error)
        return answer

    async def _async_serve(self, call: Call, error: BaseException, args: Args, kwargs: Kwargs) -> Any:
        call.failed_with(error)
        try:
            answer = self._handler(*args, **kwargs)
            if inspect.isawaitable(answer):
                answer = await answer
        except BaseException as second:
            self._handler_failed(call, error, second)
            raise
        self._served(call, error)
        return answer

    def _served(self, call: Call, error: BaseException) -> None:
        now = clock.current().monotonic()
        if bus.listens(FallbackServed):
            bus.publish(FallbackServed(now, self.operation.name, type(error)))
        bus.finish(call, Outcome.FALLBACK, Reason.SERVED, now)

    def _handler_failed(self, call: Call, error: BaseException, second: BaseException) -> None:
        now = clock.current().monotonic()
        if not isinstance(second, Exception):
            bus.finish(call, Outcome.CANCELLED, Reason.CANCELLED, now, second)
            return
        if bus.listens(FallbackFailed):
            bus.publish(FallbackFailed(now, self.operation.name, type(error), type(second)))
        bus.finish(call, Outcome.FAILURE, Reason.HANDLER_FAILED, now, second)

    def _not_handled(self, call: Call, error: BaseException) -> None:
        now = clock.current().monotonic()
        if isinstance(error, Exception):
            call.failed_with(error)
            bus.finish(call, Outcome.FAILURE, Reason.NOT_HANDLED, now, error)
        else:
            bus.finish(call, Outcome.CANCELLED, Reason.CANCELLED, now, error)


def fallback(
    handler_or_value: Any,
    exceptions: Exceptions = (Exception,),
    *,
    name: str | None = None,
) -> Decorator:
    """Answer with something else when the function fails.

    Fallbacks nest: the outer one answers when the inner one's handler fails too.

    Parameters:
        handler_or_value: a callable gets the call's own arguments and its result is the answer; anything else is the
            answer itself. A coroutine function may only guard a coroutine function. Inside the handler,
            `sys.exception()` is the error.
        exceptions: the exception classes to answer for; others reach the caller.
        name: the operation's name in telemetry; None is the function's `module.qualname`.

    Raises:
        TypeError, ValueError: a setting is out of range, or the handler cannot take the function's arguments; when the
            decorator runs.
        Whatever the handler raises: at the call, with the function's own error as its `__context__`.

    Telemetry:
        span `fallback <operation>`; events `FallbackServed`, `FallbackFailed`; metrics `calls_total`,
        `call_duration_seconds`, `errors_total`.
    """
    types = checks.exception_types("exceptions", exceptions)
    given = checks.optional_name("name", name)
    is_handler = callable(handler_or_value)
    handler: Function = handler_or_value if is_handler else lambda *_, **__: handler_or_value

    def wrap(function: Function) -> Any:
        awaits = is_async(function)
        if is_async(handler) and not awaits:
            what = getattr(function, "__qualname__", repr(function))
            raise checks.refuse_type("handler", handler, f"a plain function, because {what} is one")
        as_passed = is_handler and not _takes_everything(handler, function)
        driver = FallbackDriver(handler, types, operation_for(Primitive.FALLBACK, function, given))
        names = {
            "tx_observed": partial(driver.async_run if awaits else driver.run, function),
            "tx_rescue": driver.async_rescue if awaits else driver.rescue,
            "tx_failed": driver.failed,
            "tx_exceptions": types,
        }
        return write_wrapper(function, _WRAPPER, driver.operation, names, as_passed=as_passed)

    return Decorating("fallback", wrap)


def _takes_everything(handler: Function, function: Function) -> bool:
    """Whether the handler takes all of the function's arguments, or only those without a default.

    Raises:
        TypeError: not even those, so that no call of the function could be passed on.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())
        takes = inspect.signature(handler)
    except (TypeError, ValueError):
        return True  # a builtin without a signature; the call will tell
    try:
        _bind(takes, parameters)
    except TypeError:
        pass
    else:
        return True
    try:
        _bind(takes, [parameter for parameter in parameters if parameter.default is parameter.empty])
    except TypeError as error:
        what = getattr(function, "__qualname__", repr(function))
        allowed = f"it is called with the arguments of {what}, and {error}"
        raise checks.refuse_type("handler", handler, allowed) from None
    return False


def _bind(takes: inspect.Signature, parameters: list[inspect.Parameter]) -> None:
    args = [None for p in parameters if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    takes.bind(*args, **{p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY})


def safe_execute(
    func: Callable[..., T],
    /,
    *args: Any,
    default: Any = None,
    exceptions: Exceptions = (Exception,),
    **kwargs: Any,
) -> Any:
    """Call a function once and answer with `default` if it fails.

    Parameters:
        func: what to call, with `args` and `kwargs`; for a coroutine function, await the result.
        default: the answer in case of failure; returned as it is, also when it is callable.
        exceptions: the exception classes to answer for; others reach the caller.

    Telemetry:
        that of `fallback`, under the function's name.
    """
    types = checks.exception_types("exceptions", exceptions)
    if not callable(func):
        raise checks.refuse_type("func", func, "a function, followed by its arguments")
    if not inspect.isclass(func):
        refuse_unguardable(func, "safe_execute")
    driver = FallbackDriver(lambda *_, **__: default, types, operation_for(Primitive.FALLBACK, func))
    run = driver.async_run if is_async(func) else driver.run
    return run(func, args, kwargs)

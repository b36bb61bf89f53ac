"""Timeout: the caller waits no longer than this."""

from __future__ import annotations

from contextvars import copy_context
from functools import partial
from typing import Any, Final

from telemetrix import clock, context
from telemetrix._core import checks
from telemetrix._core.outcomes import Outcome, Primitive, Reason
from telemetrix.bus import default_bus as bus
from telemetrix.calls import Call, Operation
from telemetrix.errors import OperationTimeout
from telemetrix.events import AbandonedWorkFinished, TimeoutExpired
from telemetrix.primitives._targets import (
    Args,
    Decorating,
    Decorator,
    Function,
    Kwargs,
    is_async,
    operation_for,
)
from telemetrix.primitives._workers import Job, WorkerPool
from telemetrix.primitives._wrapper import write_wrapper

_WRAPPER: Final = "return $await tx_run($pack)\n"

_workers = WorkerPool()


class TimeoutDriver:
    """Calls one operation with a limit."""

    __slots__ = ("operation", "seconds")

    def __init__(self, seconds: float, operation: Operation) -> None:
        self.seconds: float = seconds
        self.operation: Operation = operation

    def run(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        """Make a call on a worker thread and wait for it."""
        call, limit, reason = self._begin()
        with context.deadline_scope(call.started_at + limit):
            carried = copy_context()
        expires_at = call.started_at + limit
        job = Job(carried, partial(function, *args, **kwargs), partial(self._late_end, expires_at))
        submitted = False
        try:
            _workers.submit(job)
            submitted = True
            # Counted from the call's start, so that whichever thread is faster, the limit is the same.
            in_time = clock.current().wait(job.done, expires_at - clock.current().monotonic())
        except BaseException as error:
            if submitted and job.abandon():
                self._announce(limit, abandoned=True)
            self._failed(call, error)
            raise
        if not in_time:
            raise self._expired(call, limit, reason, abandoned=job.abandon())
        failure, job.error = job.error, None
        if failure is None:
            bus.finish(call, Outcome.SUCCESS, Reason.IN_TIME, clock.current().monotonic())
            return job.result
        try:
            self._failed(call, failure)
            raise failure
        finally:
            del failure  # its traceback leads back to this frame

    async def async_run(self, function: Function, args: Args, kwargs: Kwargs) -> Any:
        """Make a call in this task and cancel it when the time is up."""
        call, limit, reason = self._begin()
        result: Any = None
        try:
            with (
                context.deadline_scope(call.started_at + limit),
                clock.current().cancel_scope(limit) as scope,
            ):
                result = await function(*args, **kwargs)
        except BaseException as error:
            self._failed(call, error)
            raise
        if scope.cancelled_caught:
            raise self._expired(call, limit, reason, abandoned=False)
        bus.finish(call, Outcome.SUCCESS, Reason.IN_TIME, clock.current().monotonic())
        return result

    def _begin(self) -> tuple[Call, float, Reason]:
        """The call, the seconds it has, and what it ends with when they are over."""
        now = clock.current().monotonic()
        call = bus.begin(self.operation, now)
        outer = context.deadline()
        if outer is None or now + self.seconds <= outer:
            return call, self.seconds, Reason.EXPIRED
        left = outer - now
        if left <= 0:
            raise self._expired(call, 0.0, Reason.DEADLINE, abandoned=False, started=False)
        return call, left, Reason.DEADLINE

    def _expired(
        self, call: Call, limit: float, reason: Reason, *, abandoned: bool, started: bool = True
    ) -> OperationTimeout:
        error = OperationTimeout(self.operation.name, limit, abandoned=abandoned, started=started)
        call.failed_with(error)
        self._announce(limit, abandoned=abandoned)
        bus.finish(call, Outcome.TIMEOUT, reason, clock.current().monotonic(), error)
        return error

    def _announce(self, limit: float, *, abandoned: bool) -> None:
        bus.publish(TimeoutExpired(clock.current().monotonic(), self.operation.name, limit, abandoned))

    def _failed(self, call: Call, error: BaseException) -> None:
        now = clock.current().monotonic()
        if not isinstance(error, Exception):
            bus.finish(call, Outcome.CANCELLED, Reason.CANCELLED, now, error)
            return
        call.failed_with(error)
        if isinstance(error, OperationTimeout) and now >= call.started_at + self.seconds:
            bus.finish(call, Outcome.TIMEOUT, Reason.EXPIRED, now, error)
        else:
            bus.finish(call, Outcome.FAILURE, Reason.ERROR, now, error)

    def _late_end(self, expired_at: float, error: BaseException | None) -> None:
        now = clock.current().monotonic()
        kind = None if error is None else type(error)
        bus.publish(AbandonedWorkFinished(now, self.operation.name, now - expired_at, kind))


def timeout(seconds: float, *, name: str | None = None) -> Decorator:
    """Give the caller an answer, or `OperationTimeout`, within a limit.

    A coroutine function is cancelled when the time is up. A plain function runs on a worker thread, in a copy of the
    caller's context, while the caller waits; Python cannot stop a thread, so when the time is up the caller goes on and
    the work is left behind: it is counted in `telemetrix_timeouts_abandoned_threads` until it ends, and its result is
    dropped. What is bound to a thread (a SQLite connection, `threading.local`) is not there on the worker.

    Everything inside sees the deadline: a nested timeout is shortened to it, and no retry sleeps past it.

    Parameters:
        seconds: the limit, more than 0. A nearer deadline of an enclosing `timeout` wins.
        name: the operation's name in telemetry; None is the function's `module.qualname`.

    Raises:
        OperationTimeout: at the call, when the time is up; it is a `TimeoutError`.
        TypeError, ValueError: `seconds` is out of range, or the function cannot be guarded; when the decorator runs.

    Telemetry:
        span `timeout <operation>`; events `TimeoutExpired`, `AbandonedWorkFinished`; metrics `calls_total`,
        `call_duration_seconds`, `errors_total`, `timeouts_abandoned_threads`.
    """
    limit = checks.seconds("seconds", seconds)
    given = checks.optional_name("name", name)

    def wrap(function: Function) -> Any:
        driver = TimeoutDriver(limit, operation_for(Primitive.TIMEOUT, function, given))
        run = driver.async_run if is_async(function) else driver.run
        return write_wrapper(function, _WRAPPER, driver.operation, {"tx_run": partial(run, function)})

    return Decorating("timeout", wrap)

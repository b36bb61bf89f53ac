"""Every way a call can end, each as a piece of code that makes exactly one such call happen.

The operation of a case is named `ops.<case>`; nothing here waits, and all of it runs on the system clock, so that calls
take the fast path where nobody watches.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final

from telemetrix import (
    CircuitBreaker,
    CircuitState,
    Outcome,
    Primitive,
    Reason,
    RetryStrategy,
    batch_with_retry,
    clock,
    context,
    fallback,
    retry,
    timeout,
)
from telemetrix.testing import Script
from tests.services import poll

Ending = tuple[Primitive, Outcome, Reason]
Body = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One ending.

    Attributes:
        ending: the call's primitive, outcome and reason.
        run: makes the call, given a function to guard; what reaches the caller is dropped.
        errors: the classes of the errors that its function raises, as `errors_total` counts them.
        attempts: for a retry, how its attempts ended.
        also: what else ends because of it, under the same operation.
    """

    ending: Ending
    run: Callable[[str], object]
    errors: tuple[str, ...] = ()
    attempts: tuple[Outcome, ...] = ()
    also: tuple[Ending, ...] = ()

    @property
    def name(self) -> str:
        """Names the operation."""
        primitive, outcome, reason = self.ending
        return f"ops.{primitive}_{outcome}_{reason}"

    def __call__(self) -> None:
        """Make it happen once."""
        with contextlib.suppress(Exception, KeyboardInterrupt):
            self.run(self.name)


def function(name: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """A function that telemetrix calls `name`."""

    def guarded(*args: object) -> Any:
        return body(*args)

    guarded.__module__, guarded.__qualname__ = name.rsplit(".", 1)
    return guarded


def fails(*args: object) -> None:
    raise ValueError("secret")


def interrupted(*args: object) -> None:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _deadline_in(seconds: float) -> Generator[None]:
    with context.deadline_scope(clock.current().monotonic() + seconds):
        yield


def _recovers(name: str) -> None:
    retry(3, 0)(function(name, Script([ValueError("secret"), KeyError("secret"), 1])))()


def _runs_out_of_time(name: str) -> None:
    with _deadline_in(5):
        retry(3, 60, strategy=RetryStrategy.FIXED)(function(name, fails))()


def _meets_open(name: str) -> None:
    breaker = CircuitBreaker(name=f"circuit of {name}")
    breaker.open()
    breaker(function(name, fails))()


def _meets_half_open(name: str) -> None:
    breaker = CircuitBreaker(name=f"circuit of {name}")
    breaker.state = CircuitState.HALF_OPEN

    def probe(*args: object) -> None:
        with contextlib.suppress(Exception):
            guarded()

    guarded = breaker(function(name, probe))
    guarded()


def _expires(name: str) -> None:
    go_on, gone = threading.Event(), threading.Event()

    def hangs(*args: object) -> None:
        go_on.wait(20)
        gone.set()

    try:
        timeout(0.002)(function(name, hangs))()
    finally:
        go_on.set()
        poll(gone.is_set)


def _comes_too_late(name: str) -> None:
    with _deadline_in(-1):
        timeout(5)(function(name, fails))()


def _broken_items() -> Iterator[int]:
    yield 1
    raise ValueError("secret")


R, C, F, T, B = Primitive.RETRY, Primitive.CIRCUIT_BREAKER, Primitive.FALLBACK, Primitive.TIMEOUT, Primitive.BATCH
FIRST_TRY: Final = (R, Outcome.SUCCESS, Reason.FIRST_TRY)
EXHAUSTED: Final = (R, Outcome.FAILURE, Reason.EXHAUSTED)
CANCELLED: Final = (Outcome.CANCELLED, Reason.CANCELLED)

CASES: Final = (
    Case(FIRST_TRY, lambda name: retry(3, 0)(function(name, Script([1])))(), attempts=(Outcome.SUCCESS,)),
    Case(
        (R, Outcome.SUCCESS, Reason.RECOVERED),
        _recovers,
        errors=("ValueError", "KeyError"),
        attempts=(Outcome.FAILURE, Outcome.FAILURE, Outcome.SUCCESS),
    ),
    Case(
        EXHAUSTED,
        lambda name: retry(2, 0)(function(name, fails))(),
        errors=("ValueError", "ValueError"),
        attempts=(Outcome.FAILURE, Outcome.FAILURE),
    ),
    Case(
        (R, Outcome.FAILURE, Reason.NOT_RETRYABLE),
        lambda name: retry(2, 0, exceptions=KeyError)(function(name, fails))(),
        errors=("ValueError",),
        attempts=(Outcome.FAILURE,),
    ),
    Case(
        (R, Outcome.FAILURE, Reason.DEADLINE),
        _runs_out_of_time,
        errors=("ValueError",),
        attempts=(Outcome.FAILURE,),
    ),
    Case(
        (R, *CANCELLED),
        lambda name: retry(2, 0)(function(name, Script([ValueError("secret"), KeyboardInterrupt])))(),
        errors=("ValueError",),
        attempts=(Outcome.FAILURE, Outcome.CANCELLED),
    ),
    Case((C, Outcome.SUCCESS, Reason.PASSED), lambda name: CircuitBreaker()(function(name, Script([1])))()),
    Case(
        (C, Outcome.FAILURE, Reason.COUNTED),
        lambda name: CircuitBreaker()(function(name, fails))(),
        errors=("ValueError",),
    ),
    Case(
        (C, Outcome.FAILURE, Reason.IGNORED),
        lambda name: CircuitBreaker(expected_exception=KeyError)(function(name, fails))(),
        errors=("ValueError",),
    ),
    Case((C, Outcome.REJECTED, Reason.OPEN), _meets_open),
    Case(
        (C, Outcome.REJECTED, Reason.HALF_OPEN),
        _meets_half_open,
        also=((C, Outcome.SUCCESS, Reason.PASSED),),
    ),
    Case((C, *CANCELLED), lambda name: CircuitBreaker()(function(name, interrupted))()),
    Case((F, Outcome.SUCCESS, Reason.PRIMARY), lambda name: fallback(None)(function(name, Script([1])))()),
    Case(
        (F, Outcome.FALLBACK, Reason.SERVED),
        lambda name: fallback(None)(function(name, fails))(),
        errors=("ValueError",),
    ),
    Case(
        (F, Outcome.FAILURE, Reason.NOT_HANDLED),
        lambda name: fallback(None, exceptions=KeyError)(function(name, fails))(),
        errors=("ValueError",),
    ),
    Case(
        (F, Outcome.FAILURE, Reason.HANDLER_FAILED),
        lambda name: fallback(Script([KeyError("secret")]))(function(name, fails))(),
        errors=("ValueError",),
    ),
    Case((F, *CANCELLED), lambda name: fallback(None)(function(name, interrupted))()),
    Case((T, Outcome.SUCCESS, Reason.IN_TIME), lambda name: timeout(20)(function(name, Script([1])))()),
    Case((T, Outcome.TIMEOUT, Reason.EXPIRED), _expires, errors=("telemetrix.errors.OperationTimeout",)),
    Case((T, Outcome.TIMEOUT, Reason.DEADLINE), _comes_too_late, errors=("telemetrix.errors.OperationTimeout",)),
    Case((T, Outcome.FAILURE, Reason.ERROR), lambda name: timeout(20)(function(name, fails))(), errors=("ValueError",)),
    Case((T, *CANCELLED), lambda name: timeout(20)(function(name, interrupted))()),
    Case(
        (B, Outcome.SUCCESS, Reason.COMPLETE),
        lambda name: batch_with_retry([1, 2], function(name, Script([1])), delay=0),
        attempts=(Outcome.SUCCESS, Outcome.SUCCESS),
        also=(FIRST_TRY, FIRST_TRY),
    ),
    Case(
        (B, Outcome.SUCCESS, Reason.PARTIAL),
        lambda name: batch_with_retry([1, 2], function(name, Script([1, ValueError])), max_retries=0),
        errors=("ValueError",),
        attempts=(Outcome.SUCCESS, Outcome.FAILURE),
        also=(FIRST_TRY, EXHAUSTED),
    ),
    Case(
        (B, Outcome.FAILURE, Reason.ABORTED),
        lambda name: batch_with_retry(_broken_items(), function(name, Script([1])), batch_size=1),
        errors=("ValueError",),
        attempts=(Outcome.SUCCESS,),
        also=(FIRST_TRY,),
    ),
    Case(
        (B, *CANCELLED),
        lambda name: batch_with_retry([1], function(name, interrupted)),
        attempts=(Outcome.CANCELLED,),
        also=((R, *CANCELLED),),
    ),
)

"""The exceptions telemetrix raises itself; whatever the user's function raises comes back as it is.

    TelemetrixError
    ├── CallRejectedError            the function never ran
    │   └── CircuitOpenError         … because the circuit is open, or half-open and its probes are taken
    ├── OperationTimeout             the function ran out of time; also a TimeoutError
    └── MissingExtraError            an optional dependency is not installed; also an ImportError

Settings that are out of range are `ValueError`, of the wrong type `TypeError`, both at decoration time.
"""

from __future__ import annotations

from telemetrix._core.units import seconds_text


class TelemetrixError(Exception):
    """The root of every exception that telemetrix raises by itself."""


class CallRejectedError(TelemetrixError):
    """The function was not run.

    Attributes:
        name: the circuit (or limiter) that refused.
        retry_after: seconds until it is worth asking again; None if that is not known.
    """

    def __init__(self, name: str, retry_after: float | None = None) -> None:
        super().__init__(name, retry_after)
        self.name = name
        self.retry_after = retry_after


class CircuitOpenError(CallRejectedError):
    """The circuit breaker let nothing through.

    Attributes:
        name: the circuit.
        state: `open`, or `half_open` when the places for probes are taken.
        retry_after: seconds until a probe may pass.
        last_error_type: the class of the last failure the circuit counted; None if it was opened by hand.
    """

    def __init__(
        self,
        name: str,
        state: str = "open",
        retry_after: float | None = None,
        last_error_type: type[BaseException] | None = None,
    ) -> None:
        # Set here instead of by super(): an open circuit raises this in bulk.
        Exception.__init__(self, name, state, retry_after, last_error_type)
        self.name = name
        self.retry_after = retry_after
        self.state = state
        self.last_error_type = last_error_type

    def __str__(self) -> str:
        # Built only when somebody looks: rejections are raised in bulk, and formatting costs more than raising.
        text = f"Circuit breaker is OPEN: {self.name!r} lets no call through"
        if self.state != "open":
            text += " while a probe is under way"
        if self.retry_after is not None:
            text += f"; retry after {seconds_text(self.retry_after)}"
        if self.last_error_type is not None:
            text += f"; last failure: {self.last_error_type.__qualname__}"
        return text


class OperationTimeout(TelemetrixError, TimeoutError):  # noqa: N818 - reads as what it is beside TimeoutError
    """The function did not come back in time.

    Attributes:
        operation: what was guarded.
        seconds: the limit that was in force, seconds.
        abandoned: whether the function still runs on a thread that nobody waits for (sync only; async is cancelled).
        started: whether the function ran at all; not if an enclosing deadline had passed before.
    """

    def __init__(self, operation: str, seconds: float, *, abandoned: bool = False, started: bool = True) -> None:
        # One argument only: with two, OSError would take them for errno and strerror.
        super().__init__(operation)
        self.operation = operation
        self.seconds = seconds
        self.abandoned = abandoned
        self.started = started

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.operation, self.seconds), vars(self))

    def __str__(self) -> str:
        if not self.started:
            return f"{self.operation} was not started: the time of an enclosing timeout was up"
        text = f"{self.operation} did not finish within {seconds_text(self.seconds)}"
        if self.abandoned:
            text += "; its work goes on in an abandoned thread"
        return text


class MissingExtraError(TelemetrixError, ImportError):
    """A part of telemetrix needs a package that is not installed; the text names the extra that brings it."""

    def __init__(self, part: str, extra: str) -> None:
        super().__init__(f"{part} needs an optional dependency: pip install 'telemetrix-resilience[{extra}]'")
        self.part = part
        self.extra = extra

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.part, self.extra), vars(self))

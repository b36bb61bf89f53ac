"""Every event telemetrix publishes: what happened, where, when.

Events are delivered at once, in order, in the thread and context where they happened. Treat them as read-only: they are
not frozen only because a frozen dataclass costs four times as much to build. `at` is the clock in force, seconds
(monotonic); error types are classes; no event carries an argument, a result or an exception's message.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from telemetrix._core.circuit import CircuitState, TransitionReason
    from telemetrix._core.outcomes import Outcome, Primitive, Reason
    from telemetrix.calls import Operation


@dataclass(slots=True)
class Event:
    """The root of all events; subscribing to it means hearing everything."""

    at: float


# Retry


@dataclass(slots=True)
class RetryScheduled(Event):
    """An attempt failed and another one follows after `wait` seconds."""

    operation: str
    attempt: int
    wait: float
    error_type: type[BaseException]


@dataclass(slots=True)
class RetryRecovered(Event):
    """The call succeeded, but not at once; `attempts` includes the last one, `elapsed` is seconds since the first."""

    operation: str
    attempts: int
    elapsed: float


@dataclass(slots=True)
class RetryGaveUp(Event):
    """The last attempt failed; `reason` says why there is no further one."""

    operation: str
    attempts: int
    elapsed: float
    reason: Reason
    error_type: type[BaseException]


# Circuit breaker


@dataclass(slots=True)
class CircuitRegistered(Event):
    """A circuit is in `state` since `since`; told when it is made, to late subscribers, and when it is set by hand.

    `generation` grows with each change of a circuit; of two events, the one with the greater number is the later one.
    """

    circuit: str
    state: CircuitState
    since: float
    recovery_timeout: float
    generation: int


@dataclass(slots=True)
class CircuitTransition(Event):
    """A circuit changed its state; the three below are the ones that are published.

    `failures` is the count of failures in a row at that moment, `last_error_type` the class of the last one.
    """

    circuit: str
    from_state: CircuitState
    to_state: CircuitState
    reason: TransitionReason
    failures: int
    failure_threshold: int
    recovery_timeout: float
    last_error_type: type[BaseException] | None
    generation: int


@dataclass(slots=True)
class CircuitOpened(CircuitTransition):
    """No call passes any more, for `recovery_timeout` seconds."""


@dataclass(slots=True)
class CircuitHalfOpened(CircuitTransition):
    """A probe may pass."""


@dataclass(slots=True)
class CircuitClosed(CircuitTransition):
    """Every call passes again."""


@dataclass(slots=True)
class CallRejected(Event):
    """The function was not run."""

    primitive: Primitive
    operation: str
    name: str
    reason: Reason
    retry_after: float | None


@dataclass(slots=True)
class ProbeFinished(Event):
    """A half-open circuit's probe came back."""

    circuit: str
    outcome: Outcome


@dataclass(slots=True)
class StaleResultDropped(Event):
    """A call that began in an earlier generation of the circuit ended; its result changed nothing."""

    circuit: str
    outcome: Outcome


# Fallback


@dataclass(slots=True)
class FallbackServed(Event):
    """The caller got the fallback's answer instead of the error."""

    operation: str
    error_type: type[BaseException]


@dataclass(slots=True)
class FallbackFailed(Event):
    """The fallback's handler failed too; its error reaches the caller, chained to the first one."""

    operation: str
    error_type: type[BaseException]
    handler_error_type: type[BaseException]


# Timeout


@dataclass(slots=True)
class TimeoutExpired(Event):
    """The function was not back after `seconds`; `abandoned` if it goes on in a thread nobody waits for."""

    operation: str
    seconds: float
    abandoned: bool


@dataclass(slots=True)
class AbandonedWorkFinished(Event):
    """Work that was left behind by a timeout came to its end, `late_by` seconds after its caller had gone."""

    operation: str
    late_by: float
    error_type: type[BaseException] | None


# Batch


@dataclass(slots=True)
class BatchItemFinished(Event):
    """An item of a batch succeeded or failed for good."""

    operation: str
    index: int
    outcome: Outcome
    error_type: type[BaseException] | None


# telemetrix itself


@dataclass(slots=True)
class OperationRegistered(Event):
    """A primitive guards something under this name, or (to a late subscriber: `known`) does so already."""

    operation: Operation
    known: bool


@dataclass(slots=True)
class LabelOverflowed(Event):
    """A label had too many values; this one is shown as `other`."""

    label: str


@dataclass(slots=True)
class SubscriberFailed(Event):
    """A subscriber or an observing callback raised; the call it watched went on."""

    subscriber: str
    error_type: type[BaseException]


@dataclass(slots=True)
class EventsDropped(Event):
    """A queued subscriber's queue was full; `count` items are lost to it."""

    subscriber: str
    count: int

"""Resilience for Python, observable from the first line.

Put `@retry` or `@circuit_breaker` on a function: its calls are guarded, traced, counted and logged with no set-up.
"""

from telemetrix._core.backoff import Jitter, RetryStrategy
from telemetrix._core.circuit import CircuitState, TransitionReason
from telemetrix._core.outcomes import Outcome, Primitive, Reason
from telemetrix._version import __version__
from telemetrix.bus import EventBus, Subscription, subscribe
from telemetrix.calls import Call, Operation
from telemetrix.context import remaining
from telemetrix.errors import (
    CallRejectedError,
    CircuitOpenError,
    MissingExtraError,
    OperationTimeout,
    TelemetrixError,
)
from telemetrix.primitives.batch import FailedItem, batch_with_retry
from telemetrix.primitives.circuit_breaker import CircuitBreaker, circuit_breaker
from telemetrix.primitives.fallback import fallback, safe_execute
from telemetrix.primitives.retry import async_retry, retry
from telemetrix.primitives.retrying import retrying
from telemetrix.primitives.timeout import timeout
from telemetrix.subscribers import Subscriber
from telemetrix.telemetry import configure
from telemetrix.telemetry.logs import get_logger

__all__ = [
    "Call",
    "CallRejectedError",
    "CircuitBreaker",
    "CircuitOpenError",
    "CircuitState",
    "EventBus",
    "FailedItem",
    "Jitter",
    "MissingExtraError",
    "Operation",
    "OperationTimeout",
    "Outcome",
    "Primitive",
    "Reason",
    "RetryStrategy",
    "Subscriber",
    "Subscription",
    "TelemetrixError",
    "TransitionReason",
    "__version__",
    "async_retry",
    "batch_with_retry",
    "circuit_breaker",
    "configure",
    "fallback",
    "get_logger",
    "remaining",
    "retry",
    "retrying",
    "safe_execute",
    "subscribe",
    "timeout",
]

"""The closed vocabulary: which primitives there are, how a call can end, and why.

Spans, metrics, logs, docs and tests read these tables, so a word that is not here cannot appear in telemetry.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Primitive(StrEnum):
    """What guards a call."""

    RETRY = "retry"
    CIRCUIT_BREAKER = "circuit_breaker"
    FALLBACK = "fallback"
    TIMEOUT = "timeout"
    BATCH = "batch"


class Outcome(StrEnum):
    """How a call ended, as its caller saw it."""

    SUCCESS = "success"
    FAILURE = "failure"
    REJECTED = "rejected"
    TIMEOUT = "timeout"
    FALLBACK = "fallback"
    CANCELLED = "cancelled"


class Reason(StrEnum):
    """Why a call ended that way; `ENDINGS` says which reasons each primitive can give."""

    # retry
    FIRST_TRY = "first_try"
    RECOVERED = "recovered"
    EXHAUSTED = "exhausted"
    NOT_RETRYABLE = "not_retryable"
    DEADLINE = "deadline"
    # circuit breaker
    PASSED = "passed"
    COUNTED = "counted"
    IGNORED = "ignored"
    OPEN = "open"
    HALF_OPEN = "half_open"
    # fallback
    PRIMARY = "primary"
    SERVED = "served"
    NOT_HANDLED = "not_handled"
    HANDLER_FAILED = "handler_failed"
    # timeout
    IN_TIME = "in_time"
    EXPIRED = "expired"
    ERROR = "error"
    # batch
    COMPLETE = "complete"
    PARTIAL = "partial"
    ABORTED = "aborted"
    # every primitive: the call was stopped from outside, which is neither success nor failure
    CANCELLED = "cancelled"


Ending = tuple[Outcome, Reason]

_CANCELLED: Final = (Outcome.CANCELLED, Reason.CANCELLED)

ENDINGS: Final[dict[Primitive, tuple[Ending, ...]]] = {
    Primitive.RETRY: (
        (Outcome.SUCCESS, Reason.FIRST_TRY),
        (Outcome.SUCCESS, Reason.RECOVERED),
        (Outcome.FAILURE, Reason.EXHAUSTED),
        (Outcome.FAILURE, Reason.NOT_RETRYABLE),
        (Outcome.FAILURE, Reason.DEADLINE),
        _CANCELLED,
    ),
    Primitive.CIRCUIT_BREAKER: (
        (Outcome.SUCCESS, Reason.PASSED),
        (Outcome.FAILURE, Reason.COUNTED),
        (Outcome.FAILURE, Reason.IGNORED),
        (Outcome.REJECTED, Reason.OPEN),
        (Outcome.REJECTED, Reason.HALF_OPEN),
        _CANCELLED,
    ),
    Primitive.FALLBACK: (
        (Outcome.SUCCESS, Reason.PRIMARY),
        (Outcome.FALLBACK, Reason.SERVED),
        (Outcome.FAILURE, Reason.NOT_HANDLED),
        (Outcome.FAILURE, Reason.HANDLER_FAILED),
        _CANCELLED,
    ),
    Primitive.TIMEOUT: (
        (Outcome.SUCCESS, Reason.IN_TIME),
        (Outcome.TIMEOUT, Reason.EXPIRED),
        (Outcome.TIMEOUT, Reason.DEADLINE),
        (Outcome.FAILURE, Reason.ERROR),
        _CANCELLED,
    ),
    Primitive.BATCH: (
        (Outcome.SUCCESS, Reason.COMPLETE),
        (Outcome.SUCCESS, Reason.PARTIAL),
        (Outcome.FAILURE, Reason.ABORTED),
        _CANCELLED,
    ),
}
"""Every (outcome, reason) a primitive can end with; the first one is its uneventful success."""


def outcomes_of(primitive: Primitive) -> tuple[Outcome, ...]:
    """The outcomes a primitive can have, in the order of `ENDINGS`, each once."""
    return tuple(dict.fromkeys(outcome for outcome, _ in ENDINGS[primitive]))

"""Structured logs: one line for what an operator should read about, none for success.

Lines go through structlog where the application has configured it, and otherwise through the standard library's logger
`telemetrix`, because an unconfigured structlog prints to standard output. telemetrix never configures either.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry import trace

from telemetrix import events
from telemetrix.errors import CallRejectedError
from telemetrix.subscribers import Subscriber
from telemetrix.telemetry.names import error_type

if TYPE_CHECKING:
    from structlog.typing import EventDict

_Fields = dict[str, Any]
_Line = tuple[int, str, _Fields]


def _scheduled(event: events.RetryScheduled) -> _Line:
    fields = {"operation": event.operation, "attempt": event.attempt, "wait_seconds": round(event.wait, 3)}
    return logging.INFO, "retry.scheduled", {**fields, "error_type": error_type(event.error_type)}


def _recovered(event: events.RetryRecovered) -> _Line:
    fields = {"operation": event.operation, "attempts": event.attempts, "elapsed_seconds": round(event.elapsed, 3)}
    return logging.INFO, "retry.recovered", fields


def _gave_up(event: events.RetryGaveUp) -> _Line:
    # A rejection by an open circuit comes with every call; the circuit's own lines say what there is to say.
    level = logging.DEBUG if issubclass(event.error_type, CallRejectedError) else logging.WARNING
    fields = {"operation": event.operation, "attempts": event.attempts, "elapsed_seconds": round(event.elapsed, 3)}
    fields |= {"reason": event.reason.value, "error_type": error_type(event.error_type)}
    return level, "retry.gave_up", fields


def _transition(level: int, name: str) -> Callable[[Any], _Line]:
    def line(event: events.CircuitTransition) -> _Line:
        fields: _Fields = {"circuit": event.circuit, "from_state": event.from_state.value, "reason": event.reason.value}
        fields |= {"failures": event.failures, "failure_threshold": event.failure_threshold}
        if name == "circuit.opened":
            fields["recovery_timeout_seconds"] = event.recovery_timeout
        if event.last_error_type is not None:
            fields["last_error_type"] = error_type(event.last_error_type)
        return level, name, fields

    return line


def _served(event: events.FallbackServed) -> _Line:
    return logging.INFO, "fallback.served", {"operation": event.operation, "error_type": error_type(event.error_type)}


def _handler_failed(event: events.FallbackFailed) -> _Line:
    fields = {"operation": event.operation, "error_type": error_type(event.error_type)}
    return logging.WARNING, "fallback.failed", {**fields, "handler_error_type": error_type(event.handler_error_type)}


def _expired(event: events.TimeoutExpired) -> _Line:
    fields = {"operation": event.operation, "limit_seconds": round(event.seconds, 3), "abandoned": event.abandoned}
    return logging.WARNING, "timeout.expired", fields


def _late(event: events.AbandonedWorkFinished) -> _Line:
    fields: _Fields = {"operation": event.operation, "late_by_seconds": round(event.late_by, 3)}
    if event.error_type is not None:
        fields["error_type"] = error_type(event.error_type)
    return logging.INFO, "timeout.abandoned_work_finished", fields


_LINES: Final[dict[type[events.Event], Callable[[Any], _Line]]] = {
    events.RetryScheduled: _scheduled,
    events.RetryRecovered: _recovered,
    events.RetryGaveUp: _gave_up,
    events.CircuitOpened: _transition(logging.WARNING, "circuit.opened"),
    events.CircuitHalfOpened: _transition(logging.INFO, "circuit.half_opened"),
    events.CircuitClosed: _transition(logging.INFO, "circuit.closed"),
    events.FallbackServed: _served,
    events.FallbackFailed: _handler_failed,
    events.TimeoutExpired: _expired,
    events.AbandonedWorkFinished: _late,
}


# The least level a line of these has; every other is a warning at times.
_LEVELS: Final[dict[type[events.Event], int]] = dict.fromkeys(
    (
        events.RetryScheduled,
        events.RetryRecovered,
        events.CircuitHalfOpened,
        events.CircuitClosed,
        events.FallbackServed,
        events.AbandonedWorkFinished,
    ),
    logging.INFO,
)


class StructuredLogs(Subscriber):
    """Writes a line per event that is worth reading."""

    event_types: tuple[type[events.Event], ...] = tuple(_LINES)

    def __init__(self) -> None:
        self._logger = get_logger("telemetrix")

    def wants(self, kind: type[events.Event]) -> bool:
        """Whether a line about it would be written."""
        return self._logger.wanted(_LEVELS.get(kind, logging.WARNING))

    def on_event(self, event: events.Event) -> None:
        """Log it."""
        line = _LINES.get(type(event))
        if line is None or not self._logger.wanted(logging.WARNING):
            return
        level, name, fields = line(event)
        if not self._logger.wanted(level):
            return
        identity = trace.get_current_span().get_span_context()
        if identity.is_valid:
            fields["trace_id"] = trace.format_trace_id(identity.trace_id)
            fields["span_id"] = trace.format_span_id(identity.span_id)
        self._logger.log(level, name, **fields)


class Logger:
    """A structured logger that follows the application's choice at each line: structlog if configured, else `logging`.

    `info("event", key=value)` and the other levels; `extra={...}` and %-arguments of the standard library work too.
    Anything else (`bind`, `new`, …) is structlog's.
    """

    __slots__ = ("_fallback", "_name", "_standard")

    def __init__(self, name: str | None) -> None:
        self._name = name
        self._standard = logging.getLogger(name)
        self._fallback: Any = None

    def wanted(self, level: int) -> bool:
        """Whether a line of that level could be written at all; costs no formatting."""
        return self._standard.isEnabledFor(level) or _structlog_is_configured()

    def debug(self, event: str, /, *args: object, **fields: Any) -> None:
        """Log at DEBUG."""
        self._write(logging.DEBUG, event, args, fields)

    def info(self, event: str, /, *args: object, **fields: Any) -> None:
        """Log at INFO."""
        self._write(logging.INFO, event, args, fields)

    def warning(self, event: str, /, *args: object, **fields: Any) -> None:
        """Log at WARNING."""
        self._write(logging.WARNING, event, args, fields)

    def error(self, event: str, /, *args: object, **fields: Any) -> None:
        """Log at ERROR."""
        self._write(logging.ERROR, event, args, fields)

    def critical(self, event: str, /, *args: object, **fields: Any) -> None:
        """Log at CRITICAL."""
        self._write(logging.CRITICAL, event, args, fields)

    def exception(self, event: str, /, *args: object, **fields: Any) -> None:
        """Log at ERROR, with the exception being handled."""
        fields.setdefault("exc_info", True)
        self._write(logging.ERROR, event, args, fields)

    def log(self, level: int, event: str, /, *args: object, **fields: Any) -> None:
        """Log at a level of `logging`."""
        self._write(level, event, args, fields)

    def _write(self, level: int, event: str, args: tuple[object, ...], fields: _Fields) -> None:
        extra = fields.pop("extra", None)
        if isinstance(extra, Mapping):
            fields = {**cast("Mapping[str, Any]", extra), **fields}
        elif extra is not None:
            fields["extra"] = extra
        # `event` and `level` are the logger's own words.
        fields = {f"extra_{key}" if key in {"event", "level"} else key: value for key, value in fields.items()}
        self._target().log(level, event, *args, **fields)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target(), name)

    def _target(self) -> Any:
        import structlog  # noqa: PLC0415 - a quarter of a second to import, and most programs never log

        if structlog.is_configured():
            return structlog.get_logger(self._name)
        if self._fallback is None:
            self._fallback = structlog.wrap_logger(
                self._standard,
                processors=[
                    structlog.stdlib.filter_by_level,
                    structlog.stdlib.PositionalArgumentsFormatter(),
                    _render,
                ],
                wrapper_class=structlog.stdlib.BoundLogger,
                cache_logger_on_first_use=True,
            )
        return self._fallback


def get_logger(name: str | None = None) -> Logger:
    """A structured logger.

    Parameters:
        name: usually `__name__`; the standard library's logger of that name is used where structlog is not configured.
    """
    return Logger(name)


def _structlog_is_configured() -> bool:
    structlog = sys.modules.get("structlog")
    return structlog is not None and structlog.is_configured()


_FRAMES_OF_OURS: Final = 6
"""Calls between the line that logs and the standard library's logger, so that a record names that line."""


def _render(_: Any, __: str, fields: EventDict) -> tuple[tuple[str], _Fields]:
    """`event key=value …` for the standard library, which adds the exception itself."""
    event = fields.pop("event")
    passed = {key: fields.pop(key) for key in ("exc_info", "stack_info", "stacklevel") if key in fields}
    passed.setdefault("stacklevel", _FRAMES_OF_OURS)
    return (" ".join([str(event), *(f"{key}={value}" for key, value in fields.items())]),), passed

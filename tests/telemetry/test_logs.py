"""Structured logs: what is worth a line, at which level, and that success writes none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from structlog.testing import capture_logs
from structlog.typing import EventDict

from telemetrix import CircuitBreaker, OperationTimeout, RetryStrategy, configure, fallback, retry, timeout
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock
from tests.services import poll, run_python
from tests.telemetry.endings import CASES, Case, fails, function
from tests.telemetry.spans import span_id, trace_id

ORDER = "ops.order"


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """The lines of an application that has configured structlog."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with capture_logs() as lines:
        yield lines


@pytest.fixture
def at_info(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What an application gets that has not configured structlog, at INFO and above."""
    caplog.set_level(logging.INFO)
    return caplog


def shown(lines: list[EventDict]) -> list[tuple[str, str]]:
    return [(line["log_level"], line["event"]) for line in lines]


# What is logged


def test_success__of_every_primitive__writes_nothing(lines: list[EventDict], caplog: pytest.LogCaptureFixture) -> None:
    for case in CASES:
        if case.ending[2] in {"first_try", "passed", "primary", "in_time", "complete"}:
            case()
    assert lines == []
    assert caplog.records == []


def test_retry__recovering__is_scheduled_and_recovered_at_info(
    lines: list[EventDict], telemetrix_clock: VirtualClock
) -> None:
    retry(3, 2, strategy=RetryStrategy.FIXED)(function(ORDER, Script([ValueError("secret"), 1])))()
    assert lines == [
        {
            "event": "retry.scheduled",
            "log_level": "info",
            "operation": ORDER,
            "attempt": 1,
            "wait_seconds": 2.0,
            "error_type": "ValueError",
        },
        {"event": "retry.recovered", "log_level": "info", "operation": ORDER, "attempts": 2, "elapsed_seconds": 2.0},
    ]


def test_retry__exhausted__is_a_warning_that_says_why(lines: list[EventDict], telemetrix_clock: VirtualClock) -> None:
    with pytest.raises(ValueError, match="secret"):
        retry(2, 2, strategy=RetryStrategy.FIXED)(function(ORDER, fails))()
    assert lines[1:] == [
        {
            "event": "retry.gave_up",
            "log_level": "warning",
            "operation": ORDER,
            "attempts": 2,
            "elapsed_seconds": 2.0,
            "reason": "exhausted",
            "error_type": "ValueError",
        }
    ]


def test_circuit__through_a_whole_life__warns_when_opened_and_informs_when_not(
    lines: list[EventDict], telemetrix_clock: VirtualClock
) -> None:
    breaker = CircuitBreaker(1, 30, name="logged circuit")
    with pytest.raises(ConnectionError):
        breaker.call(Script([ConnectionError("secret")]))
    telemetrix_clock.advance(30)
    breaker.call(bool)
    assert shown(lines) == [
        ("warning", "circuit.opened"),
        ("info", "circuit.half_opened"),
        ("info", "circuit.closed"),
    ]
    assert lines[0] == {
        "event": "circuit.opened",
        "log_level": "warning",
        "circuit": "logged circuit",
        "from_state": "closed",
        "reason": "failure_threshold",
        "failures": 1,
        "failure_threshold": 1,
        "recovery_timeout_seconds": 30.0,
        "last_error_type": "ConnectionError",
    }


def test_fallback__served_and_failed__are_info_and_warning(lines: list[EventDict]) -> None:
    fallback(0)(function(ORDER, fails))()
    with pytest.raises(KeyError):
        fallback(Script([KeyError("secret")]))(function(ORDER, fails))()
    assert shown(lines) == [("info", "fallback.served"), ("warning", "fallback.failed")]
    assert lines[1]["handler_error_type"] == "KeyError"


def test_timeout__expired_and_late__are_warning_and_info(lines: list[EventDict]) -> None:
    go_on = threading.Event()
    with pytest.raises(OperationTimeout):
        timeout(0.005)(function(ORDER, lambda: go_on.wait(20)))()
    go_on.set()
    poll(lambda: len(lines) == 2)
    assert shown(lines) == [("warning", "timeout.expired"), ("info", "timeout.abandoned_work_finished")]
    assert (lines[0]["limit_seconds"], lines[0]["abandoned"]) == (0.005, True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_line__of_any_case__holds_no_message_argument_or_result(
    lines: list[EventDict], caplog: pytest.LogCaptureFixture, case: Case
) -> None:
    case()
    assert "secret" not in repr(lines)
    assert "secret" not in caplog.text


# Traces


def test_line__within_a_sampled_call__carries_the_ids_of_its_span(
    lines: list[EventDict], telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    with pytest.raises(ValueError, match="secret"):
        retry(2, 1)(function(ORDER, fails))()
    (call,) = [span for span in telemetrix_capture.spans if span.name == "retry ops.order"]
    ids = (trace_id(call), span_id(call))
    assert [(line["trace_id"], line["span_id"]) for line in lines] == [ids, ids]


def test_line__within_a_span_of_the_users_only__carries_its_ids(
    lines: list[EventDict], telemetrix_clock: VirtualClock
) -> None:
    with TracerProvider(shutdown_on_exit=False).get_tracer("user").start_as_current_span("request") as span:
        CircuitBreaker(name="logged in a span").open()
    assert lines[0]["span_id"] == trace.format_span_id(span.get_span_context().span_id)


def test_line__without_a_span__carries_no_ids(lines: list[EventDict]) -> None:
    CircuitBreaker(name="logged without a span").open()
    assert not {"trace_id", "span_id"} & lines[0].keys()


# Through the standard library


def test_unconfigured__recovering__is_a_line_of_the_standard_library(
    at_info: pytest.LogCaptureFixture, telemetrix_clock: VirtualClock
) -> None:
    retry(3, 2, strategy=RetryStrategy.FIXED)(function(ORDER, Script([ValueError("secret"), 1])))()
    assert [(record.name, record.levelname, record.getMessage()) for record in at_info.records] == [
        (
            "telemetrix",
            "INFO",
            "retry.scheduled operation=ops.order attempt=1 wait_seconds=2.0 error_type=ValueError",
        ),
        ("telemetrix", "INFO", "retry.recovered operation=ops.order attempts=2 elapsed_seconds=2.0"),
    ]


def test_unconfigured__logger_at_warning__still_gets_the_warnings(
    caplog: pytest.LogCaptureFixture, telemetrix_clock: VirtualClock
) -> None:
    caplog.set_level(logging.WARNING)
    CircuitBreaker(name="warned about").open()
    with pytest.raises(ValueError, match="secret"):
        retry(2, 1)(function(ORDER, fails))()
    assert [(record.levelname, record.getMessage().split()[0]) for record in caplog.records] == [
        ("WARNING", "circuit.opened"),
        ("WARNING", "retry.gave_up"),
    ]


def test_unconfigured__logger_at_error__gets_nothing(
    caplog: pytest.LogCaptureFixture, telemetrix_clock: VirtualClock
) -> None:
    caplog.set_level(logging.ERROR)
    CircuitBreaker(name="not warned about").open()
    assert caplog.records == []


def test_unconfigured__no_logging_set_up_either__warns_on_stderr_and_prints_nothing_to_stdout() -> None:
    seen = run_python(IN_CHILD, "telemetrix.CircuitBreaker(name='c').open()")
    assert seen["stdout"] == ""
    assert seen["stderr"].startswith("circuit.opened circuit=c ")


def test_unconfigured__whatever_happens__prints_nothing_to_stdout() -> None:
    seen = run_python(
        IN_CHILD,
        """
import logging
logging.basicConfig(level=logging.INFO)
breaker = telemetrix.CircuitBreaker(1, name="c")
guarded = telemetrix.fallback(0)(telemetrix.retry(3, 0)(breaker(lambda: 1 / 0)))
guarded(); guarded()
telemetrix.get_logger("app").warning("mine")
""",
    )
    assert seen["stdout"] == ""
    assert "INFO:telemetrix:retry.scheduled" in seen["stderr"]
    assert "WARNING:app:mine" in seen["stderr"]


IN_CHILD = """
import contextlib, io, json, sys, telemetrix
out, err = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    exec(sys.argv[1])
print(json.dumps({"stdout": out.getvalue(), "stderr": err.getvalue()}))
"""


# Set-up


def test_configuring_structlog__after_decorating__takes_effect_at_the_next_line(
    at_info: pytest.LogCaptureFixture, telemetrix_clock: VirtualClock
) -> None:
    breaker = CircuitBreaker(name="configured later")
    breaker.open()
    assert [record.name for record in at_info.records] == ["telemetrix"]
    with capture_logs() as lines:
        breaker.reset()
    assert shown(lines) == [("info", "circuit.closed")]
    assert len(at_info.records) == 1


def test_configure__logging_off__writes_nothing_until_it_is_on_again(
    lines: list[EventDict], telemetrix_clock: VirtualClock
) -> None:
    breaker = CircuitBreaker(name="logged on and off")
    configure(logging=False)
    breaker.open()
    assert lines == []
    configure(logging=True)
    breaker.reset()
    assert shown(lines) == [("info", "circuit.closed")]


def test_processor__of_the_application_that_raises__changes_no_call(telemetrix_clock: VirtualClock) -> None:
    def broken(*_: Any) -> EventDict:
        raise RuntimeError("broken")

    structlog.configure(processors=[broken])
    assert retry(2, 1)(function(ORDER, Script([ValueError, 7])))() == 7

"""The guide's logging examples: callbacks that write structured log lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from telemetrix import CircuitState
from telemetrix.testing import Script, VirtualClock

LOGGING = """
    # Configure structured logging
    import logging
    from app.utils.logger import get_logger

    logger = get_logger(__name__)

    # Log retry attempts
    @retry(
        max_attempts=3,
        on_retry=lambda exc, attempt: logger.warning(
            f"Retry attempt {attempt}: {exc}",
            extra={
                "attempt": attempt,
                "exception_type": type(exc).__name__,
                "operation": "external_api_call"
            }
        )
    )
    def monitored_operation():
        pass

    # Log circuit state changes
    circuit = CircuitBreaker(
        on_open=lambda: logger.critical(
            "Circuit opened",
            extra={"circuit": "external_service", "failures": circuit.failure_count}
        ),
        on_close=lambda: logger.info(
            "Circuit closed",
            extra={"circuit": "external_service"}
        )
    )
"""


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO):
        yield caplog


def lines(log: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """What the example's own logger wrote."""
    return [(record.levelname, record.getMessage()) for record in log.records if record.name == "guide_example"]


def test_log_retry_attempts_success_writes_nothing(guide: Any, log: pytest.LogCaptureFixture) -> None:
    guide(LOGGING).monitored_operation()
    assert lines(log) == []


def test_log_retry_attempts_failures_write_a_line_each_with_its_fields(
    guide: Any, log: pytest.LogCaptureFixture
) -> None:
    work = Script([ConnectionError("reset"), TimeoutError("late"), None])
    guide(LOGGING.replace("pass", "work()"), work=work).monitored_operation()
    assert lines(log) == [
        ("WARNING", "Retry attempt 1: reset attempt=1 exception_type=ConnectionError operation=external_api_call"),
        ("WARNING", "Retry attempt 2: late attempt=2 exception_type=TimeoutError operation=external_api_call"),
    ]


def test_log_retry_attempts_with_structlog_configured_are_structured(guide: Any) -> None:
    work = Script([ConnectionError("reset"), None])
    example = guide(LOGGING.replace("pass", "work()"), work=work)
    try:
        structlog.configure()
        with structlog.testing.capture_logs() as entries:
            example.monitored_operation()
    finally:
        structlog.reset_defaults()
    assert {
        "event": "Retry attempt 1: reset",
        "log_level": "warning",
        "attempt": 1,
        "exception_type": "ConnectionError",
        "operation": "external_api_call",
    } in entries


def test_log_circuit_state_changes_opening_and_closing_write_a_line_each(
    guide: Any, log: pytest.LogCaptureFixture, telemetrix_clock: VirtualClock
) -> None:
    circuit = guide(LOGGING).circuit
    service = circuit(Script([OSError] * 5 + ["back"]))
    for _ in range(5):
        with pytest.raises(OSError):  # noqa: PT011 - the stub's own
            service()
    assert lines(log) == [("CRITICAL", "Circuit opened circuit=external_service failures=5")]
    telemetrix_clock.advance(60)
    assert service() == "back"
    assert lines(log)[1:] == [("INFO", "Circuit closed circuit=external_service")]
    assert circuit.state == CircuitState.CLOSED

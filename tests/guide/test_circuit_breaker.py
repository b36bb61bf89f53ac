"""Section 2 of the guide: circuit breaker."""

from __future__ import annotations

from textwrap import dedent, indent
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest

from telemetrix import CircuitBreaker, CircuitOpenError, CircuitState
from telemetrix.testing import Script, VirtualClock

USAGE = """
    from app.utils.error_recovery import CircuitBreaker, CircuitState

    # Create circuit breaker
    external_service_circuit = CircuitBreaker(
        failure_threshold=5,      # Open after 5 failures
        recovery_timeout=60,      # Try recovery after 60 seconds
        expected_exception=RequestException
    )

    @external_service_circuit
    def call_external_service():
        response = requests.get("https://external-api.com/data")
        return response.json()
"""

# The guide's `return` needs a function around it.
CHECK = """
    # Check circuit state
    if external_service_circuit.state == CircuitState.OPEN:
        logger.warning("Circuit is open, using cached data")
        return get_cached_data()
"""
USAGE_WITH_CHECK = (
    dedent(USAGE) + "\ndef get_data():\n" + indent(dedent(CHECK), "    ") + "    return call_external_service()\n"
)

ADVANCED = """
    # Custom circuit breaker for database
    db_circuit = CircuitBreaker(
        failure_threshold=3,
        recovery_timeout=30,
        expected_exception=(OperationalError, DisconnectionError),
        on_open=lambda: logger.critical("Database circuit opened!"),
        on_close=lambda: logger.info("Database circuit closed")
    )

    @db_circuit
    def database_query(db: Session):
        return db.query(Model).all()
"""

MANUAL = [
    """
    # Manually open circuit
    circuit.open()
""",
    """
    # Manually reset circuit
    circuit.reset()
""",
    """
    # Force half-open state for testing
    circuit.state = CircuitState.HALF_OPEN
""",
]


class RequestException(Exception):  # noqa: N818 - its name in requests
    pass


class OperationalError(Exception):
    pass


class DisconnectionError(Exception):
    pass


class Service:
    """An external service that is up or raises `error`."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0

    def get(self, url: str) -> Any:
        self.calls += 1
        if self.error is not None:
            raise self.error
        return SimpleNamespace(json=lambda: {"from": url})


def fail_times(function: Any, times: int, error: type[Exception]) -> None:
    for _ in range(times):
        with pytest.raises(error):
            function()


def usage(guide: Any, service: Service, **names: Any) -> Any:
    return guide(USAGE_WITH_CHECK, requests=service, RequestException=RequestException, **names)


def test_states_closed_every_call_passes(guide: Any) -> None:
    service = Service()
    example = usage(guide, service)
    assert [example.call_external_service() for _ in range(10)] == [{"from": "https://external-api.com/data"}] * 10
    assert example.external_service_circuit.state == CircuitState.CLOSED


def test_states_open_calls_fail_fast_without_attempting(guide: Any) -> None:
    service = Service()
    service.error = RequestException("down")
    example = usage(guide, service)
    fail_times(example.call_external_service, 5, RequestException)
    fail_times(example.call_external_service, 10, CircuitOpenError)
    assert service.calls == 5


def test_states_half_open_one_request_passes_and_others_fail_fast() -> None:
    circuit = CircuitBreaker(failure_threshold=1)
    circuit.state = CircuitState.HALF_OPEN
    rejected: list[CircuitOpenError] = []

    @circuit
    def probe() -> str:
        with pytest.raises(CircuitOpenError) as caught:
            probe()
        rejected.append(caught.value)
        return "back"

    assert probe() == "back"
    assert [error.state for error in rejected] == ["half_open"]
    assert circuit.state == CircuitState.CLOSED


def test_usage_fifth_failure_in_a_row_opens(guide: Any) -> None:
    service = Service()
    service.error = RequestException("down")
    example = usage(guide, service)
    fail_times(example.call_external_service, 4, RequestException)
    assert example.external_service_circuit.state == CircuitState.CLOSED
    fail_times(example.call_external_service, 1, RequestException)
    assert example.external_service_circuit.state == CircuitState.OPEN


def test_usage_success_in_between_starts_the_count_again(guide: Any) -> None:
    service = Service()
    example = usage(guide, service)
    for _ in range(3):
        service.error = RequestException("down")
        fail_times(example.call_external_service, 4, RequestException)
        service.error = None
        example.call_external_service()
    assert example.external_service_circuit.state == CircuitState.CLOSED


def test_usage_exception_that_is_not_expected_does_not_count(guide: Any) -> None:
    service = Service()
    service.error = ValueError("not a network error")
    example = usage(guide, service)
    fail_times(example.call_external_service, 20, ValueError)
    assert example.external_service_circuit.state == CircuitState.CLOSED


def test_usage_after_60_seconds_a_success_closes(guide: Any, telemetrix_clock: VirtualClock) -> None:
    service = Service()
    service.error = RequestException("down")
    example = usage(guide, service)
    fail_times(example.call_external_service, 5, RequestException)
    service.error = None
    telemetrix_clock.advance(59.9)
    assert example.external_service_circuit.state == CircuitState.OPEN
    telemetrix_clock.advance(0.1)
    assert example.external_service_circuit.state == CircuitState.HALF_OPEN
    example.call_external_service()
    assert example.external_service_circuit.state == CircuitState.CLOSED


def test_usage_state_check_serves_cached_data_while_open_and_recovers(
    guide: Any, telemetrix_clock: VirtualClock
) -> None:
    service, logger = Service(), Mock()
    service.error = RequestException("down")
    example = usage(guide, service, logger=logger, get_cached_data=lambda: "cached")
    fail_times(example.get_data, 5, RequestException)
    assert [example.get_data() for _ in range(3)] == ["cached"] * 3
    assert logger.warning.mock_calls == [call("Circuit is open, using cached data")] * 3
    assert service.calls == 5
    service.error = None
    telemetrix_clock.advance(60)
    assert example.get_data() == {"from": "https://external-api.com/data"}
    assert example.external_service_circuit.state == CircuitState.CLOSED


@pytest.mark.parametrize("error", [OperationalError, DisconnectionError])
def test_advanced_configuration_each_of_several_exceptions_counts(guide: Any, error: type[Exception]) -> None:
    example = advanced(guide, Script([error]), Mock())
    fail_times(lambda: example.database_query(example.db), 3, error)
    assert example.db_circuit.state == CircuitState.OPEN


def test_advanced_configuration_open_and_close_call_their_callbacks_once(
    guide: Any, telemetrix_clock: VirtualClock
) -> None:
    logger = Mock()
    rows = Script([OperationalError] * 3 + [["row"]])
    example = advanced(guide, rows, logger)
    fail_times(lambda: example.database_query(example.db), 3, OperationalError)
    assert logger.mock_calls == [call.critical("Database circuit opened!")]
    telemetrix_clock.advance(30)
    assert example.database_query(example.db) == ["row"]
    assert logger.mock_calls == [call.critical("Database circuit opened!"), call.info("Database circuit closed")]


def advanced(guide: Any, rows: Script, logger: Mock) -> Any:
    model = object()

    def query(asked: object) -> Any:
        assert asked is model
        return SimpleNamespace(all=rows)

    return guide(
        ADVANCED,
        OperationalError=OperationalError,
        DisconnectionError=DisconnectionError,
        Session=object,
        Model=model,
        logger=logger,
        db=SimpleNamespace(query=query),
    )


def test_manual_control_open_reset_and_half_open_take_effect_at_once(guide: Any) -> None:
    circuit = CircuitBreaker()
    states = []
    for example in MANUAL:
        guide(example, circuit=circuit)
        states.append(circuit.state)
    assert states == [CircuitState.OPEN, CircuitState.CLOSED, CircuitState.HALF_OPEN]


def test_manual_control_opened_by_hand_rejects_until_reset(guide: Any) -> None:
    circuit = CircuitBreaker()
    guarded = circuit(lambda: "answer")
    guide(MANUAL[0], circuit=circuit)
    fail_times(guarded, 1, CircuitOpenError)
    guide(MANUAL[1], circuit=circuit)
    assert guarded() == "answer"


def test_manual_control_opened_by_hand_recovers_after_its_timeout(guide: Any, telemetrix_clock: VirtualClock) -> None:
    circuit = CircuitBreaker(recovery_timeout=60)
    guide(MANUAL[0], circuit=circuit)
    telemetrix_clock.advance(60)
    assert circuit.state == CircuitState.HALF_OPEN

"""The guide's sections on performance and troubleshooting."""

from __future__ import annotations

import json
from typing import Any

import pytest

from telemetrix import CircuitBreaker, CircuitState
from telemetrix.testing import Script, VirtualClock

RETRY_IMPACT = """
    # High-frequency operations: Use lower retry counts
    @retry(max_attempts=2, delay=0.1)  # Fast fail
    def high_frequency_operation():
        pass

    # Critical operations: Use more retries
    @retry(max_attempts=5, delay=1.0, backoff=2.0)
    def critical_operation():
        pass

    # Batch operations: Retry per-item instead of entire batch
    successful, failed = batch_with_retry(
        items=large_dataset,
        process_func=process_item,
        max_retries=2  # Lower per-item retries
    )
"""

BREAKERS = """
    # High-traffic service: Lower threshold, faster recovery
    high_traffic_circuit = CircuitBreaker(
        failure_threshold=3,   # Trip quickly
        recovery_timeout=30    # Test recovery sooner
    )

    # Critical service: Higher threshold, longer recovery
    critical_circuit = CircuitBreaker(
        failure_threshold=10,  # More tolerance
        recovery_timeout=120   # Give more time to recover
    )
"""

RETRY_LOOPS = """
    # Problem: Retrying non-transient errors
    @retry(max_attempts=5)
    def parse_data(data):
        return json.loads(data)  # Always fails on invalid JSON

    # Solution: Don't retry validation errors
    @retry(max_attempts=3, exceptions=(IOError, TimeoutError))
    def fetch_and_parse(url):
        data = fetch(url)  # Retry network errors
        return json.loads(data)  # Don't retry parse errors
"""

FALSE_POSITIVES = [
    """
    # Problem: Circuit opens due to legitimate load spikes
    circuit = CircuitBreaker(failure_threshold=3)  # Too sensitive
""",
    """
    # Solution: Increase threshold and add exception filtering
    circuit = CircuitBreaker(
        failure_threshold=10,
        expected_exception=RequestException  # Only count network errors
    )
""",
]


class RequestException(Exception):  # noqa: N818 - its name in requests
    pass


def trip(circuit: CircuitBreaker, error: type[Exception], at_most: int) -> int:
    """How many failures it takes to open the circuit."""
    for failures in range(1, at_most + 1):
        with pytest.raises(error):
            circuit.call(Script([error]))
        if circuit.state == CircuitState.OPEN:
            return failures
    return 0


def retry_impact(guide: Any, operation: Script) -> Any:
    example = RETRY_IMPACT.replace("        pass\n", "        operation()\n")
    return guide(example, operation=operation, large_dataset=[], process_item=str)


def test_retry_impact_high_frequency_operation_fails_after_one_short_wait(
    guide: Any, telemetrix_clock: VirtualClock
) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - the stub's own
        retry_impact(guide, Script([OSError])).high_frequency_operation()
    assert len(telemetrix_clock.sleeps) == 1
    assert telemetrix_clock.sleeps[0] <= 0.1


def test_retry_impact_critical_operation_survives_four_failures(guide: Any) -> None:
    operation = Script([OSError] * 4 + [None])
    retry_impact(guide, operation).critical_operation()
    assert operation.calls == 5


def test_retry_impact_batch_retries_the_item_and_not_the_batch(guide: Any) -> None:
    runs: list[int] = []

    def process_item(item: int) -> int:
        runs.append(item)
        if item == 2:
            raise OSError
        return item

    example = guide(RETRY_IMPACT, large_dataset=[1, 2, 3], process_item=process_item)
    assert runs == [1, 2, 2, 2, 3]
    assert example.successful == [1, 3]
    assert [item.item for item in example.failed] == [2]


@pytest.mark.parametrize(("name", "threshold", "recovery"), [("high_traffic", 3, 30), ("critical", 10, 120)])
def test_circuit_breaker_tuning_opens_at_its_threshold_and_probes_after_its_timeout(
    guide: Any, telemetrix_clock: VirtualClock, name: str, threshold: int, recovery: float
) -> None:
    circuit = getattr(guide(BREAKERS), f"{name}_circuit")
    assert trip(circuit, OSError, 20) == threshold
    telemetrix_clock.advance(recovery - 0.001)
    assert circuit.state == CircuitState.OPEN
    telemetrix_clock.advance(0.001)
    assert circuit.state == CircuitState.HALF_OPEN


def test_retry_loops_problem_invalid_json_is_parsed_five_times(guide: Any, telemetrix_clock: VirtualClock) -> None:
    with pytest.raises(json.JSONDecodeError):
        guide(RETRY_LOOPS, json=json).parse_data("{")
    assert len(telemetrix_clock.sleeps) == 4


def test_retry_loops_solution_invalid_json_fails_at_once(guide: Any, telemetrix_clock: VirtualClock) -> None:
    with pytest.raises(json.JSONDecodeError):
        guide(RETRY_LOOPS, json=json, fetch=lambda url: "{").fetch_and_parse("https://example.com")
    assert telemetrix_clock.sleeps == []


def test_retry_loops_solution_network_errors_are_retried(guide: Any) -> None:
    fetch = Script([ConnectionError, TimeoutError, '{"a": 1}'])
    assert guide(RETRY_LOOPS, json=json, fetch=fetch).fetch_and_parse("https://example.com") == {"a": 1}


def test_circuit_breaker_false_positives_problem_opens_at_the_third_error_of_any_kind(guide: Any) -> None:
    assert trip(guide(FALSE_POSITIVES[0]).circuit, KeyError, 20) == 3


def test_circuit_breaker_false_positives_solution_counts_ten_network_errors_and_nothing_else(guide: Any) -> None:
    circuit = guide(FALSE_POSITIVES[1], RequestException=RequestException).circuit
    assert trip(circuit, KeyError, 20) == 0
    assert trip(circuit, RequestException, 20) == 10

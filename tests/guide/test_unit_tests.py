"""The unit tests that the guide shows to its users pass as they are written."""

from __future__ import annotations

from typing import Any

import pytest

UNIT_TESTS = """
    import pytest
    from unittest.mock import Mock, patch

    def test_retry_success_after_failure():
        '''Test retry succeeds after transient failure.'''
        call_count = [0]

        @retry(max_attempts=3, delay=0.1)
        def flaky_function():
            call_count[0] += 1
            if call_count[0] < 2:
                raise ConnectionError("Transient failure")
            return "success"

        result = flaky_function()
        assert result == "success"
        assert call_count[0] == 2

    def test_circuit_opens_after_threshold():
        '''Test circuit breaker opens after failures.'''
        circuit = CircuitBreaker(failure_threshold=3)

        @circuit
        def always_fails():
            raise ValueError("Fail")

        # Trigger failures
        for _ in range(3):
            with pytest.raises(ValueError):
                always_fails()

        assert circuit.state == CircuitState.OPEN

        # Next call fails fast
        with pytest.raises(Exception, match="Circuit breaker is OPEN"):
            always_fails()
"""


@pytest.mark.parametrize("name", ["test_retry_success_after_failure", "test_circuit_opens_after_threshold"])
def test_unit_test_of_the_guide_passes(guide: Any, name: str) -> None:
    getattr(guide(UNIT_TESTS), name)()

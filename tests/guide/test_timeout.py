"""Section 6 of the guide: timeout protection."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from telemetrix.testing import Script, VirtualClock

BASIC = """
    from app.utils.error_recovery import timeout

    @timeout(seconds=30)
    def long_running_operation():
        # Will raise TimeoutError if takes > 30 seconds
        result = expensive_computation()
        return result
"""

WITH_FALLBACK = """
    @timeout(seconds=10)
    @fallback(lambda: "default_value")
    def api_call_with_timeout():
        return requests.get(url).json()
"""


@pytest.fixture
def hang(telemetrix_clock: VirtualClock) -> Iterator[Callable[[float], Callable[..., str]]]:
    """Makes a function that is still running when that many seconds have passed; it ends with the test."""
    over, ended = threading.Event(), threading.Semaphore(0)
    started = 0

    def make(seconds: float) -> Callable[..., str]:
        def work(*args: object) -> str:
            nonlocal started
            started += 1
            telemetrix_clock.advance(seconds)
            over.wait(10)
            ended.release()
            return "too late"

        return work

    yield make
    over.set()
    for _ in range(started):
        assert ended.acquire(timeout=10)


def test_basic_timeout_in_time_returns_the_result(guide: Any, telemetrix_clock: VirtualClock) -> None:
    def compute() -> int:
        telemetrix_clock.advance(29.9)
        return 42

    assert guide(BASIC, expensive_computation=compute).long_running_operation() == 42


def test_basic_timeout_more_than_30_seconds_raises_timeout_error(guide: Any, hang: Any) -> None:
    example = guide(BASIC, expensive_computation=hang(30.1))
    with pytest.raises(TimeoutError, match="did not finish within 30 s"):
        example.long_running_operation()


def test_basic_timeout_failure_raises_the_error_itself(guide: Any) -> None:
    error = ValueError("no")
    with pytest.raises(ValueError, match="no") as caught:
        guide(BASIC, expensive_computation=Script([error])).long_running_operation()
    assert caught.value is error


def test_timeout_with_fallback_service_is_up_returns_its_answer(guide: Any) -> None:
    requests = SimpleNamespace(get=lambda url: SimpleNamespace(json=lambda: "live"))
    assert guide(WITH_FALLBACK, requests=requests, url="https://example.com").api_call_with_timeout() == "live"


def test_timeout_with_fallback_service_fails_in_time_returns_the_default(guide: Any) -> None:
    requests = SimpleNamespace(get=Script([ConnectionError]))
    example = guide(WITH_FALLBACK, requests=requests, url="https://example.com")
    assert example.api_call_with_timeout() == "default_value"


def test_timeout_outside_fallback_service_hangs_is_not_caught_by_that_fallback(guide: Any, hang: Any) -> None:
    example = guide(WITH_FALLBACK, requests=SimpleNamespace(get=hang(10.1)), url="https://example.com")
    with pytest.raises(TimeoutError):
        example.api_call_with_timeout()

"""Section 1 of the guide: retry."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest

from telemetrix.testing import Script, VirtualClock

Waits = Callable[[Callable[[], object]], list[float]]

BASIC = """
    from app.utils.error_recovery import retry

    @retry(max_attempts=3, delay=1.0, backoff=2.0)
    def unreliable_operation():
        # May fail transiently
        result = external_api_call()
        return result
"""

EXPONENTIAL = """
    @retry(
        max_attempts=5,
        delay=1.0,        # Initial delay
        backoff=2.0,      # Multiply delay by 2 each attempt
        jitter=True       # Add randomness to prevent thundering herd
    )
    def api_call():
        return requests.get("https://api.example.com/data")
"""

LINEAR = """
    @retry(
        max_attempts=5,
        delay=2.0,
        strategy=RetryStrategy.LINEAR  # 2s, 4s, 6s, 8s, 10s
    )
    def database_query():
        return db.execute(query)
"""

FIXED = """
    @retry(
        max_attempts=3,
        delay=5.0,
        strategy=RetryStrategy.FIXED  # 5s, 5s, 5s
    )
    def file_operation():
        return read_file("/path/to/file")
"""

FIBONACCI = """
    @retry(
        max_attempts=7,
        delay=1.0,
        strategy=RetryStrategy.FIBONACCI  # 1s, 1s, 2s, 3s, 5s, 8s, 13s
    )
    def network_operation():
        return download_file(url)
"""

FILTERED = """
    # Only retry on specific exceptions
    @retry(
        max_attempts=3,
        exceptions=(TimeoutError, ConnectionError)
    )
    def network_call():
        return requests.get(url, timeout=5)

    # Retry on any exception except specified
    @retry(
        max_attempts=3,
        exceptions=(Exception,),  # Base exception
    )
    def risky_operation():
        # Will retry on any error
        pass
"""

CALLBACK = """
    def log_retry(exception, attempt):
        logger.warning(f"Attempt {attempt} failed: {exception}")

    @retry(max_attempts=5, on_retry=log_retry)
    def monitored_operation():
        return perform_task()
"""

ASYNC = """
    from app.utils.error_recovery import async_retry

    @async_retry(max_attempts=3, delay=1.0)
    async def async_operation():
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as response:
                return await response.json()
"""


def assert_jittered(waits: Waits, operation: Callable[[], object], bounds: list[float]) -> None:
    """Every wait is anywhere between 0 and its bound (full jitter)."""
    runs = [waits(operation) for _ in range(200)]
    assert {len(run) for run in runs} == {len(bounds)}
    for bound, drawn in zip(bounds, zip(*runs, strict=True), strict=True):
        assert 0 <= min(drawn) < 0.1 * bound
        assert 0.9 * bound < max(drawn) <= bound


def test_basic_usage_transient_failures_returns_the_result_of_the_third_attempt(
    guide: Any, telemetrix_clock: VirtualClock
) -> None:
    service = Script([ConnectionError, ConnectionError, "data"])
    example = guide(BASIC, external_api_call=service)
    assert example.unreliable_operation() == "data"
    assert service.calls == 3
    assert len(telemetrix_clock.sleeps) == 2


def test_basic_usage_permanent_failure_raises_the_error_itself_after_three_attempts(guide: Any) -> None:
    error = ConnectionError("down")
    service = Script([error])
    with pytest.raises(ConnectionError) as caught:
        guide(BASIC, external_api_call=service).unreliable_operation()
    assert caught.value is error
    assert service.calls == 3


def test_basic_usage_waits_are_jittered_below_1_and_2_seconds(guide: Any, waits: Waits) -> None:
    example = guide(BASIC, external_api_call=Script([ConnectionError]))
    assert_jittered(waits, example.unreliable_operation, [1, 2])


def test_exponential_backoff_waits_are_jittered_below_1_2_4_8_seconds(guide: Any, waits: Waits) -> None:
    requests = SimpleNamespace(get=Script([ConnectionError]))
    assert_jittered(waits, guide(EXPONENTIAL, requests=requests).api_call, [1, 2, 4, 8])


def test_exponential_backoff_without_jitter_waits_1_2_4_8_seconds(guide: Any, waits: Waits) -> None:
    requests = SimpleNamespace(get=Script([ConnectionError]))
    example = guide(EXPONENTIAL.replace("jitter=True ", "jitter=False"), requests=requests)
    assert waits(example.api_call) == [1, 2, 4, 8]


def test_linear_backoff_five_attempts_wait_2_4_6_8_seconds(guide: Any, waits: Waits) -> None:
    example = guide(LINEAR, db=SimpleNamespace(execute=Script([OSError])), query="SELECT 1")
    assert waits(example.database_query) == [2, 4, 6, 8]


def test_linear_backoff_one_more_attempt_has_the_whole_documented_sequence(guide: Any, waits: Waits) -> None:
    longer = LINEAR.replace("max_attempts=5", "max_attempts=6")
    example = guide(longer, db=SimpleNamespace(execute=Script([OSError])), query="SELECT 1")
    assert waits(example.database_query) == [2, 4, 6, 8, 10]


def test_fixed_delay_three_attempts_wait_5_5_seconds(guide: Any, waits: Waits) -> None:
    assert waits(guide(FIXED, read_file=Script([OSError])).file_operation) == [5, 5]


def test_fixed_delay_one_more_attempt_has_the_whole_documented_sequence(guide: Any, waits: Waits) -> None:
    longer = FIXED.replace("max_attempts=3", "max_attempts=4")
    assert waits(guide(longer, read_file=Script([OSError])).file_operation) == [5, 5, 5]


def test_fibonacci_backoff_seven_attempts_wait_1_1_2_3_5_8_seconds(guide: Any, waits: Waits) -> None:
    example = guide(FIBONACCI, download_file=Script([OSError]), url="https://example.com")
    assert waits(example.network_operation) == [1, 1, 2, 3, 5, 8]


def test_fibonacci_backoff_one_more_attempt_has_the_whole_documented_sequence(guide: Any, waits: Waits) -> None:
    longer = FIBONACCI.replace("max_attempts=7", "max_attempts=8")
    example = guide(longer, download_file=Script([OSError]), url="https://example.com")
    assert waits(example.network_operation) == [1, 1, 2, 3, 5, 8, 13]


@pytest.mark.parametrize("error", [TimeoutError, ConnectionError, ConnectionResetError])
def test_exception_filtering_named_exception_is_retried(guide: Any, error: type[Exception]) -> None:
    get = Script([error, error, "response"])
    example = guide(FILTERED, requests=SimpleNamespace(get=get), url="https://example.com")
    assert example.network_call() == "response"
    assert get.calls == 3


def test_exception_filtering_other_exception_is_raised_at_once(guide: Any, telemetrix_clock: VirtualClock) -> None:
    get = Script([ValueError])
    example = guide(FILTERED, requests=SimpleNamespace(get=get), url="https://example.com")
    with pytest.raises(ValueError):  # noqa: PT011 - the stub's own
        example.network_call()
    assert get.calls == 1
    assert telemetrix_clock.sleeps == []


def test_exception_filtering_base_exception_class_success_returns(guide: Any) -> None:
    assert guide(FILTERED).risky_operation() is None


@pytest.mark.parametrize("error", [ValueError, KeyError, OSError, RuntimeError])
def test_exception_filtering_base_exception_class_any_error_is_retried(guide: Any, error: type[Exception]) -> None:
    operation = Script([error, error, None])
    guide(FILTERED.replace("pass", "operation()"), operation=operation).risky_operation()
    assert operation.calls == 3


def test_exception_filtering_base_exception_class_keyboard_interrupt_is_not_retried(guide: Any) -> None:
    operation = Script([KeyboardInterrupt])
    with pytest.raises(KeyboardInterrupt):
        guide(FILTERED.replace("pass", "operation()"), operation=operation).risky_operation()
    assert operation.calls == 1


def test_retry_callback_each_failure_but_the_last_calls_it_with_exception_and_attempt(guide: Any) -> None:
    logger = Mock()
    example = guide(CALLBACK, logger=logger, perform_task=Script([OSError("busy")]))
    with pytest.raises(OSError, match="busy"):
        example.monitored_operation()
    assert logger.warning.mock_calls == [call(f"Attempt {attempt} failed: busy") for attempt in (1, 2, 3, 4)]


def test_retry_callback_success_at_once_is_not_called(guide: Any) -> None:
    logger = Mock()
    assert guide(CALLBACK, logger=logger, perform_task=Script(["done"])).monitored_operation() == "done"
    assert logger.mock_calls == []


class AsyncContext:
    """What `async with` needs, around a value."""

    def __init__(self, value: object) -> None:
        self._value = value

    async def __aenter__(self) -> Any:
        return self._value

    async def __aexit__(self, *exc_info: object) -> None:
        pass


@pytest.mark.anyio
async def test_async_retry_transient_failures_returns_the_result_of_the_third_attempt(
    guide: Any, telemetrix_clock: VirtualClock
) -> None:
    body = Script([ConnectionError, ConnectionError, {"id": 7}])
    session = SimpleNamespace(get=lambda url: AsyncContext(SimpleNamespace(json=body.acall)))
    aiohttp = SimpleNamespace(ClientSession=lambda: AsyncContext(session))
    example = guide(ASYNC, aiohttp=aiohttp, url="https://example.com")
    assert await example.async_operation() == {"id": 7}
    assert body.calls == 3
    assert len(telemetrix_clock.sleeps) == 2

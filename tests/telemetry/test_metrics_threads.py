"""Nothing is lost and nothing is invented: N threads x M calls, while somebody scrapes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from telemetrix import CircuitBreaker, fallback, retry, timeout
from telemetrix.testing import CapturedTelemetry, Script, capture
from tests.services import poll
from tests.telemetry.endings import fails, function

THREADS: Final = 8
CALLS: Final = 3000


@pytest.fixture(autouse=True)
def frequent_switches() -> Iterator[None]:
    """Threads that take turns a thousand times as often."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    yield
    sys.setswitchinterval(before)


class Workload:
    """Threads that call a function, and count by themselves what they began and ended."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._begun = [0] * THREADS
        self._ended = [0] * THREADS
        self._start = threading.Barrier(THREADS + 1)
        self._threads = [threading.Thread(target=self._work, args=(number,)) for number in range(THREADS)]

    def _work(self, number: int) -> None:
        self._start.wait(20)
        for _ in range(CALLS):
            self._begun[number] += 1
            self._call()
            self._ended[number] += 1

    def run(self, scrape: Callable[[], float]) -> list[tuple[int, float, int]]:
        """For each scrape on the way: calls ended before it, calls it saw, calls begun by its end."""
        for thread in self._threads:
            thread.start()
        self._start.wait(20)
        seen = []
        while any(thread.is_alive() for thread in self._threads):
            ended = sum(self._ended)
            value = scrape()
            seen.append((ended, value, sum(self._begun)))
        for thread in self._threads:
            thread.join(20)
        return seen


def total(captured: CapturedTelemetry, name: str) -> float:
    return captured.metric("telemetrix_calls_total", operation=name)


WORKLOADS: Final[dict[str, Callable[[str], Callable[[], object]]]] = {
    "retry, uneventful": lambda name: retry(function(name, Script([1]))),
    "retry, every second call recovers": lambda name: retry(3, 0)(function(name, lambda: _sometimes_fails(name))),
    "circuit breaker, uneventful": lambda name: CircuitBreaker()(function(name, Script([1]))),
    "fallback, always served": lambda name: fallback(None)(function(name, fails)),
}

_turn = threading.local()


def _sometimes_fails(name: str) -> None:
    # Per thread: a failure is followed by a success, so a call has two attempts or one.
    _turn.number = getattr(_turn, "number", 0) + 1
    if _turn.number % 3 == 1:
        raise ConnectionError(name)


@pytest.mark.parametrize("kind", WORKLOADS)
def test_calls__from_many_threads_with_a_scraper__are_n_times_m(kind: str) -> None:
    name = f"ops.{kind}"
    call = WORKLOADS[kind](name)
    with capture(spans=None) as captured:
        seen = Workload(call).run(lambda: total(captured, name))
        assert total(captured, name) == THREADS * CALLS
        assert seen
        values = [value for _, value, _ in seen]
        assert values == sorted(values)
        for ended, value, begun in seen:
            assert ended <= value <= begun
        assert captured.metric("telemetrix_call_duration_seconds_count", operation=name) == THREADS * CALLS


def test_calls__from_many_threads_and_one_scrape_at_the_end__are_n_times_m() -> None:
    call = WORKLOADS["retry, every second call recovers"]("ops.threads_one_scrape")
    with capture(spans=None) as captured:
        Workload(call).run(lambda: threading.Event().wait(0.01))
        assert total(captured, "ops.threads_one_scrape") == THREADS * CALLS
        where = {"operation": "ops.threads_one_scrape"}
        failed = captured.metric("telemetrix_attempts_total", outcome="failure", **where)
        assert failed == captured.metric("telemetrix_calls_total", reason="recovered", **where) > 0
        assert failed == captured.metric("telemetrix_errors_total", error_type="ConnectionError", **where)
        assert captured.metric("telemetrix_attempts_total", **where) == THREADS * CALLS + failed
        assert captured.metric("telemetrix_attempts_per_call_sum", **where) == THREADS * CALLS + failed


def test_calls__observed_from_many_threads__are_n_times_m(telemetrix_capture: CapturedTelemetry) -> None:
    name = "ops.threads_observed"
    call = retry(function(name, Script([1])))

    def some(_: int) -> None:
        for _ in range(100):
            call()

    threads = [threading.Thread(target=some, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert total(telemetrix_capture, name) == THREADS * 100
    assert sum(span.name == f"retry {name}" for span in telemetrix_capture.spans) == THREADS * 100


def test_metrics__turned_on_and_off_while_threads_call__never_hurt_a_call() -> None:
    name = "ops.threads_on_off"
    errors: list[Any] = []
    guarded = retry(function(name, Script([1])))

    def call() -> None:
        try:
            assert guarded() == 1
        except BaseException as error:
            errors.append(error)

    def scrape() -> float:
        with capture(spans=None) as captured:
            return total(captured, name)

    Workload(call).run(scrape)
    assert errors == []


def test_abandoned_threads__of_many_timeouts__come_back_to_0() -> None:
    go_on = threading.Event()
    guarded = timeout(0.01)(function("ops.threads_abandoned", go_on.wait))
    with capture(spans=None) as captured:

        def call() -> None:
            with pytest.raises(TimeoutError):
                guarded(20)

        threads = [threading.Thread(target=call) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        gauge = "telemetrix_timeouts_abandoned_threads"
        assert captured.metric(gauge, operation="ops.threads_abandoned") == THREADS
        go_on.set()
        poll(lambda: captured.metric(gauge, operation="ops.threads_abandoned") == 0)

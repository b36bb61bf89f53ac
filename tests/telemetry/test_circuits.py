"""The series of circuits: one-hot states that know the time, seconds spent open, transitions and probes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from telemetrix import CircuitBreaker, CircuitState, subscribe
from telemetrix.bus import default_bus
from telemetrix.events import CircuitOpened
from telemetrix.telemetry.metrics import PrometheusMetrics
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, capture
from tests.services import poll

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN


@pytest.fixture
def captured(telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry) -> CapturedTelemetry:
    """Telemetry in virtual time."""
    return telemetrix_capture


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A circuit of the test's own: circuits live as long as the process."""
    return str(request.node.name)


def shown(captured: CapturedTelemetry, name: str) -> list[str]:
    """The states whose series is 1."""
    series = {state: captured.metric("telemetrix_circuit_state", circuit=name, state=state) for state in CircuitState}
    assert set(series.values()) <= {0, 1}
    return [state.value for state, value in series.items() if value]


def open_seconds(captured: CapturedTelemetry, name: str) -> float:
    return captured.metric("telemetrix_circuit_open_seconds_total", circuit=name)


def transitions(captured: CapturedTelemetry, name: str) -> dict[tuple[str, str, str], float]:
    return {
        (s.labels["from_state"], s.labels["to_state"], s.labels["reason"]): s.value
        for family in captured.registry.collect()
        for s in family.samples
        if s.name == "telemetrix_circuit_transitions_total" and s.labels["circuit"] == name and s.value
    }


def fail(breaker: CircuitBreaker) -> None:
    with pytest.raises(ConnectionError):
        breaker.call(Script([ConnectionError]))


# Existing


def test_series__new_circuit__all_exist_and_say_closed(captured: CapturedTelemetry, name: str) -> None:
    CircuitBreaker(name=name)
    assert shown(captured, name) == ["closed"]
    labels = [s.labels for family in captured.registry.collect() for s in family.samples]
    regular = {
        ("closed", "open", "failure_threshold"),
        ("open", "half_open", "recovery_timeout"),
        ("half_open", "closed", "probe_succeeded"),
        ("half_open", "open", "probe_failed"),
    }
    assert regular <= {
        (found["from_state"], found["to_state"], found["reason"])
        for found in labels
        if found.get("circuit") == name and "from_state" in found
    }
    assert {"circuit": name} in labels
    for outcome in ("success", "failure", "cancelled"):
        assert {"circuit": name, "outcome": outcome} in labels
    assert transitions(captured, name) == {}
    assert open_seconds(captured, name) == 0


def test_series__circuit_made_before_the_metrics__says_its_present_state(
    telemetrix_clock: VirtualClock, name: str
) -> None:
    breaker = CircuitBreaker(name=name, recovery_timeout=30)
    breaker.open()
    telemetrix_clock.advance(10)
    with capture() as late:
        assert shown(late, name) == ["open"]
        telemetrix_clock.advance(20)
        assert shown(late, name) == ["half_open"]


# Moving


def test_state__through_a_whole_life__is_one_hot_at_each_step(
    captured: CapturedTelemetry, telemetrix_clock: VirtualClock, name: str
) -> None:
    breaker = CircuitBreaker(2, 30, name=name)
    fail(breaker)
    assert shown(captured, name) == ["closed"]
    fail(breaker)
    assert shown(captured, name) == ["open"]
    telemetrix_clock.advance(30)
    fail(breaker)
    assert shown(captured, name) == ["open"]
    telemetrix_clock.advance(30)
    breaker.call(int)
    assert shown(captured, name) == ["closed"]
    assert transitions(captured, name) == {
        ("closed", "open", "failure_threshold"): 1,
        ("open", "half_open", "recovery_timeout"): 2,
        ("half_open", "open", "probe_failed"): 1,
        ("half_open", "closed", "probe_succeeded"): 1,
    }
    assert captured.metric("telemetrix_circuit_probes_total", circuit=name, outcome="failure") == 1
    assert captured.metric("telemetrix_circuit_probes_total", circuit=name, outcome="success") == 1


def test_state__open_and_time_passes_without_a_call__is_half_open_at_the_scrape(
    captured: CapturedTelemetry, telemetrix_clock: VirtualClock, name: str
) -> None:
    breaker = CircuitBreaker(1, 30, name=name)
    breaker.open()
    telemetrix_clock.advance(29.9)
    assert shown(captured, name) == ["open"]
    telemetrix_clock.advance(0.1)
    assert shown(captured, name) == ["half_open"] == [breaker.state]


@pytest.mark.parametrize("source", CircuitState)
@pytest.mark.parametrize("target", CircuitState)
def test_state__moved_by_hand__is_one_hot_and_a_manual_transition(
    captured: CapturedTelemetry, name: str, source: CircuitState, target: CircuitState
) -> None:
    breaker = CircuitBreaker(name=name)
    breaker.state = source
    before = transitions(captured, name)
    breaker.state = target
    assert shown(captured, name) == [target]
    moved = {} if source is target else {(source.value, target.value, "manual"): 1}
    assert transitions(captured, name) == {**before, **moved}


def test_probe__cancelled__is_counted_as_such(captured: CapturedTelemetry, name: str) -> None:
    breaker = CircuitBreaker(name=name)
    breaker.state = HALF_OPEN
    with pytest.raises(KeyboardInterrupt):
        breaker.call(Script([KeyboardInterrupt]))
    assert captured.metric("telemetrix_circuit_probes_total", circuit=name, outcome="cancelled") == 1
    assert shown(captured, name) == ["half_open"]


def test_stale_result__of_a_call_from_before_the_opening__is_counted(captured: CapturedTelemetry, name: str) -> None:
    breaker = CircuitBreaker(name=name)
    with breaker:
        breaker.open()
    assert captured.metric("telemetrix_circuit_stale_results_total", circuit=name) == 1
    assert shown(captured, name) == ["open"]


# Time


def test_open_seconds__while_open__grow_at_each_scrape_up_to_the_recovery_timeout(
    captured: CapturedTelemetry, telemetrix_clock: VirtualClock, name: str
) -> None:
    breaker = CircuitBreaker(1, 30, name=name)
    telemetrix_clock.advance(100)
    assert open_seconds(captured, name) == 0
    breaker.open()
    grown = []
    for _ in range(4):
        telemetrix_clock.advance(10)
        grown.append(open_seconds(captured, name))
    assert grown == pytest.approx([10, 20, 30, 30])


def test_open_seconds__nobody_scraping_meanwhile__are_the_same(
    captured: CapturedTelemetry, telemetrix_clock: VirtualClock, name: str
) -> None:
    breaker = CircuitBreaker(1, 30, name=name)
    for _ in range(3):
        breaker.open()
        telemetrix_clock.advance(12)
        breaker.reset()
        telemetrix_clock.advance(50)
    breaker.open()
    telemetrix_clock.advance(100)
    breaker.call(int)
    assert open_seconds(captured, name) == pytest.approx(3 * 12 + 30)


def test_since__in_each_state__is_the_wall_clock_time_of_its_beginning(
    captured: CapturedTelemetry, telemetrix_clock: VirtualClock, name: str
) -> None:
    def since() -> float:
        return captured.metric("telemetrix_circuit_state_since_timestamp_seconds", circuit=name)

    breaker = CircuitBreaker(1, 30, name=name)
    assert since() == pytest.approx(time.time(), abs=5)
    telemetrix_clock.advance(1000)
    breaker.open()
    telemetrix_clock.advance(20)
    assert time.time() - since() == pytest.approx(20, abs=5)
    telemetrix_clock.advance(50)
    assert time.time() - since() == pytest.approx(40, abs=5)  # half-open for 40 of the 70 seconds


# Many at once


@pytest.fixture
def slow_listener() -> Iterator[threading.Event]:
    """A subscriber, heard before the metrics, that takes its time over openings: until the event is set."""
    go_on = threading.Event()

    def listen(_: CircuitOpened) -> None:
        go_on.wait(20)

    with subscribe(listen, to=CircuitOpened):
        yield go_on
        go_on.set()


def test_state__transitions_heard_out_of_order__is_that_of_the_latest(
    slow_listener: threading.Event, name: str
) -> None:
    with capture(spans=None) as captured:
        breaker = CircuitBreaker(name=name)
        opener = threading.Thread(target=breaker.open)
        opener.start()
        poll(lambda: breaker.state is OPEN)
        breaker.reset()
        slow_listener.set()
        opener.join(20)
        assert breaker.state is CLOSED
        assert shown(captured, name) == ["closed"]


def test_transitions__from_many_threads__are_all_counted(name: str) -> None:
    registry = CollectorRegistry()
    with default_bus.subscribe(PrometheusMetrics(registry)):
        breaker = CircuitBreaker(1, 1e-9, name=name)

        def work() -> None:
            for _ in range(200):
                breaker.open()
                breaker.reset()

        seen: list[object] = []
        with subscribe(seen.append, to=CircuitOpened):
            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        counted = sum(
            s.value
            for family in registry.collect()
            for s in family.samples
            if s.name == "telemetrix_circuit_transitions_total"
            and s.labels["circuit"] == name
            and s.labels["to_state"] == "open"
        )
        assert counted == len(seen) > 0

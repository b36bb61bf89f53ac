"""The clock in force: the system's unless a test installs another one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import anyio
import pytest

from telemetrix import clock
from telemetrix.testing import VirtualClock, virtual_clock


@pytest.fixture
def watchers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Counts the times that a change was told."""
    told: list[int] = []
    monkeypatch.setattr(clock, "_watchers", list(clock._watchers))  # noqa: SLF001 - there is no way to stop watching
    clock.on_change(lambda: told.append(1))
    yield told
    clock.install(clock.SYSTEM)


def test_current__nothing_installed__is_the_system_clock() -> None:
    assert clock.current() is clock.SYSTEM


def test_install__another_clock__puts_it_in_force_and_answers_with_the_one_before(watchers: list[int]) -> None:
    first, second = VirtualClock(), VirtualClock()
    assert clock.install(first) is clock.SYSTEM
    assert clock.current() is first
    assert clock.install(second) is first
    assert clock.install(clock.SYSTEM) is second
    assert watchers == [1, 1, 1]


def test_virtual_clock__block_raises__puts_the_clock_from_before_back() -> None:
    with virtual_clock() as outer:
        with pytest.raises(KeyError), virtual_clock():
            raise KeyError
        assert clock.current() is outer
    assert clock.current() is clock.SYSTEM


def test_system_clock__monotonic__is_the_interpreters() -> None:
    before = time.monotonic()
    assert before <= clock.SYSTEM.monotonic() <= time.monotonic()


def test_system_clock__sleep_of_no_time__returns() -> None:
    clock.SYSTEM.sleep(0)


@pytest.mark.anyio
async def test_system_clock__async_sleep__can_be_cancelled() -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await clock.SYSTEM.async_sleep(3600)
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_system_clock__cancel_scope__has_its_deadline_on_the_loops_own_clock() -> None:
    before = anyio.current_time()
    scope = clock.SYSTEM.cancel_scope(5.0)
    assert before + 5.0 <= scope.deadline <= anyio.current_time() + 5.0


def test_system_clock__wait_for_an_event_that_is_set__is_true() -> None:
    event = threading.Event()
    event.set()
    assert clock.SYSTEM.wait(event, 0.0)


def test_system_clock__wait_of_30_000_years__asks_for_no_more_than_the_platform_takes() -> None:
    asked: list[float] = []

    class NotedEvent(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            asked.append(timeout or 0.0)
            return True

    assert clock.SYSTEM.wait(NotedEvent(), 1e12)
    assert asked == [threading.TIMEOUT_MAX]


def test_system_clock__wait_for_an_event_that_is_not_set__is_false_when_the_time_is_up() -> None:
    assert not clock.SYSTEM.wait(threading.Event(), 0.0)


def test_system_clock__is_what_the_protocol_asks_for() -> None:
    given: clock.Clock = clock.SYSTEM
    assert given.monotonic() > 0

"""VirtualClock: time moves when it is told to, and only then."""

from __future__ import annotations

import gc
import math
import sys
import threading

import anyio
import anyio.lowlevel
import pytest

from telemetrix import CircuitBreaker, OperationTimeout, RetryStrategy, clock, retry, timeout
from telemetrix.testing import Script, VirtualClock, virtual_clock
from tests.services import poll


@pytest.fixture
def still() -> VirtualClock:
    """A clock that sleeping does not move; not in force."""
    return VirtualClock(autojump=False)


# Reading and moving


def test_monotonic__nobody_moving_it__stands_still() -> None:
    virtual = VirtualClock(start=5)
    assert virtual.monotonic() == virtual.monotonic() == 5


def test_advance__by_seconds__moves_exactly_that_far() -> None:
    virtual = VirtualClock(start=5)
    virtual.advance(2.5)
    virtual.advance(0)
    assert virtual.monotonic() == 7.5


@pytest.mark.parametrize("seconds", [-1, -0.001, math.inf, -math.inf, math.nan])
def test_advance__backwards_or_for_ever__is_refused_and_moves_nothing(seconds: float) -> None:
    virtual = VirtualClock(start=5)
    with pytest.raises(ValueError, match=r"seconds=.*is not allowed"):
        virtual.advance(seconds)
    assert virtual.monotonic() == 5


# In force


def test_virtual_clock__for_a_block__is_in_force_there_and_nowhere_else() -> None:
    before = clock.current()
    with virtual_clock(start=1) as virtual:
        assert clock.current() is virtual
        assert virtual.monotonic() == 1
        with virtual_clock() as inner:
            assert clock.current() is inner
        assert clock.current() is virtual
    assert clock.current() is before


def test_virtual_clock__block_that_raises__is_taken_back_too() -> None:
    before = clock.current()
    with pytest.raises(KeyError), virtual_clock():
        raise KeyError
    assert clock.current() is before


# Sleeping


def test_sleep__jumping__moves_the_time_and_is_remembered() -> None:
    virtual = VirtualClock(start=5)
    virtual.sleep(2)
    virtual.sleep(0.5)
    assert (virtual.monotonic(), virtual.sleeps) == (7.5, [2, 0.5])


def test_sleep__not_jumping__lasts_until_the_time_was_moved_far_enough(still: VirtualClock) -> None:
    awake = threading.Event()

    def sleeper() -> None:
        still.sleep(10)
        awake.set()

    thread = threading.Thread(target=sleeper)
    thread.start()
    poll(lambda: still.sleeps == [10])
    still.advance(9)
    assert not awake.wait(0.02)
    still.advance(1)
    assert awake.wait(20)
    thread.join(20)


@pytest.mark.anyio
async def test_async_sleep__jumping__moves_the_time_and_lets_others_run() -> None:
    virtual = VirtualClock(start=5)
    others: list[str] = []

    async def other() -> None:
        others.append("ran")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(other)
        await virtual.async_sleep(3)
    assert (virtual.monotonic(), virtual.sleeps, others) == (8, [3], ["ran"])


@pytest.mark.anyio
async def test_async_sleep__not_jumping__lasts_until_the_time_was_moved_far_enough(still: VirtualClock) -> None:
    order: list[str] = []

    async def sleeper() -> None:
        await still.async_sleep(10)
        order.append("awake")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sleeper)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        still.advance(9.9)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        order.append("moved")
        still.advance(0.1)
    assert order == ["moved", "awake"]


@pytest.mark.anyio
async def test_async_sleep__cancelled__ends_at_once(still: VirtualClock) -> None:
    with anyio.move_on_after(0.01) as scope:
        await still.async_sleep(10)
    assert scope.cancelled_caught
    assert still.monotonic() == 1000


# Waiting for a thread


def test_wait__event_set__is_true_and_takes_no_time() -> None:
    virtual, event = VirtualClock(), threading.Event()
    event.set()
    assert virtual.wait(event, 10)
    assert virtual.monotonic() == 1000


class Moving(threading.Event):
    """An event whose waiter finds that meanwhile the time has moved, and the event was set or not."""

    def __init__(self, virtual: VirtualClock, seconds: float, *, then_set: bool) -> None:
        super().__init__()
        self._virtual = virtual
        self._seconds = seconds
        self._then_set = then_set

    def wait(self, timeout: float | None = None) -> bool:
        self._virtual.advance(self._seconds)
        return self._then_set


def test_wait__time_moved_to_the_limit_meanwhile__is_false() -> None:
    virtual = VirtualClock()
    assert not virtual.wait(Moving(virtual, 10, then_set=False), 10)


def test_wait__time_moved_bit_by_bit__is_false_at_the_limit() -> None:
    virtual = VirtualClock()
    assert not virtual.wait(Moving(virtual, 2.5, then_set=False), 10)
    assert virtual.monotonic() == 1010


def test_wait__event_set_after_the_limit__is_false() -> None:
    virtual = VirtualClock()
    assert not virtual.wait(Moving(virtual, 11, then_set=True), 10)


def test_wait__event_set_before_the_limit__is_true() -> None:
    virtual = VirtualClock()
    assert virtual.wait(Moving(virtual, 9, then_set=True), 10)


def test_wait__another_thread_moving_the_time__is_false() -> None:
    virtual, over = VirtualClock(), threading.Event()

    def move() -> None:
        while not over.is_set():
            virtual.advance(1)

    mover = threading.Thread(target=move)
    mover.start()
    assert not virtual.wait(threading.Event(), 10)
    over.set()
    mover.join(20)


def test_wait__no_time_at_all__is_false() -> None:
    event = threading.Event()
    event.set()
    assert not VirtualClock().wait(event, 0)


# Cancel scopes


@pytest.mark.anyio
async def test_cancel_scope__time_moved_to_its_end__is_cancelled() -> None:
    virtual = VirtualClock()
    with virtual.cancel_scope(10) as scope:
        virtual.advance(9)
        await anyio.lowlevel.checkpoint()
        virtual.advance(1)
        await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_cancel_scope__left_before_its_end__cancels_nobody_later() -> None:
    virtual = VirtualClock()
    with virtual.cancel_scope(10) as scope:
        await anyio.lowlevel.checkpoint()
    virtual.advance(20)
    await anyio.lowlevel.checkpoint()
    assert not scope.cancelled_caught


@pytest.mark.anyio
async def test_cancel_scopes__nested__end_each_at_their_time() -> None:
    virtual = VirtualClock()
    with virtual.cancel_scope(20) as outer:
        with virtual.cancel_scope(10) as inner:
            await virtual.async_sleep(10)
        assert inner.cancelled_caught
        await virtual.async_sleep(5)
        assert not outer.cancel_called
    assert not outer.cancelled_caught


@pytest.mark.anyio
async def test_cancel_scopes__many_that_are_gone__are_forgotten() -> None:
    virtual = VirtualClock()
    for _ in range(100):
        with virtual.cancel_scope(10):
            await anyio.lowlevel.checkpoint()
    gc.collect()
    with virtual.cancel_scope(10):
        assert len(virtual._scopes) < 100  # noqa: SLF001


# What it is for


def test_retry__in_virtual_time__waits_for_free(telemetrix_clock: VirtualClock) -> None:
    script = Script([ValueError, ValueError, "done"])
    assert retry(3, 3600, strategy=RetryStrategy.LINEAR, max_delay=9e9)(script)() == "done"
    assert telemetrix_clock.sleeps == [3600, 7200]
    assert telemetrix_clock.monotonic() == 1000 + 10800


def test_circuit__time_moved_past_its_recovery__is_half_open(telemetrix_clock: VirtualClock) -> None:
    breaker = CircuitBreaker(1, 30, name="in virtual time")
    breaker.open()
    telemetrix_clock.advance(29)
    assert breaker.state == "open"
    telemetrix_clock.advance(1)
    assert breaker.state == "half_open"


def test_sync_timeout__function_that_sleeps_too_long__expires_whichever_thread_is_faster(
    telemetrix_clock: VirtualClock,
) -> None:
    limited = timeout(10)(lambda: telemetrix_clock.sleep(11))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(200):
            with pytest.raises(OperationTimeout):
                limited()
    finally:
        sys.setswitchinterval(before)


@pytest.mark.anyio
async def test_async_timeout__function_that_sleeps_too_long__expires(telemetrix_clock: VirtualClock) -> None:
    @timeout(10)
    async def slow() -> None:
        await telemetrix_clock.async_sleep(11)

    with pytest.raises(OperationTimeout):
        await slow()
    assert telemetrix_clock.monotonic() == 1011

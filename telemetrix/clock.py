"""Time, as a thing that can be replaced.

Every primitive reads the clock that is in force through `current()`. Only tests replace it, with
`telemetrix.testing.VirtualClock`; then no test has to sleep.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import ClassVar, Protocol, cast

import anyio


class Clock(Protocol):
    """Where seconds come from and how they are spent."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Block this thread for that long."""
        ...

    async def async_sleep(self, seconds: float, /) -> None:
        """Suspend this task for that long; can be cancelled."""
        ...

    def wait(self, event: threading.Event, seconds: float, /) -> bool:
        """Block until the event is set (True) or that many seconds have passed (False)."""
        ...

    def cancel_scope(self, seconds: float, /) -> anyio.CancelScope:
        """A scope that is cancelled after that many seconds."""
        ...


class SystemClock:
    """The real one: `time.monotonic`, `time.sleep` and the running event loop's timers (asyncio or trio)."""

    # The function itself: a method around it would cost every timed call.
    monotonic: ClassVar[staticmethod[[], float]] = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        """`time.sleep`."""
        time.sleep(seconds)

    async def async_sleep(self, seconds: float) -> None:
        """`anyio.sleep`."""
        await anyio.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Block until the event is set or the time has passed."""
        # Longer waits than this overflow the platform's lock timeout.
        return event.wait(max(0.0, min(seconds, threading.TIMEOUT_MAX)))

    def cancel_scope(self, seconds: float) -> anyio.CancelScope:
        """A scope with a deadline on the event loop's own clock."""
        return anyio.CancelScope(deadline=anyio.current_time() + seconds)


SYSTEM: Clock = cast("Clock", SystemClock())

_current: Clock = SYSTEM
_watchers: list[Callable[[], None]] = []


def current() -> Clock:
    """The clock in force."""
    return _current


def install(clock: Clock) -> Clock:
    """Put a clock in force for the whole process; returns the one it replaces."""
    global _current
    previous, _current = _current, clock
    for watcher in _watchers:
        watcher()
    return previous


def on_change(watcher: Callable[[], None]) -> None:
    """Have `watcher` called whenever a clock is installed."""
    _watchers.append(watcher)

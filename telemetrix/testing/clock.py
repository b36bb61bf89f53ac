"""A clock that stands still until it is moved."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from weakref import WeakKeyDictionary

import anyio
import anyio.lowlevel

from telemetrix import clock

_GLANCE = 0.001
"""Real seconds between two looks at the virtual time while a thread is waited for."""

_Canceller = Callable[[anyio.CancelScope], None]


class VirtualClock:
    """Time for tests: sleeping moves it, and so does `advance`; nothing else does.

    Parameters:
        start: the first reading, seconds.
        autojump: whether sleeping moves the time by itself. If not, sleepers wait until a test advances the clock; a
            sync sleeper then has to be on another thread than the test.

    Attributes:
        sleeps: every sleep that was asked for, seconds, in order.
    """

    def __init__(self, start: float = 1000.0, *, autojump: bool = True) -> None:
        self.sleeps: list[float] = []
        self._now = start
        self._autojump = autojump
        self._moved = threading.Condition()
        self._scopes: WeakKeyDictionary[anyio.CancelScope, tuple[float, _Canceller]] = WeakKeyDictionary()

    def monotonic(self) -> float:
        """The present reading, seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move the time on.

        Raises:
            ValueError: the time would go back or end.
        """
        if not (math.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"seconds={seconds!r} is not allowed: a finite number, 0 or more")
        with self._moved:
            self._now += seconds
            due = [(scope, cancel) for scope, (deadline, cancel) in self._scopes.items() if deadline <= self._now]
            for scope, _ in due:
                del self._scopes[scope]
            self._moved.notify_all()
        for scope, cancel in due:
            cancel(scope)

    def sleep(self, seconds: float) -> None:
        """Sleep, by moving the time (or until it has been moved far enough)."""
        self.sleeps.append(seconds)
        if self._autojump:
            self.advance(seconds)
            return
        until = self._now + seconds
        with self._moved:
            self._moved.wait_for(lambda: self._now >= until)

    async def async_sleep(self, seconds: float) -> None:
        """Sleep, by moving the time (or until it has been moved far enough); a cancellation is noticed."""
        self.sleeps.append(seconds)
        if self._autojump:
            self.advance(seconds)
            await anyio.lowlevel.checkpoint()
            return
        until = self._now + seconds
        while self._now < until:
            await anyio.lowlevel.checkpoint()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for another thread's event; False as soon as the time has moved by `seconds`, even if it is set too."""
        until = self._now + seconds
        while self._now < until:
            if event.wait(_GLANCE):
                return self._now < until
        return False

    def cancel_scope(self, seconds: float) -> anyio.CancelScope:
        """A scope that is cancelled when the time has moved by `seconds`."""
        scope = anyio.CancelScope()
        with self._moved:
            self._scopes[scope] = (self._now + seconds, _canceller())
        return scope


@contextmanager
def virtual_clock(*, start: float = 1000.0, autojump: bool = True) -> Generator[VirtualClock]:
    """Put a `VirtualClock` in force for the block; see there for the parameters."""
    virtual = VirtualClock(start, autojump=autojump)
    previous = clock.install(virtual)
    try:
        yield virtual
    finally:
        clock.install(previous)


def _canceller() -> _Canceller:
    """How a scope of the running event loop is cancelled from any thread; not at all once its loop has ended."""
    home = threading.get_ident()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio  # noqa: PLC0415 - it is running, so it is there

        elsewhere: Callable[[Callable[[], None]], object] = trio.lowlevel.current_trio_token().run_sync_soon
        ended: type[Exception] = trio.RunFinishedError
        running = trio.lowlevel.in_trio_run
    else:
        elsewhere, ended, running = loop.call_soon_threadsafe, RuntimeError, loop.is_running

    def cancel(scope: anyio.CancelScope) -> None:
        if threading.get_ident() == home and running():
            scope.cancel()
            return
        with suppress(ended):
            elsewhere(scope.cancel)

    return cancel

"""Who listens on the bus: the hooks of a subscriber, a plain function as one, and the queued form of a slow one."""

from __future__ import annotations

import atexit
import queue
import threading
from collections.abc import Callable
from typing import Any, Final

from telemetrix.calls import Call, CallWatcher
from telemetrix.events import Event, EventsDropped
from telemetrix.locks import survive_fork


class Subscriber:
    """Something that listens on the bus; override the hooks you want to hear.

    An overridden `call_*` or `attempt_*` hook makes every call take the observed path, which is slower than the counted
    one; `on_event` does not, nor does `record` where `reads_successes` is set.
    """

    reads_successes: bool = False
    """Whether it reads the cells in `operation.successes`; then `record` need not hear of uneventful successes."""

    event_types: tuple[type[Event], ...] = (Event,)
    """The event classes that `on_event` is to hear, subclasses included."""

    never_raises: bool = False
    """Whether `is_listening` can be asked without a guard around it, as the fast path does."""

    @property
    def name(self) -> str:
        """What it is called in `telemetrix_bus_subscriber_errors_total`."""
        return type(self).__name__

    def hears(self, hook: str) -> bool:
        """Whether it has something to do when that hook is called; asked when listeners change."""
        return getattr(type(self), hook) is not getattr(Subscriber, hook)

    def is_listening(self) -> bool:
        """Asked before each call: whether the call hooks are to be called. False costs about 30 ns per call."""
        return True

    def call_started(self, call: Call) -> None:
        """A call begins, in this thread and context."""

    def attempt_started(self, call: Call) -> None:
        """Attempt number `call.attempts` of a retry begins, after a wait of `call.wait` seconds."""

    def attempt_finished(self, call: Call, error: BaseException | None) -> None:
        """The present attempt of a retry came to its end; `error` is what it raised."""

    def call_finished(self, call: Call) -> None:
        """A call whose start was told ends; `call.error` is what its caller will see."""

    def record(self, call: Call) -> None:
        """A call ended. Those that `operation.successes` counts are not told to subscribers that read these cells."""

    def on_event(self, event: Event) -> None:
        """Something happened."""

    def wants(self, kind: type[Event]) -> bool:
        """Whether an event of this class would be of use just now; asked before one is built in bulk."""
        del kind
        return True

    def detached(self) -> None:
        """It was taken off the bus and hears nothing more."""


CALL_HOOKS: Final = ("call_started", "attempt_started", "attempt_finished", "call_finished")


def name_of(subscriber: CallWatcher) -> str:
    """A subscriber's name, whatever asking for it does."""
    try:
        return subscriber.name
    except Exception:  # noqa: BLE001 - observing never breaks the observed
        return type(subscriber).__name__


class FunctionSubscriber(Subscriber):
    """A plain function that hears events."""

    def __init__(self, function: Callable[[Any], object], event_types: tuple[type[Event], ...]) -> None:
        self._function = function
        self.event_types: tuple[type[Event], ...] = event_types

    @property
    def name(self) -> str:
        """The function's name."""
        return getattr(self._function, "__qualname__", type(self._function).__name__)

    def on_event(self, event: Event) -> None:
        """Call the function."""
        self._function(event)


class QueuedSubscriber(Subscriber):
    """The queued form of a slow subscriber: it hears events and finished calls on a thread of its own.

    What comes while the queue is full is dropped and counted, never waited for.

    Parameters:
        target: the slow subscriber; its call and attempt hooks are not called: they would have to run in the call.
        maxsize: items that may wait.
        dropped: called with the target's name and a count for each item that did not fit.
        failed: called with the target's name and the error when the target raises.
    """

    def __init__(
        self,
        target: Subscriber,
        maxsize: int,
        dropped: Callable[[str, int], None],
        failed: Callable[[str, Exception], None],
    ) -> None:
        self._target = target
        self._dropped = dropped
        self._failed = failed
        self._maxsize = maxsize
        self.reads_successes: bool = target.reads_successes
        self.event_types: tuple[type[Event], ...] = target.event_types
        self._begin()
        survive_fork(self)
        atexit.register(self.close)

    @property
    def name(self) -> str:
        """The target's name."""
        return self._target.name

    def hears(self, hook: str) -> bool:
        """Events and finished calls, if the target does."""
        return hook in {"record", "on_event"} and self._target.hears(hook)

    def record(self, call: Call) -> None:
        """Queue it."""
        self._put(self._target.record, call)

    def on_event(self, event: Event) -> None:
        """Queue it."""
        if isinstance(event, EventsDropped) and event.subscriber == self.name:
            return  # its own loss would only fill the queue again
        self._put(self._target.on_event, event)

    def detached(self) -> None:
        """Deliver what is waiting."""
        self.close()

    def close(self, timeout: float = 5.0) -> None:
        """Deliver what is waiting, for no longer than `timeout` seconds, and end the thread."""
        atexit.unregister(self.close)
        if self._thread.is_alive():
            try:
                self._waiting.put(None, timeout=timeout)
            except queue.Full:
                return
            self._thread.join(timeout)

    def renew_locks(self) -> None:
        """After a fork: the child has neither the thread nor a right to what the parent will deliver."""
        self._begin()

    def _begin(self) -> None:
        self._waiting: queue.Queue[tuple[Callable[[Any], None], Any] | None] = queue.Queue(self._maxsize)
        self._thread = threading.Thread(target=self._deliver, name=f"telemetrix-{self.name}", daemon=True)
        self._thread.start()

    def _put(self, hook: Callable[[Any], None], item: Any) -> None:
        try:
            self._waiting.put_nowait((hook, item))
        except queue.Full:
            self._dropped(self.name, 1)

    def _deliver(self) -> None:
        waiting = self._waiting
        while (entry := waiting.get()) is not None:
            hook, item = entry
            try:
                hook(item)
            except Exception as error:  # noqa: BLE001 - observing never breaks the observed
                self._failed(self.name, error)

"""The event bus: primitives publish, subscribers listen, and neither can hurt the other.

Two lanes. **Calls**: `call_started` and `call_finished`, one of each per call, told live to whoever asked for them, and
`record`, the finished call alone, for those who only count. **Events**: typed moments (`telemetrix.events`), delivered
at once, in order, where they happened. Nothing is published while a lock is held.

A hook nobody implements costs nothing: the lanes are worked out when listeners change, not per call.
"""

from __future__ import annotations

import logging
import math
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from telemetrix import clock
from telemetrix._core import checks
from telemetrix._core.outcomes import Outcome, Primitive, Reason
from telemetrix.calls import OTHER, Call, Operation
from telemetrix.events import (
    Event,
    EventsDropped,
    LabelOverflowed,
    OperationRegistered,
    SubscriberFailed,
)
from telemetrix.locks import survive_fork
from telemetrix.subscribers import CALL_HOOKS, FunctionSubscriber, QueuedSubscriber, Subscriber, name_of

EventTypes = tuple[type[Event], ...]

MAX_LABEL_VALUES: Final = 1000
"""How many values a label may have before further ones become `other`."""

_log = logging.getLogger("telemetrix.bus")


class Subscription:
    """A place on the bus; `close` gives it up. Also a context manager."""

    __slots__ = ("_bus", "event_types", "subscriber")

    def __init__(self, bus: EventBus, subscriber: Subscriber, event_types: EventTypes) -> None:
        self._bus = bus
        self.subscriber: Subscriber = subscriber
        self.event_types: EventTypes = event_types

    def close(self) -> None:
        """Stop listening; closing twice is allowed."""
        self._bus.unsubscribe(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class EventBus:
    """Routes calls and events from primitives to subscribers.

    Attributes:
        watch: None when nobody listens to live calls; otherwise asked before each call whether somebody does now.
        counting: whether anybody listens at all, and calls are worth timing and counting.
    """

    def __init__(self) -> None:
        self.watch: Callable[[], bool] | None = None
        self.counting: bool = False
        self._lock = threading.RLock()  # a signal handler may publish while this thread holds it
        survive_fork(self)
        self._subscriptions: tuple[Subscription, ...] = ()
        self._watchers: tuple[Subscriber, ...] = ()
        self._recorders: tuple[Subscriber, ...] = ()
        self._routes: dict[type[Event], tuple[Subscriber, ...]] = {}
        self._retained: dict[tuple[str, str], Event] = {}
        self._operations: dict[tuple[Primitive, str], Operation] = {}
        self._labels: dict[str, set[str]] = {}
        self._reported: set[str] = set()
        self._delivering = _Delivering()
        self.max_label_values = MAX_LABEL_VALUES
        clock.on_change(self._rearrange)

    # Listening

    def subscribe(
        self,
        subscriber: Subscriber | Callable[[Any], object],
        *,
        to: type[Event] | EventTypes | None = None,
        queued: int | None = None,
    ) -> Subscription:
        """Listen.

        Parameters:
            subscriber: a `Subscriber`, or a function that is called with each event.
            to: the event classes to hear, subclasses included; None is the subscriber's own `event_types`, or all
                events for a function.
            queued: for a slow subscriber: deliver events and finished calls on a thread of its own, through a queue of
                that many items; what does not fit is dropped and counted. None delivers at once, where it happened.

        Returns:
            the subscription, to be closed when it is no longer wanted.
        """
        if not isinstance(subscriber, Subscriber):
            if not callable(subscriber):
                raise checks.refuse_type("subscriber", subscriber, "a Subscriber or a function of one event")
            types = _event_types((Event,) if to is None else to)
            subscriber = FunctionSubscriber(subscriber, types)
        else:
            types = _event_types(subscriber.event_types if to is None else to)
        if queued is not None:
            subscriber = QueuedSubscriber(subscriber, checks.count("queued", queued), self._drop, self._report)
        subscription = Subscription(self, subscriber, types)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)
            self._rearrange()
            retained = [event for event in self._retained.values() if isinstance(event, types)]
        for event in retained:
            self._deliver(subscriber, event)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop delivering to a subscription."""
        with self._lock:
            known = subscription in self._subscriptions
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)
            self._rearrange()
        if known:
            try:
                subscription.subscriber.detached()
            except Exception as error:  # noqa: BLE001 - as any other hook
                self._report(name_of(subscription.subscriber), error)

    def listens(self, kind: type[Event]) -> bool:
        """Whether anybody wants this class of events just now; asked before building one."""
        routes = self._routes.get(kind)
        if routes is None:
            routes = self._route(kind)
        for subscriber in routes:
            try:
                if subscriber.wants(kind):
                    return True
            except Exception:  # noqa: BLE001 - it will raise again when it is told, and be reported then
                return True
        return False

    # Events

    def publish(self, event: Event) -> None:
        """Deliver an event to everyone who listens for its class.

        An event that is published while another one is being delivered on the same thread comes after it, so that every
        subscriber hears both in the order they happened.
        """
        kind = type(event)
        routes = self._routes.get(kind)
        if routes is None:
            routes = self._route(kind)
        if not routes:
            return
        delivering = self._delivering
        if delivering.waiting is not None:
            delivering.waiting.append(event)
            return
        delivering.waiting = waiting = deque((event,))
        try:
            while waiting:
                event = waiting.popleft()
                routes = self._routes.get(type(event))
                for subscriber in self._route(type(event)) if routes is None else routes:
                    self._deliver(subscriber, event)
        finally:
            delivering.waiting = None

    def retain(self, key: tuple[str, str], event: Event) -> bool:
        """Keep an event for subscribers that come later, one per key; whether the key is new."""
        with self._lock:
            known = key in self._retained
            self._retained[key] = event
        return not known

    def observe(self, callback: Callable[..., object], name: str, *args: object) -> None:
        """Call a user's observing callback (`on_retry`, `on_open`, …); what it raises is counted, not passed on."""
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - observing never breaks the observed
            self._report(name, error)

    # Names

    def operation(self, primitive: Primitive, name: str, function: str | None = None) -> Operation:
        """The operation of that name, the same object each time; past the label cap, one that shares `other`."""
        operation = self._operations.get((primitive, name))
        if operation is not None:
            return operation
        label = self.label("operation", name)
        with self._lock:
            shared = self._operations.get((primitive, label))
            if label != name:
                if shared is None:
                    shared = Operation(primitive, OTHER, OTHER, None)
                    self._operations[primitive, OTHER] = shared
                    created = shared
                else:
                    created = None
                operation = Operation(primitive, name, OTHER, function, shared)
            elif shared is None:
                operation = created = Operation(primitive, name, name, function)
                self._operations[primitive, name] = operation
            else:
                operation, created = shared, None
        if created is not None:
            now = clock.current().monotonic()
            self.retain((primitive, created.label), OperationRegistered(now, created, known=True))
            self.publish(OperationRegistered(now, created, known=False))
        return operation

    def label(self, label: str, value: str) -> str:
        """The value itself, or `other` once the label has had `max_label_values` of them."""
        with self._lock:
            values = self._labels.setdefault(label, set())
            if value in values:
                return value
            if len(values) < self.max_label_values:
                values.add(value)
                return value
        self.publish(LabelOverflowed(clock.current().monotonic(), label))
        return OTHER

    # Calls

    def begin(self, operation: Operation, now: float, attributes: dict[str, str] | None = None) -> Call:
        """A call that is told live to everyone who listens to calls now."""
        call = Call(operation, now)
        call.attributes = attributes
        watchers = self._watchers
        if watchers:
            call.watchers = tuple(watcher for watcher in watchers if self._listens(watcher))
            for watcher in call.watchers:
                try:
                    watcher.call_started(call)
                except Exception as error:  # noqa: BLE001 - observing never breaks the observed
                    self._report(name_of(watcher), error)
        return call

    def attempt_started(self, call: Call) -> None:
        """The next attempt of a retry begins."""
        for watcher in call.watchers:
            try:
                watcher.attempt_started(call)
            except Exception as error:  # noqa: BLE001 - observing never breaks the observed
                self._report(name_of(watcher), error)

    def attempt_finished(self, call: Call, error: BaseException | None) -> None:
        """The attempt came to its end."""
        for watcher in reversed(call.watchers):
            try:
                watcher.attempt_finished(call, error)
            except Exception as failure:  # noqa: BLE001 - observing never breaks the observed
                self._report(name_of(watcher), failure)

    def finish(
        self, call: Call, outcome: Outcome, reason: Reason, now: float, error: BaseException | None = None
    ) -> None:
        """The call came to its one end."""
        call.outcome = outcome
        call.reason = reason
        elapsed = now - call.started_at
        # NaN for a call that began while nobody listened and nobody timed it; it would spoil every sum it is added to.
        call.seconds = 0.0 if math.isnan(elapsed) else elapsed
        if call.watchers:
            call.error = error
            for watcher in reversed(call.watchers):
                try:
                    watcher.call_finished(call)
                except Exception as failure:  # noqa: BLE001 - observing never breaks the observed
                    self._report(name_of(watcher), failure)
            call.error = None
            call.notes = None
        for recorder in self._recorders:
            try:
                recorder.record(call)
            except Exception as failure:  # noqa: BLE001 - observing never breaks the observed
                self._report(name_of(recorder), failure)

    # Inside

    def renew_locks(self) -> None:
        """After a fork: the lock may have been held by a thread that the child does not have."""
        self._lock = threading.RLock()

    def _deliver(self, subscriber: Subscriber, event: Event) -> None:
        try:
            subscriber.on_event(event)
        except Exception as error:  # noqa: BLE001 - observing never breaks the observed
            self._delivering.failure = isinstance(event, SubscriberFailed)
            try:
                self._report(name_of(subscriber), error)
            finally:
                self._delivering.failure = False

    def _listens(self, watcher: Subscriber) -> bool:
        try:
            return watcher.is_listening()
        except Exception as error:  # noqa: BLE001 - observing never breaks the observed
            self._report(name_of(watcher), error)
            return False

    def _drop(self, name: str, count: int) -> None:
        self.publish(EventsDropped(clock.current().monotonic(), self.label("subscriber", name), count))

    def _report(self, name: str, error: Exception) -> None:
        if name not in self._reported:
            self._reported.add(name)
            # Where, not what it said: the message may hold the user's data.
            *_, frame = traceback.extract_tb(error.__traceback__)
            _log.warning(
                "%s raised %s at %s:%s; the call went on. Further errors of it are only counted.",
                name,
                type(error).__qualname__,
                frame.filename,
                frame.lineno,
            )
        # Not for a failure on hearing of a failure: that would start a loop.
        if not self._delivering.failure:
            label = self.label("subscriber", name)
            self.publish(SubscriberFailed(clock.current().monotonic(), label, type(error)))

    def _route(self, kind: type[Event]) -> tuple[Subscriber, ...]:
        with self._lock:
            routes = tuple(
                s.subscriber
                for s in self._subscriptions
                if issubclass(kind, s.event_types) and s.subscriber.hears("on_event")
            )
            self._routes[kind] = routes
        return routes

    def _rearrange(self) -> None:
        """Work out the lanes anew: the listeners or the clock changed."""
        with self._lock:
            subscribers = [s.subscriber for s in self._subscriptions]
            self._routes = {}
            self._watchers = tuple(s for s in subscribers if any(s.hears(hook) for hook in CALL_HOOKS))
            self._recorders = tuple(s for s in subscribers if s.hears("record"))
            self.counting = bool(self._subscriptions)
            self.watch = self._watch()

    def _watch(self) -> Callable[[], bool] | None:
        # The fast path times with the system clock and counts without a lock; where either is wrong, observe all calls.
        if clock.current() is not clock.SYSTEM or not _gil_enabled():
            return _always
        if any(not recorder.reads_successes for recorder in self._recorders):
            return _always
        if any(not watcher.hears("is_listening") for watcher in self._watchers):
            return _always
        watchers = self._watchers
        if not watchers:
            return None
        if len(watchers) == 1 and watchers[0].never_raises:
            return watchers[0].is_listening
        return lambda: any(self._listens(watcher) for watcher in watchers)


class _Delivering(threading.local):
    """What one thread is delivering just now."""

    waiting: deque[Event] | None = None
    failure = False


def _event_types(given: Any) -> EventTypes:
    kinds = checks.as_tuple(given)
    if not kinds or not all(isinstance(kind, type) and issubclass(kind, Event) for kind in kinds):
        raise checks.refuse_type("to", given, "an event class or a non-empty tuple of them")
    return kinds


def _always() -> bool:
    return True


def _gil_enabled() -> bool:
    asked: Callable[[], bool] | None = getattr(sys, "_is_gil_enabled", None)
    return asked is None or asked()


default_bus: Final = EventBus()
"""The bus that every primitive publishes on."""

subscribe: Final = default_bus.subscribe
"""Listen on the bus that every primitive publishes on; see `EventBus.subscribe`."""

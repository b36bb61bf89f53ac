"""The bus: who hears what, in which order, and that nobody can hurt anybody."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import telemetrix
from telemetrix import Call, Operation, Outcome, Primitive, Reason, Subscriber, clock, retry
from telemetrix.bus import EventBus
from telemetrix.calls import OTHER
from telemetrix.events import (
    CircuitOpened,
    CircuitRegistered,
    CircuitTransition,
    Event,
    EventsDropped,
    LabelOverflowed,
    OperationRegistered,
    RetryRecovered,
    RetryScheduled,
    SubscriberFailed,
)
from telemetrix.testing import CapturedTelemetry, Script, virtual_clock

SCHEDULED = RetryScheduled(1.0, "pay", 1, 2.0, ValueError)
RECOVERED = RetryRecovered(3.0, "pay", 2, 2.0)


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> EventBus:
    """A bus of its own, that the clock does not keep alive."""
    monkeypatch.setattr(clock, "_watchers", list(clock._watchers))  # noqa: SLF001 - there is no way to stop watching
    return EventBus()


class Recorder(Subscriber):
    """Writes down every hook it is called through."""

    def __init__(self, title: str = "", log: list[tuple[str, str]] | None = None) -> None:
        self.title = title
        self.log: list[tuple[str, str]] = [] if log is None else log

    def call_started(self, call: Call) -> None:
        self.log.append((self.title, "call_started"))

    def attempt_started(self, call: Call) -> None:
        self.log.append((self.title, "attempt_started"))

    def attempt_finished(self, call: Call, error: BaseException | None) -> None:
        self.log.append((self.title, "attempt_finished"))

    def call_finished(self, call: Call) -> None:
        self.log.append((self.title, f"call_finished {type(call.error).__name__}"))

    def record(self, call: Call) -> None:
        self.log.append((self.title, f"record {call.outcome} {call.reason} {call.error}"))

    def on_event(self, event: Event) -> None:
        self.log.append((self.title, type(event).__name__))


class Broken(Subscriber):
    """Raises from every hook."""

    def call_started(self, call: Call) -> None:
        raise RuntimeError("broken start")

    def attempt_started(self, call: Call) -> None:
        raise RuntimeError("broken attempt start")

    def attempt_finished(self, call: Call, error: BaseException | None) -> None:
        raise RuntimeError("broken attempt end")

    def call_finished(self, call: Call) -> None:
        raise RuntimeError("broken end")

    def record(self, call: Call) -> None:
        raise RuntimeError("broken record")

    def on_event(self, event: Event) -> None:
        raise RuntimeError("broken event")


class Silent(Subscriber):
    """Hears nothing."""


class Reader(Subscriber):
    """Counts, and reads the cells."""

    reads_successes = True

    def record(self, call: Call) -> None: ...


class Counter(Subscriber):
    """Counts, and wants every call."""

    def record(self, call: Call) -> None: ...


class Listener(Subscriber):
    """Watches calls when it is told to."""

    def __init__(self, *, listening: bool) -> None:
        self.listening = listening

    def is_listening(self) -> bool:
        return self.listening

    def call_started(self, call: Call) -> None: ...


# Who hears what


def test_subscribe__function__hears_every_event_in_order(bus: EventBus) -> None:
    heard: list[Event] = []
    bus.subscribe(heard.append)
    bus.publish(SCHEDULED)
    bus.publish(RECOVERED)
    assert heard == [SCHEDULED, RECOVERED]


def test_subscribe__two_subscribers__hear_in_the_order_they_came(bus: EventBus) -> None:
    log: list[tuple[str, str]] = []
    bus.subscribe(Recorder("first", log))
    bus.subscribe(Recorder("second", log))
    bus.publish(SCHEDULED)
    assert log == [("first", "RetryScheduled"), ("second", "RetryScheduled")]


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        (RetryScheduled, ["RetryScheduled"]),
        ((RetryScheduled, RetryRecovered), ["RetryScheduled", "RetryRecovered"]),
        (CircuitTransition, ["CircuitOpened"]),
        (Event, ["RetryScheduled", "RetryRecovered", "CircuitOpened"]),
        (None, ["RetryScheduled", "RetryRecovered", "CircuitOpened"]),
    ],
)
def test_subscribe__to_some_classes__hears_these_and_their_subclasses(
    bus: EventBus, to: Any, expected: list[str]
) -> None:
    heard: list[str] = []
    bus.subscribe(lambda event: heard.append(type(event).__name__), to=to)
    opened: Any = CircuitOpened(1.0, "c", *[None] * 8)  # type: ignore[arg-type]
    for event in (SCHEDULED, RECOVERED, opened):
        bus.publish(event)
    assert heard == expected


def test_subscribe__subscriber_with_event_types__hears_these_unless_told_otherwise(bus: EventBus) -> None:
    class Choosy(Recorder):
        event_types = (RetryRecovered,)

    chosen, told = Choosy(), Choosy()
    bus.subscribe(chosen)
    bus.subscribe(told, to=RetryScheduled)
    bus.publish(SCHEDULED)
    bus.publish(RECOVERED)
    assert (chosen.log, told.log) == ([("", "RetryRecovered")], [("", "RetryScheduled")])


@pytest.mark.parametrize("to", [(), ValueError, (RetryScheduled, 3), "RetryScheduled", [RetryScheduled]])
def test_subscribe__to_something_else__is_refused(bus: EventBus, to: Any) -> None:
    with pytest.raises(TypeError, match=r"^to=.+ is not allowed: an event class or a non-empty tuple of them"):
        bus.subscribe(print, to=to)


def test_subscribe__what_cannot_be_called__is_refused(bus: EventBus) -> None:
    given: Any = "print"
    with pytest.raises(TypeError, match=r"^subscriber='print' is not allowed: "):
        bus.subscribe(given)


def test_close__subscription__hears_no_more_and_may_be_closed_again(bus: EventBus) -> None:
    heard: list[Event] = []
    subscription = bus.subscribe(heard.append)
    bus.publish(SCHEDULED)
    subscription.close()
    subscription.close()
    bus.publish(RECOVERED)
    assert heard == [SCHEDULED]


def test_subscription__as_a_block__is_closed_at_its_end(bus: EventBus) -> None:
    heard: list[Event] = []
    with bus.subscribe(heard.append):
        bus.publish(SCHEDULED)
    bus.publish(RECOVERED)
    assert heard == [SCHEDULED]


def test_close__same_function_subscribed_twice__ends_one_of_the_two(bus: EventBus) -> None:
    heard: list[Event] = []
    first = bus.subscribe(heard.append)
    bus.subscribe(heard.append)
    first.close()
    bus.publish(SCHEDULED)
    assert heard == [SCHEDULED]


def test_close__while_an_event_is_delivered__the_others_still_hear_it(bus: EventBus) -> None:
    heard: list[Event] = []
    subscription = bus.subscribe(lambda _: subscription.close())
    bus.subscribe(heard.append)
    bus.publish(SCHEDULED)
    bus.publish(RECOVERED)
    assert heard == [SCHEDULED, RECOVERED]


def test_listens__listeners_come_and_go__is_true_while_somebody_hears_that_class(bus: EventBus) -> None:
    assert not bus.listens(CircuitOpened)
    with bus.subscribe(print, to=CircuitTransition):
        assert bus.listens(CircuitOpened)
        assert not bus.listens(RetryScheduled)
    assert not bus.listens(CircuitOpened)


def test_listens__subscriber_without_on_event__does_not_count(bus: EventBus) -> None:
    bus.subscribe(Silent())
    bus.subscribe(Counter())
    assert not bus.listens(RetryScheduled)


def test_publish__in_a_thread__delivers_there_before_it_returns(bus: EventBus) -> None:
    heard: list[int] = []
    bus.subscribe(lambda _: heard.append(threading.get_ident()))
    thread = threading.Thread(target=bus.publish, args=(SCHEDULED,))
    thread.start()
    thread.join(10)
    bus.publish(SCHEDULED)
    assert heard == [thread.ident, threading.get_ident()]


# Late subscribers


def test_subscribe__late__hears_what_is_registered_in_its_present_state(bus: EventBus) -> None:
    operation = bus.operation(Primitive.RETRY, "pay")
    first: Any = CircuitRegistered(1.0, "c", *[None] * 4)  # type: ignore[arg-type]
    second: Any = CircuitRegistered(2.0, "c", *[None] * 4)  # type: ignore[arg-type]
    assert bus.retain(("circuit", "c"), first)
    assert not bus.retain(("circuit", "c"), second)
    bus.publish(SCHEDULED)
    heard: list[Any] = []
    bus.subscribe(heard.append)
    assert [type(event) for event in heard] == [OperationRegistered, CircuitRegistered]
    assert heard[0].operation is operation
    assert heard[1] is second


def test_subscribe__late_and_to_other_classes__hears_no_registration(bus: EventBus) -> None:
    bus.operation(Primitive.RETRY, "pay")
    heard: list[Event] = []
    bus.subscribe(heard.append, to=RetryScheduled)
    assert heard == []


def test_subscribe__operation_registered_meanwhile_on_another_thread__is_heard(
    bus: EventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    bus.listens(OperationRegistered)  # the routes are known, as they are in a running program
    rearrange = bus._rearrange  # noqa: SLF001 - what stands between two steps of subscribe
    thread = threading.Thread(target=bus.operation, args=(Primitive.RETRY, "registered meanwhile"))

    def let_the_other_thread_go_first() -> None:
        if thread.ident is None:
            thread.start()
            thread.join(0.2)  # under a lock that the other one needs, it cannot end yet
        rearrange()

    monkeypatch.setattr(bus, "_rearrange", let_the_other_thread_go_first)
    bus.subscribe(heard.append, to=OperationRegistered)
    thread.join(10)
    assert {event.operation.name for event in heard} == {"registered meanwhile"}


# Isolation


def test_publish__subscriber_raises__the_others_hear_and_nothing_comes_out(bus: EventBus) -> None:
    heard: list[Event] = []
    bus.subscribe(Broken())
    bus.subscribe(heard.append, to=RetryScheduled)
    bus.publish(SCHEDULED)
    assert heard == [SCHEDULED]


def test_publish__subscriber_raises_again_and_again__is_logged_once_and_counted_each_time(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    failures: list[SubscriberFailed] = []

    def broken(event: Event) -> None:
        raise RuntimeError("with the user's secret")

    bus.subscribe(broken, to=RetryScheduled)
    bus.subscribe(failures.append, to=SubscriberFailed)
    with caplog.at_level(logging.WARNING, "telemetrix.bus"):
        for _ in range(5):
            bus.publish(SCHEDULED)
    assert len(caplog.records) == 1
    text = caplog.text
    assert "broken raised RuntimeError at " in text
    assert "test_bus.py:" in text
    assert "secret" not in text
    assert [(failure.error_type, failure.subscriber.split(".")[-1]) for failure in failures] == [
        (RuntimeError, "broken")
    ] * 5


def test_publish__subscriber_raises_on_hearing_of_failures__does_not_loop(bus: EventBus) -> None:
    calls = 0
    heard: list[Event] = []

    def broken(event: Event) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError

    bus.subscribe(broken)
    bus.subscribe(heard.append, to=SubscriberFailed)
    bus.publish(SCHEDULED)
    assert calls == 2, "once for the event, once for its own failure"
    assert len(heard) == 1
    bus.publish(SCHEDULED)
    assert (calls, len(heard)) == (4, 2)


def test_publish__two_subscribers_raise_on_each_others_failures__does_not_loop(bus: EventBus) -> None:
    heard: list[Event] = []
    bus.subscribe(Broken())
    bus.subscribe(Script([RuntimeError]))
    bus.subscribe(heard.append)
    bus.publish(SCHEDULED)
    assert [type(event).__name__ for event in heard] == ["RetryScheduled", "SubscriberFailed", "SubscriberFailed"]


def test_observe__callback_raises__is_reported_under_its_name(bus: EventBus) -> None:
    failures: list[SubscriberFailed] = []
    bus.subscribe(failures.append, to=SubscriberFailed)
    bus.observe(Script([KeyError("x")]), "on_open", 1, 2)
    assert [(failure.subscriber, failure.error_type) for failure in failures] == [("on_open", KeyError)]


@pytest.mark.parametrize("hook", ["publish", "observe"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_bus__subscriber_is_interrupted__lets_the_interruption_out(
    bus: EventBus, hook: str, kind: type[BaseException]
) -> None:
    script = Script([kind])
    bus.subscribe(script)
    with pytest.raises(kind):
        bus.publish(SCHEDULED) if hook == "publish" else bus.observe(script, "on_open")


def test_call__every_hook_of_a_subscriber_raises__ends_as_if_nobody_listened(
    telemetrix_capture: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    # R6: elsewhere it stops the retry, or turns a success into a rejection.
    script = Script([ValueError, "paid"])
    with telemetrix.subscribe(Broken(), to=(RetryScheduled, RetryRecovered)):
        assert retry(3, 0, name="pay")(script)() == "paid"
    assert script.calls == 2
    # start and end of the call and of two attempts, its record, two events
    assert telemetrix_capture.metric("telemetrix_bus_subscriber_errors_total", subscriber="Broken") == 9
    assert telemetrix_capture.metric("telemetrix_calls_total", operation="pay", reason="recovered") == 1
    assert telemetrix_capture.span_tree() == ["retry pay", "  attempt pay", "  attempt pay"]
    assert len([record for record in caplog.records if record.name == "telemetrix.bus"]) <= 1


class BrokenQuestion(Listener):
    def is_listening(self) -> bool:
        raise RuntimeError("broken question")


def test_call__is_listening_of_a_subscriber_raises__ends_as_if_nobody_listened() -> None:
    with telemetrix.subscribe(BrokenQuestion(listening=True)):
        assert retry(3, 0)(Script(["paid"]))() == "paid"


class BrokenName(Broken):
    @property
    def name(self) -> str:
        raise RuntimeError("broken name")


def test_publish__name_of_a_raising_subscriber_raises_too__nothing_comes_out(bus: EventBus) -> None:
    bus.subscribe(BrokenName())
    bus.publish(SCHEDULED)


# Calls


def finished_call(bus: EventBus, error: BaseException | None = None) -> Call:
    call = bus.begin(bus.operation(Primitive.RETRY, "pay"), 10.0)
    bus.attempt_started(call)
    bus.attempt_finished(call, error)
    bus.finish(call, Outcome.FAILURE, Reason.EXHAUSTED, 12.5, error)
    return call


def test_calls__two_watchers__begin_in_order_and_end_in_the_opposite_one(bus: EventBus) -> None:
    log: list[tuple[str, str]] = []
    bus.subscribe(Recorder("outer", log))
    bus.subscribe(Recorder("inner", log))
    log.clear()
    finished_call(bus, ValueError())
    log = [entry for entry in log if entry[1] != "OperationRegistered"]
    assert [entry for entry in log if not entry[1].startswith("record")] == [
        ("outer", "call_started"),
        ("inner", "call_started"),
        ("outer", "attempt_started"),
        ("inner", "attempt_started"),
        ("inner", "attempt_finished"),
        ("outer", "attempt_finished"),
        ("inner", "call_finished ValueError"),
        ("outer", "call_finished ValueError"),
    ]
    assert [entry for entry in log if entry[1].startswith("record")] == [
        ("outer", "record failure exhausted None"),
        ("inner", "record failure exhausted None"),
    ]


def test_finish__call__has_its_ending_and_duration_and_keeps_no_error(bus: EventBus) -> None:
    bus.subscribe(Recorder())
    call = finished_call(bus, ValueError())
    assert (call.outcome, call.reason, call.seconds) == (Outcome.FAILURE, Reason.EXHAUSTED, 2.5)
    assert (call.error, call.notes) == (None, None)


def test_begin__watcher_that_does_not_listen_now__is_not_told(bus: EventBus) -> None:
    silent, listening = Listener(listening=False), Listener(listening=True)
    bus.subscribe(silent)
    bus.subscribe(listening)
    call = bus.begin(bus.operation(Primitive.RETRY, "pay"), 0.0)
    assert call.watchers == (listening,)


def test_finish__watcher_stops_listening_during_the_call__is_still_told_of_the_end(bus: EventBus) -> None:
    class Stops(Recorder):
        listening = True

        def is_listening(self) -> bool:
            return self.listening

    watcher = Stops()
    bus.subscribe(watcher)
    call = bus.begin(bus.operation(Primitive.RETRY, "pay"), 0.0)
    watcher.listening = False
    bus.finish(call, Outcome.SUCCESS, Reason.FIRST_TRY, 1.0)
    assert ("", "call_finished NoneType") in watcher.log


def test_finish__call_that_nobody_timed__has_no_duration_rather_than_a_nan(bus: EventBus) -> None:
    call = Call(bus.operation(Primitive.RETRY, "pay"), math.nan)
    bus.finish(call, Outcome.FAILURE, Reason.EXHAUSTED, 5.0)
    assert call.seconds == 0.0


# Lanes


@pytest.mark.parametrize(
    ("subscriber", "watch", "counting"),
    [
        (Silent(), None, True),
        (print, None, True),
        (Reader(), None, True),
        (Counter(), True, True),
        (Recorder(), True, True),
        (Listener(listening=True), True, True),
        (Listener(listening=False), False, True),
    ],
)
def test_lanes__one_subscriber__ask_for_no_more_than_it_wants(
    bus: EventBus, subscriber: Any, watch: bool | None, counting: bool
) -> None:
    assert (bus.watch, bus.counting) == (None, False)
    with bus.subscribe(subscriber):
        assert (bus.watch() if bus.watch else None) is watch
        assert bus.counting is counting
    assert (bus.watch, bus.counting) == (None, False)


@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False), (True, True)])
def test_watch__two_that_are_asked__is_true_if_one_of_them_listens(bus: EventBus, first: bool, second: bool) -> None:
    listeners = Listener(listening=first), Listener(listening=second)
    for listener in listeners:
        bus.subscribe(listener)
    assert bus.watch is not None
    assert bus.watch() is (first or second)
    listeners[0].listening = True
    assert bus.watch()


def test_watch__virtual_clock__is_always_true_while_it_is_in_force(bus: EventBus) -> None:
    # The fast path times with the system clock.
    with virtual_clock():
        assert bus.watch is not None
        assert bus.watch()
    assert bus.watch is None


def test_lanes__subscriber_comes_after_the_decoration__sees_the_next_call() -> None:
    guarded = retry(3, 0, name="pay")(Script(["paid"]))
    guarded()
    watcher = Recorder()
    with telemetrix.subscribe(watcher, to=RetryScheduled):
        guarded()
    guarded()
    assert [entry for _, entry in watcher.log] == [
        "call_started",
        "attempt_started",
        "attempt_finished",
        "call_finished NoneType",
        "record success first_try None",
    ]


# Names


def test_operation__same_name__is_the_same_object_registered_once(bus: EventBus) -> None:
    heard: list[Any] = []
    bus.subscribe(heard.append)
    operation = bus.operation(Primitive.RETRY, "pay", "module.pay")
    assert bus.operation(Primitive.RETRY, "pay") is operation
    assert (operation.name, operation.label, operation.function) == ("pay", "pay", "module.pay")
    assert [event.operation for event in heard] == [operation]


def test_operation__same_name_of_another_primitive__is_another_one(bus: EventBus) -> None:
    first, second = bus.operation(Primitive.RETRY, "pay"), bus.operation(Primitive.TIMEOUT, "pay")
    assert first is not second
    assert first.successes is not second.successes


def test_operation__50_threads_ask_for_it_first__is_one_object_registered_once(bus: EventBus) -> None:
    heard: list[Any] = []
    bus.subscribe(heard.append)
    start = threading.Barrier(50)
    found: list[Operation] = []

    def ask() -> None:
        start.wait(10)
        found.append(bus.operation(Primitive.RETRY, "pay"))

    threads = [threading.Thread(target=ask) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(found) == 50
    assert len({id(operation) for operation in found}) == 1
    assert len(heard) == 1


def test_label__past_the_cap__is_other_and_told(bus: EventBus) -> None:
    heard: list[Any] = []
    bus.subscribe(heard.append, to=LabelOverflowed)
    bus.max_label_values = 2
    assert [bus.label("circuit", name) for name in ("a", "b", "c", "a", "b")] == ["a", "b", OTHER, "a", "b"]
    assert [event.label for event in heard] == ["circuit"]
    assert bus.label("operation", "c") == "c", "each label has its own cap"


def test_operation__past_the_cap__keeps_its_name_and_shares_label_and_cells(bus: EventBus) -> None:
    bus.max_label_values = 1
    registered: list[Any] = []
    bus.subscribe(registered.append, to=OperationRegistered)
    known = bus.operation(Primitive.RETRY, "known")
    first, second = bus.operation(Primitive.RETRY, "first"), bus.operation(Primitive.RETRY, "second", "module.second")
    assert (first.name, first.label) == ("first", OTHER)
    assert (second.name, second.label, second.function) == ("second", OTHER, "module.second")
    assert first.successes is second.successes
    assert first.successes is not known.successes
    assert [(event.operation.name, event.operation.label) for event in registered] == [
        ("known", "known"),
        (OTHER, OTHER),
    ]
    assert bus.operation(Primitive.RETRY, "known") is known


def test_operation__past_the_cap_of_another_primitive__has_its_own_cells(bus: EventBus) -> None:
    bus.max_label_values = 0
    assert bus.operation(Primitive.RETRY, "a").successes is not bus.operation(Primitive.TIMEOUT, "a").successes


def test_operation__10_000_names__keeps_no_more_than_the_cap(bus: EventBus) -> None:
    bus.max_label_values = 100
    for number in range(10_000):
        bus.operation(Primitive.RETRY, f"tenant-{number}")
    assert len(bus._operations) == len(bus._retained) == 101  # noqa: SLF001 - nothing public shows it


# Queued subscribers


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds up a slow subscriber; opened at the end whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def slow(gate: threading.Event, heard: list[Event]) -> Callable[[Event], None]:
    def hear(event: Event) -> None:
        assert gate.wait(20)
        heard.append(event)

    return hear


def test_queued__slow_subscriber__holds_nobody_up_and_hears_everything_in_order(
    bus: EventBus, gate: threading.Event
) -> None:
    heard: list[Any] = []
    subscription = bus.subscribe(slow(gate, heard), to=RetryScheduled, queued=100)
    events = [RetryScheduled(float(number), "pay", 1, 1.0, ValueError) for number in range(50)]
    for event in events:
        bus.publish(event)
    assert heard == []
    gate.set()
    subscription.close()
    assert heard == events


def test_queued__queue_is_full__drops_and_counts_what_does_not_fit(bus: EventBus, gate: threading.Event) -> None:
    heard: list[Any] = []
    dropped: list[Any] = []
    bus.subscribe(dropped.append, to=EventsDropped)
    subscription = bus.subscribe(slow(gate, heard), to=RetryScheduled, queued=3)
    for _ in range(20):
        bus.publish(SCHEDULED)
    lost = sum(event.count for event in dropped)
    assert lost in {16, 17}, "three wait, and one may have been taken out already"
    gate.set()
    subscription.close()
    assert len(heard) == 20 - lost


def test_queued__subscriber_raises__is_counted_and_goes_on(bus: EventBus) -> None:
    failures: list[Any] = []
    script = Script([RuntimeError, None])
    bus.subscribe(failures.append, to=SubscriberFailed)
    subscription = bus.subscribe(script, to=RetryScheduled, queued=10)
    bus.publish(SCHEDULED)
    bus.publish(SCHEDULED)
    subscription.close()
    assert script.calls == 2
    assert [(failure.subscriber, failure.error_type) for failure in failures] == [("Script", RuntimeError)]


def test_queued__subscriber_with_call_hooks__hears_records_but_watches_no_call(bus: EventBus) -> None:
    recorder = Recorder()
    subscription = bus.subscribe(recorder, to=RetryScheduled, queued=10)
    assert (bus.watch() if bus.watch else None) is True, "it wants every record"
    finished_call(bus)
    subscription.close()
    assert [entry for _, entry in recorder.log] == ["record failure exhausted None"]


def test_queued__closed_twice__is_allowed(bus: EventBus) -> None:
    subscription = bus.subscribe(print, to=RetryScheduled, queued=1)
    subscription.close()
    subscription.close()


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError)])
def test_queued__size_out_of_range__is_refused(bus: EventBus, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^queued=.+ is not allowed: a whole number, 1 or more"):
        bus.subscribe(print, queued=value)

"""The two ways through a wrapper, and time and events for tests of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

import telemetrix
from telemetrix import Call, Subscriber, clock
from telemetrix.bus import default_bus
from telemetrix.events import (
    CallRejected,
    CircuitTransition,
    Event,
    ProbeFinished,
    StaleResultDropped,
    SubscriberFailed,
)
from telemetrix.testing import CapturedTelemetry
from tests.primitives.circuits import FORMS, Via
from tests.primitives.tally import Tally, spans_only


class Watcher(Subscriber):
    """Makes every call take the observed path."""

    def call_started(self, call: Call) -> None:
        """Do nothing; being there is enough."""


@pytest.fixture(params=["unwatched", "watched"])
def each_path(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each of the two ways a call can take: nobody watches calls live, or somebody does."""
    telemetrix.configure(tracing=False)
    with ExitStack() as stack:
        stack.callback(telemetrix.configure, tracing=True)
        if request.param == "watched":
            stack.enter_context(default_bus.subscribe(Watcher()))
        else:
            assert default_bus.watch is None
        yield


@pytest.fixture
def spans() -> Iterator[CapturedTelemetry]:
    """The spans of the test, and nothing else."""
    with spans_only() as captured:
        yield captured


@pytest.fixture
def tally() -> Iterator[Tally]:
    """What happened in the test, on whichever path it takes."""
    with default_bus.subscribe(subscriber := Tally()):
        yield subscriber


@pytest.fixture(params=["unwatched", "watched"])
def seen(request: pytest.FixtureRequest, tally: Tally) -> Iterator[Tally]:
    """What happened in the test, on each of the two paths; spans make the watched one."""
    telemetrix.configure(tracing=False)
    with ExitStack() as stack:
        stack.callback(telemetrix.configure, tracing=True)
        if request.param == "watched":
            stack.enter_context(spans_only())
        else:
            assert default_bus.watch is None
        yield tally


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the system clock on; with a virtual clock all calls would be watched."""
    skipped = 0.0

    def move(seconds: float) -> None:
        nonlocal skipped
        skipped += seconds

    monkeypatch.setattr(clock.SystemClock, "monotonic", staticmethod(lambda: time.monotonic() + skipped))
    return move


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    """What circuits and callbacks have said."""
    events: list[Event] = []
    kinds = (CircuitTransition, CallRejected, ProbeFinished, StaleResultDropped, SubscriberFailed)
    with default_bus.subscribe(events.append, to=kinds):
        yield events


@pytest.fixture(params=FORMS)
def via(request: pytest.FixtureRequest) -> Via:
    """Each way to guard a call with a circuit breaker."""
    form: Via = request.param
    return form

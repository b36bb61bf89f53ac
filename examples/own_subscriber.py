"""Listeners of your own: a function that hears events, an object that hears calls, and a slow one with a queue.

Run it: python examples/own_subscriber.py
"""

from __future__ import annotations

import time
from collections import Counter

from telemetrix import Call, CircuitBreaker, CircuitOpenError, Subscriber, retry, subscribe
from telemetrix.events import CircuitOpened, Event, RetryScheduled


def print_retry(event: RetryScheduled) -> None:
    """A function hears the events it subscribes to, at once, in the thread where they happen."""
    print(f"  {event.operation}: attempt {event.attempt} failed with {event.error_type.__name__}")


class Tally(Subscriber):
    """An object overrides the hooks it wants; `record` hears of every call that ended."""

    def __init__(self) -> None:
        self.endings: Counter[str] = Counter()

    def record(self, call: Call) -> None:
        self.endings[f"{call.operation.primitive} {call.outcome} ({call.reason})"] += 1


class Pager(Subscriber):
    """Slow, so it gets a queue and a thread of its own."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def on_event(self, event: Event) -> None:
        if isinstance(event, CircuitOpened):
            time.sleep(0.05)  # a page on its way
            self.pages.append(f"circuit {event.circuit} opened after {event.failures} failures")


class Broken(Subscriber):
    """Raises; the calls do not notice. It is logged once, and counted in telemetrix_bus_subscriber_errors_total."""

    def on_event(self, event: Event) -> None:
        raise RuntimeError(f"cannot handle {event!r}")


mail = CircuitBreaker(failure_threshold=3, recovery_timeout=60, name="mail")


@retry(max_attempts=3, delay=0.01, exceptions=ConnectionError)
@mail
def send(to: str) -> None:
    raise ConnectionError(f"no route to {to}")


def main() -> None:
    tally, pager = Tally(), Pager()
    with (
        subscribe(print_retry, to=RetryScheduled),
        subscribe(tally),
        subscribe(Broken(), to=CircuitOpened),
        subscribe(pager, to=CircuitOpened, queued=100),
    ):
        for name in ("ann", "bob"):
            try:
                send(name)
            except (ConnectionError, CircuitOpenError) as error:
                print(f"  {type(error).__name__}: {error}")
    # Leaving the block closed the subscriptions; the queued one has delivered what was waiting.
    print("pages:", pager.pages)
    for ending, number in sorted(tally.endings.items()):
        print(f"  {number} x {ending}")


if __name__ == "__main__":
    main()

"""Runs the demonstration from the first request to the summary."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from telemetrix.demo.journal import Journal
from telemetrix.demo.orders import GUARDED, inventory, payments
from telemetrix.demo.phases import Script
from telemetrix.demo.plain import PlainView, View
from telemetrix.demo.readings import CircuitTally, Reading, Report, Tally
from telemetrix.demo.scene import History, Scene
from telemetrix.demo.stage import PortRefusedError, Stage, staged
from telemetrix.demo.summary import summary
from telemetrix.demo.tracing import Spans, spans_to_endpoint

DEFAULT_PORT: Final = 8642
MAX_PORT: Final = 65535

CANNOT_RUN: Final = 2
"""The exit code where nothing was run."""

_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP")


def run(seconds: float | None = None, port: int | None = None) -> int:
    """Run the demonstration.

    Parameters:
        seconds: how long; None is until SIGINT (Ctrl-C), SIGTERM or SIGHUP.
        port: of the order service, on loopback; None is 8642, 0 any free one.

    Returns:
        the exit code of the process: 0, or 2 if the port cannot be had.

    Raises:
        ValueError: `seconds` or `port` is out of range.
        MissingExtraError: OTEL_EXPORTER_OTLP_ENDPOINT is set, and what sends spans there is not installed.
    """
    _check(seconds, port)
    spans = spans_to_endpoint()
    try:
        with _Interruption.awaited() as interruption:
            return _run(seconds, DEFAULT_PORT if port is None else port, spans, interruption)
    except PortRefusedError as error:
        print(f"telemetrix demo: {error}", file=sys.stderr)
        return CANNOT_RUN
    except BrokenPipeError:
        # Whoever read the output has gone (`| head`). Python flushes once more at the exit: let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _check(seconds: float | None, port: int | None) -> None:
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ValueError(f"seconds={seconds!r} is not allowed: a finite number of seconds, more than 0")
    if port is not None and not 0 <= port <= MAX_PORT:
        raise ValueError(f"port={port!r} is not allowed: 1 to {MAX_PORT}, or 0 for any free one")


def _run(seconds: float | None, port: int, spans: Spans, interruption: _Interruption) -> int:
    script, journal = Script.within(seconds), Journal()
    for circuit in (payments, inventory):
        circuit.reset()  # they are as old as the process, which may have seen a demonstration before
    before = Reading.take()
    with journal.listening():
        with staged(script, port, spans) as stage:
            with _view() as view:
                _watch(stage, script, seconds, view, journal, spans, before, interruption)
            stage.customers.stop()
            elapsed = stage.elapsed
            report, noticed = _report(before), stage.customers.noticed()
        # Down here the spans have been sent, and nothing runs any more.
        print(summary(elapsed, report, noticed, spans.account()), flush=True)
    return 0


def _watch(
    stage: Stage,
    script: Script,
    seconds: float | None,
    view: View,
    journal: Journal,
    spans: Spans,
    before: Reading,
    interruption: _Interruption,
) -> None:
    history = History(script)
    while not interruption.came and (seconds is None or stage.elapsed < seconds):
        elapsed = stage.elapsed
        moment, report, noticed = script.at(elapsed), _report(before), stage.customers.noticed()
        view.show(
            Scene(
                elapsed,
                seconds,
                moment,
                report,
                noticed,
                stage.customers.quantile(0.95),
                history.add(elapsed, report, noticed),
                journal,
                stage.address,
                spans.account(),
            )
        )
        interruption.wait(view.interval if seconds is None else min(view.interval, seconds - stage.elapsed))


def _report(before: Reading) -> Report:
    reading = Reading.take().since(before)
    return Report(
        {name: Tally.of(function, reading) for name, function in GUARDED.items()},
        (CircuitTally.of(payments.name, reading), CircuitTally.of(inventory.name, reading)),
    )


def _view() -> View:
    if sys.stdout is None or not sys.stdout.isatty():  # None where it was closed before the start
        return PlainView()
    try:
        from rich.console import Console  # noqa: PLC0415 - optional, and needed in a terminal only

        from telemetrix.demo.live import LiveView  # noqa: PLC0415
    except ImportError:
        return PlainView("for the live view: pip install 'telemetrix-resilience[demo]'")
    console = Console(highlight=False)
    draws = not console.is_dumb_terminal and console.encoding.lower().startswith("utf")
    return LiveView(console) if draws else PlainView()


class _Interruption:
    """The wish of whoever started the demonstration that it end."""

    # A plain attribute, because a signal handler may not touch a lock that the thread it interrupts may hold.
    came = False

    def wait(self, seconds: float) -> None:
        """Wait so long, or until just after it came."""
        until = time.monotonic() + seconds
        while not self.came and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))

    @classmethod
    @contextmanager
    def awaited(cls) -> Generator[_Interruption]:
        """Take the signals as such a wish, during the block."""
        interruption = cls()

        def come(number: int, frame: object) -> None:  # noqa: ARG001
            interruption.came = True

        if threading.current_thread() is not threading.main_thread():
            yield interruption  # Python delivers signals to the main thread only
            return
        numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
        former = {number: signal.signal(number, come) for number in numbers}
        try:
            yield interruption
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

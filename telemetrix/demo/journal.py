"""What happened, for the screen: transitions from telemetrix's bus, and log lines that would tear the screen up."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, NamedTuple

import telemetrix
from telemetrix import CircuitState, TransitionReason
from telemetrix.events import CircuitTransition

KEPT: Final = 200
"""Lines, and transitions per circuit, that are remembered."""


class Line(NamedTuple):
    """What happened, and when: its number counts all lines there were, `at` is `time.monotonic`."""

    number: int
    at: float
    text: str


class Journal(logging.Handler):
    """Collects what views show as lines.

    These are the circuits' transitions, and the first warning of each logger that is not telemetrix's: in a terminal
    that is redrawn all the time, logging has nowhere else to write.

    Attributes:
        lines: oldest first.
        transitions: of each circuit, oldest first.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: deque[Line] = deque(maxlen=KEPT)
        self.transitions: defaultdict[str, deque[CircuitTransition]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._writing = threading.Lock()
        self._written = 0
        self._warned: set[str] = set()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Collect during the block."""
        root = logging.getLogger()
        root.addHandler(self)
        try:
            with telemetrix.subscribe(self._moved, to=CircuitTransition):
                yield
        finally:
            root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first warning of each logger; telemetrix's own are told by the circuits."""
        if record.name.partition(".")[0] != "telemetrix" and record.name not in self._warned:
            self._warned.add(record.name)
            text = " ".join(record.getMessage().split())
            self._write(f"{record.name}: {text.encode('ascii', 'backslashreplace').decode()}")

    def _moved(self, event: CircuitTransition) -> None:
        self.transitions[event.circuit].append(event)
        self._write(f"circuit {event.circuit}: {_told(event)}")

    def _write(self, text: str) -> None:
        with self._writing:
            self._written += 1
            self.lines.append(Line(self._written, time.monotonic(), text))


def _told(event: CircuitTransition) -> str:
    error = "nothing" if event.last_error_type is None else event.last_error_type.__qualname__
    match event.to_state, event.reason:
        case CircuitState.OPEN, TransitionReason.FAILURE_THRESHOLD:
            return f"opened after {event.failures} failures in a row, the last: {error}"
        case CircuitState.OPEN, TransitionReason.PROBE_FAILED:
            return f"opened again, its probe failed: {error}"
        case CircuitState.HALF_OPEN, _:
            return "half-open, a probe passes"
        case CircuitState.CLOSED, TransitionReason.PROBE_SUCCEEDED:
            return "closed again, its probe succeeded"
        case _:
            return f"{event.to_state.value} by hand"

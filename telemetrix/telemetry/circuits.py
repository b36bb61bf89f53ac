"""The series of circuits: state, since when, transitions, and the seconds spent open."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from telemetrix import clock
from telemetrix._core.circuit import CircuitState, TransitionReason
from telemetrix._core.outcomes import Outcome
from telemetrix.calls import OTHER
from telemetrix.events import CircuitRegistered, CircuitTransition
from telemetrix.telemetry import catalog

# By itself, a circuit moves only along these; a move by hand may go anywhere.
_REGULAR_MOVES = (
    (CircuitState.CLOSED, CircuitState.OPEN, TransitionReason.FAILURE_THRESHOLD),
    (CircuitState.OPEN, CircuitState.HALF_OPEN, TransitionReason.RECOVERY_TIMEOUT),
    (CircuitState.HALF_OPEN, CircuitState.CLOSED, TransitionReason.PROBE_SUCCEEDED),
    (CircuitState.HALF_OPEN, CircuitState.OPEN, TransitionReason.PROBE_FAILED),
    (CircuitState.CLOSED, CircuitState.OPEN, TransitionReason.MANUAL),
    (CircuitState.OPEN, CircuitState.CLOSED, TransitionReason.MANUAL),
    (CircuitState.HALF_OPEN, CircuitState.CLOSED, TransitionReason.MANUAL),
)


@dataclass(slots=True)
class _Circuit:
    state: CircuitState
    since: float
    recovery_timeout: float
    open_counted_until: float
    generation: int

    def shown_state(self, now: float) -> CircuitState:
        if self.state is CircuitState.OPEN and now >= self.since + self.recovery_timeout:
            return CircuitState.HALF_OPEN
        return self.state


class CircuitSeries:
    """Follows the circuits through their events."""

    def __init__(self, metrics: dict[str, Any], *, multiprocess: bool) -> None:
        self._metrics = metrics
        self._multiprocess = multiprocess
        self._circuits: dict[str, _Circuit] = {}
        self._lock = threading.RLock()

    def registered(self, event: CircuitRegistered) -> None:
        """A circuit exists."""
        name = event.circuit
        with self._lock:
            known = self._circuits.get(name)
            if known is not None:
                self._move(name, known, event)
                return
            for source, target, reason in _REGULAR_MOVES:
                self._transitions(name, source, target, reason)
            self._metrics[catalog.CIRCUIT_OPEN.name].labels(name)
            self._metrics[catalog.CIRCUIT_STALE.name].labels(name)
            for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED):
                self._metrics[catalog.CIRCUIT_PROBES.name].labels(name, outcome.value)
            if name == OTHER:
                return  # many circuits in one: their transitions add up, their states do not
            self._circuits[name] = _Circuit(
                event.state, event.since, event.recovery_timeout, event.since, event.generation
            )
            self._show(name, self._circuits[name], event.at)

    def moved(self, event: CircuitTransition) -> None:
        """A circuit changed its state."""
        self._transitions(event.circuit, event.from_state, event.to_state, event.reason).inc()
        with self._lock:
            circuit = self._circuits.get(event.circuit)
            if circuit is not None:
                self._move(event.circuit, circuit, event)

    def _move(self, name: str, circuit: _Circuit, event: CircuitRegistered | CircuitTransition) -> None:
        # Two threads may tell of two moves in either order; the one with the greater number is how things stand.
        if event.generation <= circuit.generation:
            return
        began = event.since if isinstance(event, CircuitRegistered) else event.at
        self._count_open_time(name, circuit, began)
        circuit.state = event.state if isinstance(event, CircuitRegistered) else event.to_state
        circuit.since = circuit.open_counted_until = began
        circuit.recovery_timeout = event.recovery_timeout
        circuit.generation = event.generation
        self._show(name, circuit, event.at)

    def fold(self) -> None:
        """Bring the series up to this moment: time passes without events."""
        now = clock.current().monotonic()
        with self._lock:
            for name, circuit in self._circuits.items():
                if circuit.state is CircuitState.OPEN:
                    self._count_open_time(name, circuit, now)
                    self._show(name, circuit, now)

    def renew(self) -> None:
        """After a fork: new lock, and the gauges said again for this process."""
        self._lock = threading.RLock()
        if self._multiprocess:
            now = clock.current().monotonic()
            for name, circuit in self._circuits.items():
                self._show(name, circuit, now)

    def _transitions(self, name: str, source: CircuitState, target: CircuitState, reason: TransitionReason) -> Any:
        return self._metrics[catalog.CIRCUIT_TRANSITIONS.name].labels(name, source.value, target.value, reason.value)

    def _count_open_time(self, name: str, circuit: _Circuit, now: float) -> None:
        if circuit.state is not CircuitState.OPEN:
            return
        until = min(now, circuit.since + circuit.recovery_timeout)
        if until > circuit.open_counted_until:
            self._metrics[catalog.CIRCUIT_OPEN.name].labels(name).inc(until - circuit.open_counted_until)
            circuit.open_counted_until = until

    def _show(self, name: str, circuit: _Circuit, now: float) -> None:
        shown = circuit.shown_state(now)
        for state in CircuitState:
            self._metrics[catalog.CIRCUIT_STATE.name].labels(name, state.value).set(state is shown)
        began = circuit.since
        if shown is not circuit.state:
            began += circuit.recovery_timeout
        self._metrics[catalog.CIRCUIT_STATE_SINCE.name].labels(name).set(time.time() - (now - began))

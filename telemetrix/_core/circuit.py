"""The circuit breaker's state machine: admission by permit, one verdict per permit, transitions as values.

A permit carries the generation it was given in. The generation changes with every transition, so the verdict of a call
that began before the circuit opened (or before an earlier recovery) cannot close, open or count in a later state. The
machine is not thread-safe; its driver calls it under a lock that is never held over user code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class CircuitState(StrEnum):
    """Where a circuit breaker stands."""

    CLOSED = "closed"
    """Calls pass; failures are counted."""
    OPEN = "open"
    """Calls are rejected until `recovery_timeout` has passed."""
    HALF_OPEN = "half_open"
    """A probe may pass to find out whether the other side has recovered; everyone else is rejected."""


class TransitionReason(StrEnum):
    """Why a circuit changed its state."""

    FAILURE_THRESHOLD = "failure_threshold"
    RECOVERY_TIMEOUT = "recovery_timeout"
    PROBE_SUCCEEDED = "probe_succeeded"
    PROBE_FAILED = "probe_failed"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class CircuitRule:
    """The settings of a circuit.

    Parameters:
        failure_threshold: failures in a row that open it.
        recovery_timeout: seconds it stays open before a probe may pass.
        half_open_permits: probes that may be on their way at once.
        probe_lease: seconds after which a probe that never came back gives its place to another one.
    """

    failure_threshold: int
    recovery_timeout: float
    half_open_permits: int = 1
    probe_lease: float = 60.0


class Transition(NamedTuple):
    """One change of state, with what led to it."""

    from_state: CircuitState
    to_state: CircuitState
    reason: TransitionReason
    at: float
    failures: int
    last_error: type[BaseException] | None


class Permit:
    """The right to make one call; compared by identity."""

    __slots__ = ("generation", "issued_at", "probe")

    def __init__(self, generation: int, issued_at: float, *, probe: bool) -> None:
        self.generation = generation
        self.issued_at = issued_at
        self.probe = probe


class Rejection(NamedTuple):
    """The refusal of a call: the state it met and the seconds until it is worth asking again."""

    state: CircuitState
    retry_after: float


class Admission(NamedTuple):
    """The answer to a caller, and the transition that asking caused, if any."""

    answer: Permit | Rejection
    transition: Transition | None


class Settlement(NamedTuple):
    """What a verdict did: nothing if it was `stale`."""

    transition: Transition | None = None
    stale: bool = False


_STALE = Settlement(stale=True)
_NOTHING = Settlement()


class CircuitMachine:
    """State, failure count and permits of one circuit."""

    __slots__ = ("_probes", "_state", "failures", "generation", "last_error", "rule", "since")

    def __init__(self, rule: CircuitRule, now: float) -> None:
        self.rule = rule
        self.since = now
        """When the present state began."""
        self.failures = 0
        """Failures in a row; kept while open, so that whoever hears of the opening can read it."""
        self.generation = 0
        self.last_error: type[BaseException] | None = None
        self._state = CircuitState.CLOSED
        self._probes: list[Permit] = []

    @property
    def quiet(self) -> bool:
        """Whether a success would change nothing: closed, with no failure to forget."""
        return self._state is CircuitState.CLOSED and not self.failures

    @property
    def is_open(self) -> bool:
        """Whether it is open, or would be half-open if somebody asked."""
        return self._state is CircuitState.OPEN

    def state_at(self, now: float) -> CircuitState:
        """The state a caller would meet at `now`: an open circuit is half-open once its recovery timeout has passed."""
        if self._state is CircuitState.OPEN and now >= self.reopens_to_probes_at:
            return CircuitState.HALF_OPEN
        return self._state

    @property
    def reopens_to_probes_at(self) -> float:
        """When an open circuit becomes half-open."""
        return self.since + self.rule.recovery_timeout

    def admit(self, now: float) -> Admission:
        """Ask to make a call."""
        if self._state is CircuitState.CLOSED:
            return Admission(Permit(self.generation, now, probe=False), None)
        if self._state is CircuitState.OPEN and now < self.reopens_to_probes_at:
            return Admission(Rejection(CircuitState.OPEN, self.reopens_to_probes_at - now), None)
        transition = None
        if self._state is CircuitState.OPEN:
            transition = self._move(CircuitState.HALF_OPEN, TransitionReason.RECOVERY_TIMEOUT, now)
        self._end_leases(now)
        if len(self._probes) >= self.rule.half_open_permits:
            oldest = min(probe.issued_at for probe in self._probes)
            retry_after = max(0.0, oldest + self.rule.probe_lease - now)
            return Admission(Rejection(CircuitState.HALF_OPEN, retry_after), transition)
        permit = Permit(self.generation, now, probe=True)
        self._probes.append(permit)
        return Admission(permit, transition)

    def succeed(self, permit: Permit, now: float) -> Settlement:
        """The call came back well."""
        if not self._take_back(permit):
            return _STALE
        self.failures = 0
        if permit.probe:
            return Settlement(self._move(CircuitState.CLOSED, TransitionReason.PROBE_SUCCEEDED, now))
        return _NOTHING

    def fail(self, permit: Permit, now: float, error: type[BaseException]) -> Settlement:
        """The call failed in the way this circuit watches for."""
        if not self._take_back(permit):
            return _STALE
        self.failures += 1
        self.last_error = error
        if permit.probe:
            return Settlement(self._move(CircuitState.OPEN, TransitionReason.PROBE_FAILED, now))
        if self.failures >= self.rule.failure_threshold:
            return Settlement(self._move(CircuitState.OPEN, TransitionReason.FAILURE_THRESHOLD, now))
        return _NOTHING

    def release(self, permit: Permit) -> Settlement:
        """The call ended as neither success nor failure: its place is free again and nothing else changes."""
        return _NOTHING if self._take_back(permit) else _STALE

    def force(self, state: CircuitState, now: float) -> Transition | None:
        """Go to a state by hand; staying in the present one restarts it without a transition."""
        self.last_error = None
        if state is CircuitState.CLOSED:
            self.failures = 0
        if state is self._state:
            self.since = now
            self.generation += 1
            self._probes.clear()
            return None
        return self._move(state, TransitionReason.MANUAL, now)

    def _move(self, state: CircuitState, reason: TransitionReason, now: float) -> Transition:
        self.generation += 1
        transition = Transition(self._state, state, reason, now, self.failures, self.last_error)
        self._state = state
        self.since = now
        self._probes.clear()
        return transition

    def _take_back(self, permit: Permit) -> bool:
        if permit.generation != self.generation:
            return False
        if not permit.probe:
            return True
        if permit not in self._probes:
            return False
        self._probes.remove(permit)
        return True

    def _end_leases(self, now: float) -> None:
        self._probes = [probe for probe in self._probes if now - probe.issued_at < self.rule.probe_lease]

"""CircuitMachine against a model that shares nothing with it: after any sequence both stand at the same place.

The model remembers what happened (which permits are out, since when, in which era) and derives its answers from that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from telemetrix._core.circuit import (
    CircuitMachine,
    CircuitRule,
    CircuitState,
    Permit,
    Rejection,
    Settlement,
    Transition,
    TransitionReason,
)

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
VERDICTS = ("succeed", "fail", "release")
ERRORS = (ConnectionError, TimeoutError, OSError)


@dataclass
class Era:
    """A stretch of time in one state."""

    state: CircuitState
    began: int
    probes_out: dict[int, int] = field(default_factory=dict)
    """When each probe of this era left, by its number."""


@dataclass
class Ticket:
    """What the model knows of a permit that was handed out."""

    number: int
    permit: Permit
    era: Era


class CircuitModel(RuleBasedStateMachine):
    """Drives the machine and the model side by side."""

    @initialize(
        threshold=st.integers(1, 4),
        recovery=st.integers(1, 10),
        permits=st.integers(1, 3),
        lease=st.integers(1, 10),
    )
    def begin(self, threshold: int, recovery: int, permits: int, lease: int) -> None:
        self.threshold, self.recovery, self.permits, self.lease = threshold, recovery, permits, lease
        self.now = 1_000
        self.machine = CircuitMachine(CircuitRule(threshold, float(recovery), permits, float(lease)), float(self.now))
        self.era = Era(CLOSED, self.now)
        self.eras = 1
        self.streak: list[type[Exception]] = []
        self.last_error: type[Exception] | None = None
        self.out: list[Ticket] = []
        self.back: list[Ticket] = []
        self.tickets = 0

    # What the model does

    def enter(self, state: CircuitState) -> None:
        self.era = Era(state, self.now)
        self.eras += 1

    def expected_state(self, now: int) -> CircuitState:
        recovered = self.era.state is OPEN and now - self.era.began >= self.recovery
        return HALF_OPEN if recovered else self.era.state

    def check_transition(
        self, found: Transition | None, source: CircuitState, target: CircuitState, reason: TransitionReason
    ) -> None:
        assert found == (source, target, reason, self.now, len(self.streak), self.last_error)

    # What happens

    @rule(seconds=st.integers(1, 12))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def ask(self) -> None:
        answer, transition = self.machine.admit(float(self.now))
        if self.era.state is OPEN and self.expected_state(self.now) is OPEN:
            assert answer == Rejection(OPEN, float(self.era.began + self.recovery - self.now))
            assert transition is None
            return
        if self.era.state is OPEN:
            self.check_transition(transition, OPEN, HALF_OPEN, TransitionReason.RECOVERY_TIMEOUT)
            self.enter(HALF_OPEN)
        else:
            assert transition is None
        if self.era.state is HALF_OPEN:
            out = self.era.probes_out
            for number in [number for number, left in out.items() if self.now - left >= self.lease]:
                del out[number]
            if len(out) == self.permits:
                assert answer == Rejection(HALF_OPEN, float(min(out.values()) + self.lease - self.now))
                return
            out[self.tickets] = self.now
        assert isinstance(answer, Permit)
        assert answer.probe is (self.era.state is HALF_OPEN)
        assert answer.issued_at == self.now
        self.out.append(Ticket(self.tickets, answer, self.era))
        self.tickets += 1

    @precondition(lambda self: self.out)
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS), error=st.sampled_from(ERRORS))
    def permit_comes_back(self, data: st.DataObject, verdict: str, error: type[Exception]) -> None:
        ticket = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.back.append(ticket)
        is_probe = ticket.permit.probe
        counts = ticket.era is self.era and (not is_probe or ticket.number in self.era.probes_out)
        self.era.probes_out.pop(ticket.number, None)
        settlement = self.settle(ticket, verdict, error)
        if not counts:
            assert settlement == Settlement(None, stale=True)
            return
        assert not settlement.stale
        if verdict == "succeed":
            self.streak = []
        elif verdict == "fail":
            self.streak.append(error)
            self.last_error = error
        if is_probe and verdict == "succeed":
            self.check_transition(settlement.transition, HALF_OPEN, CLOSED, TransitionReason.PROBE_SUCCEEDED)
            self.enter(CLOSED)
        elif is_probe and verdict == "fail":
            self.check_transition(settlement.transition, HALF_OPEN, OPEN, TransitionReason.PROBE_FAILED)
            self.enter(OPEN)
        elif verdict == "fail" and len(self.streak) == self.threshold:
            self.check_transition(settlement.transition, CLOSED, OPEN, TransitionReason.FAILURE_THRESHOLD)
            self.enter(OPEN)
        else:
            assert settlement.transition is None

    @precondition(lambda self: any(ticket.permit.probe for ticket in self.back))
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS))
    def probe_comes_back_again(self, data: st.DataObject, verdict: str) -> None:
        probes = [ticket for ticket in self.back if ticket.permit.probe]
        ticket = probes[data.draw(st.integers(0, len(probes) - 1))]
        assert self.settle(ticket, verdict, ConnectionError) == Settlement(None, stale=True)

    @rule(state=st.sampled_from(CircuitState))
    def somebody_forces(self, state: CircuitState) -> None:
        source = self.era.state
        self.last_error = None
        if state is CLOSED:
            self.streak = []
        transition = self.machine.force(state, float(self.now))
        if state is source:
            assert transition is None
        else:
            self.check_transition(transition, source, state, TransitionReason.MANUAL)
        self.enter(state)

    def settle(self, ticket: Ticket, verdict: str, error: type[Exception]) -> Settlement:
        now = float(self.now)
        if verdict == "succeed":
            return self.machine.succeed(ticket.permit, now)
        return (
            self.machine.fail(ticket.permit, now, error) if verdict == "fail" else self.machine.release(ticket.permit)
        )

    # What must hold at any moment

    @invariant()
    def both_stand_at_the_same_place(self) -> None:
        assert self.machine.state_at(float(self.now)) is self.expected_state(self.now)
        assert self.machine.since == self.era.began
        assert self.machine.failures == len(self.streak)
        assert self.machine.last_error is self.last_error
        assert self.machine.quiet is (self.era.state is CLOSED and not self.streak)

    @invariant()
    def the_state_it_will_be_read_in_later_is_known(self) -> None:
        for later in (1, self.recovery, 10 * self.recovery):
            assert self.machine.state_at(float(self.now + later)) is self.expected_state(self.now + later)

    @invariant()
    def each_era_has_its_generation(self) -> None:
        assert self.machine.generation == self.eras - 1
        assert all(
            (ticket.permit.generation == self.machine.generation) is (ticket.era is self.era) for ticket in self.out
        )

    @invariant()
    def no_more_probes_are_out_than_allowed(self) -> None:
        assert len(self.era.probes_out) <= self.permits
        assert len(self.machine._probes) == len(self.era.probes_out)  # noqa: SLF001 - a leaked place shows nowhere else


TestCircuitModel = CircuitModel.TestCase
TestCircuitModel.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)

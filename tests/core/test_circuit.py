"""CircuitMachine: permits, generations and transitions, one case at a time; test_circuit_model.py has the sequences."""

from __future__ import annotations

from typing import Final

import pytest

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

STALE: Final = Settlement(stale=True)
NOTHING: Final = Settlement()


def make_machine(threshold: int = 3, recovery: float = 30.0, permits: int = 1, lease: float = 60.0) -> CircuitMachine:
    return CircuitMachine(CircuitRule(threshold, recovery, permits, lease), 0.0)


def permit_of(machine: CircuitMachine, now: float) -> Permit:
    answer = machine.admit(now).answer
    assert isinstance(answer, Permit)
    return answer


def rejection_of(machine: CircuitMachine, now: float) -> Rejection:
    answer = machine.admit(now).answer
    assert isinstance(answer, Rejection)
    return answer


def fail_times(machine: CircuitMachine, times: int, now: float = 0.0) -> Transition | None:
    transition = None
    for _ in range(times):
        transition = machine.fail(permit_of(machine, now), now, ConnectionError).transition
    return transition


def opened(*, now: float = 0.0, recovery: float = 30.0, permits: int = 1, lease: float = 60.0) -> CircuitMachine:
    machine = make_machine(1, recovery, permits, lease)
    fail_times(machine, 1, now)
    return machine


def test_new_machine__at_once__is_closed_and_quiet() -> None:
    machine = make_machine()
    assert machine.state_at(0.0) is CLOSED
    assert machine.quiet
    assert (machine.failures, machine.generation, machine.last_error) == (0, 0, None)


def test_closed_machine__asked__admits_without_probe_or_transition() -> None:
    machine = make_machine()
    admission = machine.admit(7.0)
    assert isinstance(admission.answer, Permit)
    assert not admission.answer.probe
    assert (admission.answer.generation, admission.answer.issued_at) == (0, 7.0)
    assert admission.transition is None


def test_closed_machine__failures_below_threshold__stays_closed_and_is_not_quiet() -> None:
    machine = make_machine(3)
    assert fail_times(machine, 2) is None
    assert (machine.state_at(0.0), machine.failures, machine.quiet) == (CLOSED, 2, False)


def test_closed_machine__success_between_failures__forgets_them() -> None:
    machine = make_machine(3)
    fail_times(machine, 2)
    assert machine.succeed(permit_of(machine, 1.0), 1.0) == NOTHING
    assert machine.quiet
    fail_times(machine, 2)
    assert machine.state_at(1.0) is CLOSED


def test_closed_machine__release_between_failures__changes_nothing() -> None:
    machine = make_machine(3)
    fail_times(machine, 2)
    assert machine.release(permit_of(machine, 1.0)) == NOTHING
    assert (machine.failures, machine.last_error) == (2, ConnectionError)
    fail_times(machine, 1)
    assert machine.state_at(1.0) is OPEN


def test_closed_machine__threshold_reached__opens_and_says_why() -> None:
    machine = make_machine(3)
    assert fail_times(machine, 3, now=5.0) == Transition(
        CLOSED, OPEN, TransitionReason.FAILURE_THRESHOLD, 5.0, 3, ConnectionError
    )
    assert (machine.state_at(5.0), machine.since, machine.failures) == (OPEN, 5.0, 3)


def test_open_machine__asked__rejects_with_the_seconds_left() -> None:
    machine = opened(now=10.0, recovery=30.0)
    assert machine.admit(15.0) == (Rejection(OPEN, 25.0), None)


@pytest.mark.parametrize(("now", "expected"), [(39.9, OPEN), (40.0, HALF_OPEN), (1e9, HALF_OPEN)])
def test_open_machine__time_passes_and_nobody_calls__reads_half_open_after_recovery(
    now: float, expected: CircuitState
) -> None:
    machine = opened(now=10.0, recovery=30.0)
    generation = machine.generation
    assert machine.state_at(now) is expected
    assert machine.generation == generation, "reading moves nothing"


def test_open_machine__asked_after_recovery__half_opens_and_admits_a_probe() -> None:
    machine = opened(recovery=30.0)
    admission = machine.admit(30.0)
    assert isinstance(admission.answer, Permit)
    assert admission.answer.probe
    assert admission.transition == Transition(
        OPEN, HALF_OPEN, TransitionReason.RECOVERY_TIMEOUT, 30.0, 1, ConnectionError
    )


def test_half_open_machine__probe_under_way__rejects_with_what_is_left_of_its_lease() -> None:
    machine = opened(lease=20.0)
    permit_of(machine, 30.0)
    assert rejection_of(machine, 42.0) == Rejection(HALF_OPEN, 8.0)


def test_half_open_machine__three_permits__admits_three_and_names_the_oldest_lease() -> None:
    machine = opened(permits=3, lease=20.0)
    probes = [permit_of(machine, now) for now in (30.0, 31.0, 32.0)]
    assert all(probe.probe for probe in probes)
    assert rejection_of(machine, 33.0) == Rejection(HALF_OPEN, 17.0)


def test_half_open_machine__probe_succeeds__closes_and_is_quiet() -> None:
    machine = opened()
    probe = permit_of(machine, 30.0)
    assert machine.succeed(probe, 31.0).transition == Transition(
        HALF_OPEN, CLOSED, TransitionReason.PROBE_SUCCEEDED, 31.0, 0, ConnectionError
    )
    assert machine.quiet


def test_half_open_machine__probe_fails__opens_for_another_recovery_timeout() -> None:
    machine = opened(recovery=30.0)
    probe = permit_of(machine, 30.0)
    assert machine.fail(probe, 32.0, TimeoutError).transition == Transition(
        HALF_OPEN, OPEN, TransitionReason.PROBE_FAILED, 32.0, 2, TimeoutError
    )
    assert machine.state_at(61.9) is OPEN
    assert machine.state_at(62.0) is HALF_OPEN


def test_half_open_machine__probe_is_released__stays_half_open_and_admits_the_next() -> None:
    machine = opened()
    assert machine.release(permit_of(machine, 30.0)) == NOTHING
    assert machine.state_at(31.0) is HALF_OPEN
    assert permit_of(machine, 31.0).probe


def test_half_open_machine__probe_never_comes_back__lease_ends_and_another_may_pass() -> None:
    machine = opened(lease=20.0)
    lost = permit_of(machine, 30.0)
    rejection_of(machine, 49.9)
    second = permit_of(machine, 50.0)
    assert machine.fail(lost, 51.0, ConnectionError) == STALE
    assert machine.succeed(lost, 51.0) == STALE
    assert machine.release(lost) == STALE
    assert machine.state_at(51.0) is HALF_OPEN
    rejection_of(machine, 51.0)  # the lost probe gave no second place back
    assert machine.succeed(second, 52.0).transition is not None


@pytest.mark.parametrize("first", ["succeed", "fail", "release"])
@pytest.mark.parametrize("second", ["succeed", "fail", "release"])
def test_half_open_machine__probe_returned_twice__second_time_changes_nothing(first: str, second: str) -> None:
    machine = opened(permits=2)
    probe = permit_of(machine, 30.0)

    def settle(how: str) -> Settlement:
        if how == "fail":
            return machine.fail(probe, 31.0, ConnectionError)
        return machine.succeed(probe, 31.0) if how == "succeed" else machine.release(probe)

    assert not settle(first).stale
    before = (machine.state_at(31.0), machine.generation, machine.failures, machine.since)
    assert settle(second) == STALE
    assert (machine.state_at(31.0), machine.generation, machine.failures, machine.since) == before


def test_half_open_machine__late_success_of_the_closed_time__changes_nothing() -> None:
    # R3: elsewhere it closes the circuit while the probe is still on its way.
    machine = make_machine(1)
    late = permit_of(machine, 0.0)
    fail_times(machine, 1)
    probe = permit_of(machine, 30.0)
    assert machine.succeed(late, 31.0) == STALE
    assert machine.state_at(31.0) is HALF_OPEN
    assert machine.succeed(probe, 32.0).transition is not None


def test_recovered_machine__late_failures_of_the_closed_time__change_nothing() -> None:
    # R10, E13: elsewhere they open the circuit that has just recovered.
    machine = make_machine(1)
    late = [permit_of(machine, 0.0) for _ in range(5)]
    fail_times(machine, 1)
    machine.succeed(permit_of(machine, 30.0), 31.0)
    assert {machine.fail(permit, 32.0, ConnectionError) for permit in late} == {STALE}
    assert (machine.state_at(32.0), machine.failures) == (CLOSED, 0)


@pytest.mark.parametrize("settle", ["succeed", "fail", "release"])
def test_half_open_machine__stale_results__give_no_extra_place(settle: str) -> None:
    # R2, R8: elsewhere each of them adds a permit.
    machine = make_machine(1, permits=2)
    late = [permit_of(machine, 0.0) for _ in range(5)]
    fail_times(machine, 1)
    permit_of(machine, 30.0)
    permit_of(machine, 30.0)
    for permit in late:
        if settle == "fail":
            assert machine.fail(permit, 31.0, ConnectionError) == STALE
        else:
            assert (machine.succeed(permit, 31.0) if settle == "succeed" else machine.release(permit)) == STALE
    rejection_of(machine, 31.0)


def test_half_open_machine__probe_of_an_earlier_half_open_time__changes_nothing() -> None:
    # E13, second half.
    machine = opened(permits=2)
    early = permit_of(machine, 30.0)
    machine.fail(permit_of(machine, 30.0), 31.0, ConnectionError)
    permit_of(machine, 61.0)
    assert machine.succeed(early, 62.0) == STALE
    assert machine.state_at(62.0) is HALF_OPEN


def test_force__open_from_closed__is_a_manual_transition_and_recovers_as_always() -> None:
    machine = make_machine(recovery=30.0)
    assert machine.force(OPEN, 4.0) == Transition(CLOSED, OPEN, TransitionReason.MANUAL, 4.0, 0, None)
    assert machine.state_at(33.9) is OPEN
    assert machine.state_at(34.0) is HALF_OPEN


def test_force__closed_from_open__forgets_failures_and_their_error() -> None:
    machine = opened()
    transition = machine.force(CLOSED, 4.0)
    assert transition is not None
    assert (transition.from_state, transition.to_state, transition.reason) == (OPEN, CLOSED, TransitionReason.MANUAL)
    assert (machine.failures, machine.last_error, machine.quiet) == (0, None, True)


def test_force__half_open_from_closed__admits_one_probe() -> None:
    machine = make_machine()
    assert machine.force(HALF_OPEN, 1.0) is not None
    assert permit_of(machine, 1.0).probe
    rejection_of(machine, 1.0)


@pytest.mark.parametrize("state", list(CircuitState))
def test_force__state_it_is_in__restarts_it_without_a_transition(state: CircuitState) -> None:
    machine = make_machine(recovery=30.0)
    machine.force(state, 0.0)
    permit = machine.admit(1.0).answer
    generation = machine.generation
    assert machine.force(state, 20.0) is None
    assert (machine.since, machine.state_at(40.0)) == (20.0, state)
    assert machine.generation > generation
    if isinstance(permit, Permit):
        assert machine.succeed(permit, 41.0) == STALE


def test_force__half_open_with_a_probe_under_way__frees_its_place() -> None:
    machine = opened()
    lost = permit_of(machine, 30.0)
    machine.force(HALF_OPEN, 31.0)
    permit_of(machine, 31.0)
    assert machine.succeed(lost, 32.0) == STALE


def test_machine__clock_steps_back__keeps_its_state_and_opens_no_gap() -> None:
    # R7: time that goes back must not prolong anything for ever, nor admit more.
    machine = opened(now=100.0, recovery=30.0)
    assert machine.state_at(50.0) is OPEN
    permit_of(machine, 130.0)
    assert rejection_of(machine, 120.0).retry_after >= 0.0


def test_generation__every_transition__moves_it_on() -> None:
    machine = make_machine(1)
    seen = [machine.generation]
    fail_times(machine, 1)
    seen.append(machine.generation)
    probe = permit_of(machine, 30.0)
    seen.append(machine.generation)
    machine.succeed(probe, 31.0)
    seen.append(machine.generation)
    assert seen == sorted(set(seen))

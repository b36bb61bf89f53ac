"""Circuit breaker: stop calling what keeps failing, and find out by probes when it is back."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import Any, Final, NoReturn, Self, overload

from telemetrix import clock, context
from telemetrix._core import checks
from telemetrix._core.circuit import (
    CircuitMachine,
    CircuitRule,
    CircuitState,
    Permit,
    Rejection,
    Settlement,
    Transition,
)
from telemetrix._core.outcomes import Outcome, Primitive, Reason
from telemetrix.bus import default_bus as bus
from telemetrix.calls import Call, Operation
from telemetrix.errors import CallRejectedError, CircuitOpenError, OperationTimeout
from telemetrix.events import (
    CallRejected,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitRegistered,
    CircuitTransition,
    ProbeFinished,
    StaleResultDropped,
)
from telemetrix.locks import survive_fork
from telemetrix.primitives._targets import (
    Args,
    Decorator,
    Function,
    Kwargs,
    P,
    R,
    caller_place,
    decorate,
    function_name,
    is_async,
    is_function,
    operation_for,
    refuse_unguardable,
)
from telemetrix.primitives._wrapper import OBSERVED, RECORD, START, write_wrapper
from telemetrix.primitives.retry import Exceptions, observing_callback

_TRANSITIONS: Final[dict[CircuitState, type[CircuitTransition]]] = {
    CircuitState.OPEN: CircuitOpened,
    CircuitState.HALF_OPEN: CircuitHalfOpened,
    CircuitState.CLOSED: CircuitClosed,
}

# The generation is read before `busy`: if the circuit opens in between, the result is stale, never miscounted.
_WRAPPER: Final = f"""\
tx_generation = tx_circuit.generation
if tx_circuit.busy:
    tx_left = tx_circuit.open_until - tx_now()
    if tx_left > 0 and (tx_bus.watch is None or not tx_bus.watch()):
        raise tx_rejection(tx_left)
    return $await tx_observed($pack)
{OBSERVED}
{START}
try:
    tx_result = $await tx_function($call)
except BaseException as tx_error:
    tx_failed(tx_error, tx_started, tx_generation)
    raise
if tx_circuit.busy:
    tx_succeeded(tx_generation)
{RECORD}
return tx_result
"""

_INTERRUPTIONS: Final = (KeyboardInterrupt, SystemExit, GeneratorExit)

_entered: ContextVar[tuple[tuple[CircuitBreaker, Call, Permit], ...]] = ContextVar("telemetrix_circuits", default=())


class CircuitBreaker:
    """Lets calls through while they succeed, rejects them after too many failures, and probes for recovery.

    One object guards everything it decorates, wraps (`with breaker:`, `async with breaker:`) or calls (`call`,
    `acall`), from many threads and tasks at once. No lock is held while the guarded code runs.

    Parameters:
        failure_threshold: failures in a row that open the circuit; 1 or more.
        recovery_timeout: seconds it stays open; then one probe may pass while everyone else is rejected.
        expected_exception: the exception classes that count as failures. Others reach the caller and change nothing,
            neither do KeyboardInterrupt, telemetrix's own rejections, and cancellation (unless it came from an
            enclosing `timeout` whose time was up: then the function hung, and that counts).
        on_open: called without arguments after the circuit has opened; what it raises is counted and ignored.
        on_close: the same, after it has closed.
        name: the circuit's name in telemetry; None is the name of the first function it decorates, or the place it was
            made at. Two breakers should not share a name: their series would be one.

    Raises:
        CircuitOpenError: from a guarded call, when the circuit let nothing through.
        ValueError, TypeError: a setting is out of range; at construction.

    Telemetry:
        span `circuit_breaker <operation>`; events `CircuitOpened`, `CircuitHalfOpened`, `CircuitClosed`,
        `CallRejected`, `ProbeFinished`, `StaleResultDropped`; metrics `calls_total`, `call_duration_seconds`,
        `errors_total`, `circuit_state` and the other `circuit_*`.

    The pattern: Michael T. Nygard, "Release It!"; Martin Fowler, "CircuitBreaker".
    """

    __slots__ = (
        "__weakref__",
        "_blocks",
        "_expected",
        "_label",
        "_lock",
        "_machine",
        "_made_at",
        "_name",
        "_on_close",
        "_on_open",
        "_operation",
        "busy",
        "generation",
        "open_until",
    )

    def __init__(
        self,
        failure_threshold: int = 5,
        recovery_timeout: float = 60.0,
        expected_exception: Exceptions = Exception,
        on_open: Callable[[], object] | None = None,
        on_close: Callable[[], object] | None = None,
        name: str | None = None,
    ) -> None:
        recovery = checks.seconds("recovery_timeout", recovery_timeout)
        rule = CircuitRule(checks.count("failure_threshold", failure_threshold), recovery, probe_lease=recovery)
        self._expected = checks.exception_types("expected_exception", expected_exception)
        self._on_open = observing_callback("on_open", on_open)
        self._on_close = observing_callback("on_close", on_close)
        self._name = checks.optional_name("name", name)
        self._made_at = caller_place(1)
        self._operation: Operation | None = None
        self._machine = CircuitMachine(rule, clock.current().monotonic())
        self._lock = threading.Lock()
        # Read by the fast path without the lock; written under it.
        self.busy: bool = False
        self.generation: int = 0
        self.open_until: float = -math.inf
        self._label = ""
        self._blocks: list[tuple[CircuitBreaker, Call, Permit]] = []
        survive_fork(self)
        if self._name is not None:
            self._register()

    def __repr__(self) -> str:
        return f"<CircuitBreaker {self._name or self._made_at} {self.state}>"

    # What it tells

    @property
    def name(self) -> str:
        """The circuit's name in telemetry."""
        if self._name is None:
            self._name = self._made_at
            self._register()
        return self._name

    @property
    def state(self) -> CircuitState:
        """Where the circuit stands now; an open one is half-open as soon as `recovery_timeout` has passed.

        Can be set, to bring a circuit into a state by hand.
        """
        return self._machine.state_at(clock.current().monotonic())

    @state.setter
    def state(self, state: CircuitState) -> None:
        if not isinstance(state, CircuitState):
            raise checks.refuse_type("state", state, "a CircuitState")
        self._force(state)

    @property
    def failure_count(self) -> int:
        """Failures in a row; after opening, those that opened it."""
        return self._machine.failures

    def open(self) -> None:
        """Open the circuit by hand; it recovers as always, `recovery_timeout` seconds from now."""
        self._force(CircuitState.OPEN)

    def reset(self) -> None:
        """Close the circuit by hand and forget its failures."""
        self._force(CircuitState.CLOSED)

    # Guarding

    def __call__(self, function: Callable[P, R], /) -> Callable[P, R]:
        """Guard a function, method or coroutine function."""
        guarded: Callable[P, R] = decorate(function, "circuit breaker", self._wrap)
        return guarded

    def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function once, guarded."""
        if is_async(function):
            raise TypeError(f"call cannot guard the coroutine function {function_name(function)}: use acall")
        if not inspect.isclass(function):
            refuse_unguardable(function, "call")
        result: R = self._run(self._own_operation(function), function, args, kwargs)
        return result

    async def acall(self, function: Callable[P, Awaitable[R]], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Await a coroutine function once, guarded."""
        if not is_async(function):
            raise TypeError(f"acall cannot guard {function_name(function)}: it is not a coroutine function; use call")
        result: R = await self._async_run(self._own_operation(function), function, args, kwargs)
        return result

    def __enter__(self) -> Self:
        if self._operation is None:
            self._operation = bus.operation(Primitive.CIRCUIT_BREAKER, self.name)
        call, permit = self._admit(self._operation)
        entry = (self, call, permit)
        _entered.set((*_entered.get(), entry))
        self._blocks.append(entry)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stack = _entered.get()
        # Blocks of one task or thread nest, so the innermost entry of this breaker is the one that ends. A block that
        # is left in another context than it was entered in (a generator resumed elsewhere) ends the latest there is.
        own = [entry for entry in stack if entry[0] is self]
        if not own and not self._blocks:
            return
        entry = own[-1] if own else self._blocks[-1]
        _entered.set(tuple(other for other in stack if other is not entry))
        self._blocks = [other for other in self._blocks if other is not entry]
        _, call, permit = entry
        if error is None:
            self._succeeded(call, permit)
        else:
            self._failed(call, permit, error)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def _wrap(self, function: Function) -> Any:
        operation = self._own_operation(function)
        run = self._async_run if is_async(function) else self._run
        names = {
            "tx_circuit": self,
            "tx_observed": partial(run, operation, function),
            "tx_rejection": partial(self._turned_away, operation),
            "tx_failed": partial(self._failed_unobserved, operation),
            "tx_succeeded": self._succeeded_unobserved,
        }
        wrapper = write_wrapper(function, _WRAPPER, operation, names)
        wrapper.circuit_breaker = self
        return wrapper

    def _own_operation(self, function: Any) -> Operation:
        operation = operation_for(Primitive.CIRCUIT_BREAKER, function)
        if self._name is None:
            self._name = operation.name
            self._register()
        return operation

    # Drivers

    def _run(self, operation: Operation, function: Function, args: Args, kwargs: Kwargs) -> Any:
        call, permit = self._admit(operation)
        try:
            result = function(*args, **kwargs)
        except BaseException as error:
            self._failed(call, permit, error)
            raise
        self._succeeded(call, permit)
        return result

    async def _async_run(self, operation: Operation, function: Function, args: Args, kwargs: Kwargs) -> Any:
        call, permit = self._admit(operation)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:
            self._failed(call, permit, error)
            raise
        self._succeeded(call, permit)
        return result

    # Steps

    def _admit(self, operation: Operation) -> tuple[Call, Permit]:
        now = clock.current().monotonic()
        if now < self.open_until:
            # Without the lock: while a circuit is open, turning calls away is all it does.
            self._reject(operation, now, Rejection(CircuitState.OPEN, self.open_until - now))
        with self._lock:
            answer, transition = self._machine.admit(now)
            generation = self._mirror()
        if transition is not None:
            self._publish(transition, generation)
        if isinstance(answer, Rejection):
            self._reject(operation, now, answer)
        if bus.watch is None:
            return Call(operation, now), answer
        state = CircuitState.HALF_OPEN if answer.probe else CircuitState.CLOSED
        return bus.begin(operation, now, self._attributes(state)), answer

    def _reject(self, operation: Operation, now: float, rejection: Rejection) -> NoReturn:
        watch = bus.watch
        if rejection.state is CircuitState.OPEN and (watch is None or not watch()):
            raise self._turned_away(operation, rejection.retry_after)
        reason = Reason.OPEN if rejection.state is CircuitState.OPEN else Reason.HALF_OPEN
        call = bus.begin(operation, now, self._attributes(rejection.state))
        error = CircuitOpenError(self.name, rejection.state.value, rejection.retry_after, self._machine.last_error)
        try:
            try:
                self._tell_rejection(operation, rejection.retry_after, reason)
            finally:
                bus.finish(call, Outcome.REJECTED, reason, now, error)
            raise error
        finally:
            del error  # its traceback leads back to this frame

    def _turned_away(self, operation: Operation, retry_after: float) -> CircuitOpenError:
        """The error for a call that nobody watches; counted in place, for an open circuit turns away in bulk."""
        operation.rejections[0] += 1
        self._tell_rejection(operation, retry_after, Reason.OPEN)
        return CircuitOpenError(self._name or self.name, "open", retry_after, self._machine.last_error)

    def _tell_rejection(self, operation: Operation, retry_after: float, reason: Reason) -> None:
        if bus.listens(CallRejected):
            now = clock.current().monotonic()
            bus.publish(CallRejected(now, operation.primitive, operation.name, self.name, reason, retry_after))

    def _attributes(self, state: CircuitState) -> dict[str, str]:
        return {"telemetrix.circuit.name": self.name, "telemetrix.circuit.state": state.value}

    def _succeeded(self, call: Call, permit: Permit) -> None:
        now = clock.current().monotonic()
        with self._lock:
            settlement = self._machine.succeed(permit, now)
            generation = self._mirror()
        try:
            self._settled(settlement, permit, Outcome.SUCCESS, now, generation)
        finally:
            bus.finish(call, Outcome.SUCCESS, Reason.PASSED, now)

    def _failed(self, call: Call, permit: Permit, error: BaseException) -> None:
        now = clock.current().monotonic()
        outcome, reason, kind = self._ending(error, now)
        with self._lock:
            if reason is Reason.COUNTED:
                settlement = self._machine.fail(permit, now, kind)
            else:
                settlement = self._machine.release(permit)
            generation = self._mirror()
        if outcome is Outcome.FAILURE:
            call.failed_with(error)
        try:
            self._settled(
                settlement, permit, Outcome.CANCELLED if reason is Reason.IGNORED else outcome, now, generation
            )
        finally:
            bus.finish(call, outcome, reason, now, error)

    def _failed_unobserved(
        self, operation: Operation, error: BaseException, started_at: float, generation: int
    ) -> None:
        self._failed(Call(operation, started_at), Permit(generation, started_at, probe=False), error)

    def _succeeded_unobserved(self, generation: int) -> None:
        now = clock.current().monotonic()
        permit = Permit(generation, now, probe=False)
        with self._lock:
            settlement = self._machine.succeed(permit, now)
            generation = self._mirror()
        self._settled(settlement, permit, Outcome.SUCCESS, now, generation)

    def _ending(self, error: BaseException, now: float) -> tuple[Outcome, Reason, type[BaseException]]:
        if isinstance(error, Exception):
            expected = isinstance(error, self._expected) and not _never_ran(error)
            return Outcome.FAILURE, Reason.COUNTED if expected else Reason.IGNORED, type(error)
        deadline = context.deadline()
        if deadline is not None and now >= deadline and not isinstance(error, _INTERRUPTIONS):
            # Cancelled by an enclosing `timeout`, because what is guarded here hung: that is what a circuit is for.
            return Outcome.FAILURE, Reason.COUNTED, OperationTimeout
        return Outcome.CANCELLED, Reason.CANCELLED, type(error)

    def _settled(self, settlement: Settlement, permit: Permit, outcome: Outcome, now: float, generation: int) -> None:
        if settlement.stale:
            if bus.listens(StaleResultDropped):
                bus.publish(StaleResultDropped(now, self._label, outcome))
        elif permit.probe:
            bus.publish(ProbeFinished(now, self._label, outcome))
        if settlement.transition is not None:
            self._publish(settlement.transition, generation)

    def _force(self, state: CircuitState) -> None:
        now = clock.current().monotonic()
        with self._lock:
            transition = self._machine.force(state, now)
            generation = self._mirror()
        if transition is not None:
            self._publish(transition, generation)
        elif self._name is not None:
            self._register()

    def _mirror(self) -> int:
        """Copy what the fast path reads; returns the generation, the number of a transition that may have happened."""
        machine = self._machine
        self.busy = not machine.quiet
        self.generation = machine.generation
        self.open_until = machine.reopens_to_probes_at if machine.is_open else -math.inf
        return self.generation

    def _register(self) -> None:
        name = self.name
        if not self._label:
            self._label = bus.label("circuit", name)
        with self._lock:
            event = self._registration()
        bus.retain(("circuit", self._label), event)
        bus.publish(event)

    def _registration(self) -> CircuitRegistered:
        machine = self._machine
        now = clock.current().monotonic()
        state = CircuitState.OPEN if machine.is_open else machine.state_at(now)
        return CircuitRegistered(
            now, self._label, state, machine.since, machine.rule.recovery_timeout, machine.generation
        )

    def _publish(self, transition: Transition, generation: int) -> None:
        if self._name is None:
            self._name = self._made_at
        rule = self._machine.rule
        if not self._label:
            self._register()
        with self._lock:
            event = self._registration()
        bus.retain(("circuit", self._label), event)
        bus.publish(
            _TRANSITIONS[transition.to_state](
                transition.at,
                self._label,
                transition.from_state,
                transition.to_state,
                transition.reason,
                transition.failures,
                rule.failure_threshold,
                rule.recovery_timeout,
                transition.last_error,
                generation,
            )
        )
        if transition.to_state is CircuitState.OPEN and self._on_open is not None:
            bus.observe(self._on_open, "on_open")
        if transition.to_state is CircuitState.CLOSED and self._on_close is not None:
            bus.observe(self._on_close, "on_close")

    def renew_locks(self) -> None:
        """After a fork; see `telemetrix.locks`."""
        self._lock = threading.Lock()


def _never_ran(error: Exception) -> bool:
    """Whether the error says that a guard further in let nothing through, which is no failure of what is guarded."""
    return isinstance(error, CallRejectedError) or (isinstance(error, OperationTimeout) and not error.started)


@overload
def circuit_breaker(failure_threshold: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def circuit_breaker(
    failure_threshold: int = 5,
    recovery_timeout: float = 60.0,
    expected_exception: Exceptions = Exception,
    on_open: Callable[[], object] | None = None,
    on_close: Callable[[], object] | None = None,
    name: str | None = None,
) -> Decorator: ...
def circuit_breaker(
    failure_threshold: Any = 5,
    recovery_timeout: float = 60.0,
    expected_exception: Exceptions = Exception,
    on_open: Callable[[], object] | None = None,
    on_close: Callable[[], object] | None = None,
    name: str | None = None,
) -> Any:
    """Guard a function with a circuit breaker of its own; also without parentheses.

    The parameters, errors and telemetry are those of `CircuitBreaker`. The breaker is the decorated function's
    attribute `circuit_breaker`.
    """
    if is_function(failure_threshold):
        return circuit_breaker()(failure_threshold)

    def guard(function: Any) -> Any:
        breaker = CircuitBreaker(failure_threshold, recovery_timeout, expected_exception, on_open, on_close, name)
        return breaker(function)

    # Bad settings are refused here, not when the decorator meets a function.
    CircuitBreaker(failure_threshold, recovery_timeout, expected_exception, on_open, on_close)
    return guard

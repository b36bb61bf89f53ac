"""telemetrix itself, with more and more of its telemetry on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from itertools import count
from typing import Any

from benchmarks.cases.shapes import (
    FLAKY,
    OPEN,
    SUCCESS,
    floor_target,
    rejecting,
    returning,
    trip,
)
from benchmarks.harness import Case, Target
from benchmarks.modes import A_FOLD, Mode, drain, switch
from benchmarks.subjects import Function, Kind, PlannedError, failing, flaky, healthy

_ids = count()
_SEEN = (Mode.OFF, Mode.DEFAULT, Mode.UNSAMPLED, Mode.SAMPLED)
_EVENTFUL = (Mode.OFF, Mode.DEFAULT, Mode.LOGGED, Mode.UNSAMPLED, Mode.SAMPLED)
"""An uneventful success never logs, so that logs matter only for the others."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A primitive, or two of them.

    Parameters:
        label: what the rows are called.
        wrap: decorates a function.
        spans: spans of a successful call.
        targets: as multiples of the floor, by kind, shape and mode.
    """

    label: str
    wrap: Callable[[Function], Function]
    spans: int
    targets: dict[tuple[Kind, str, Mode], float]


def sampled_key(kind: Kind, guard: Guard) -> str:
    """The row of by-hand spans that a guard's sampled row is held against."""
    return f"{kind}/{SUCCESS}/by hand: {guard.label}'s spans"


def build(left_out: list[str]) -> list[Case]:
    """All rows of telemetrix, or a line that says why there are none."""
    try:
        import_module("telemetrix").configure  # noqa: B018 - whether it is there
    except (ImportError, AttributeError) as error:
        left_out.append(f"telemetrix: {type(error).__name__}: {error}")
        return []
    found: list[Case] = []
    for kind in Kind:
        for guard in GUARDS:
            found += [_success(kind, guard, mode) for mode in _SEEN]
        found += [_recovery(kind, guard, mode) for guard in (_RETRY, _STACK) for mode in _EVENTFUL]
        found += [_served(kind, mode) for mode in _EVENTFUL]
        found += [_rejection(kind, mode) for mode in _EVENTFUL]
    return found


def _success(kind: Kind, guard: Guard, mode: Mode) -> Case:
    target = _target(kind, guard, SUCCESS, mode)
    if mode is Mode.SAMPLED:
        target = Target(1.1, sampled_key(kind, guard), "by hand")
    return returning(
        guard.wrap(healthy(kind)),
        kind,
        SUCCESS,
        _label(guard, mode),
        target=target,
        **_conditions(SUCCESS, mode),
    )


def _recovery(kind: Kind, guard: Guard, mode: Mode) -> Case:
    return returning(
        guard.wrap(flaky(kind)),
        kind,
        FLAKY,
        _label(guard, mode),
        target=_target(kind, guard, FLAKY, mode),
        **_conditions(FLAKY, mode),
    )


def _served(kind: Kind, mode: Mode) -> Case:
    """A fallback has nothing to recover: its counterpart is the value it serves."""
    return returning(
        _FALLBACK.wrap(failing(kind)),
        kind,
        FLAKY,
        f"{_FALLBACK.label} serves a value: {mode}",
        **_conditions(FLAKY, mode),
    )


def _rejection(kind: Kind, mode: Mode) -> Case:
    telemetrix = import_module("telemetrix")
    switch(Mode.OFF)()
    refused = _BREAKER.wrap(failing(kind))
    trip(refused, kind)
    return rejecting(
        refused,
        telemetrix.CircuitOpenError,
        kind,
        _label(_BREAKER, mode),
        target=_target(kind, _BREAKER, OPEN, mode),
        **_conditions(OPEN, mode),
    )


def _label(guard: Guard, mode: Mode) -> str:
    return f"{guard.label}: {mode}"


def _target(kind: Kind, guard: Guard, shape: str, mode: Mode) -> Target | None:
    limit = guard.targets.get((kind, shape, mode))
    return None if limit is None else floor_target(kind, limit)


def _conditions(shape: str, mode: Mode) -> dict[str, Any]:
    seen_live = mode in {Mode.UNSAMPLED, Mode.SAMPLED}
    queued = mode is not Mode.OFF and (seen_live or shape != SUCCESS)
    return {
        "prepare": switch(mode),
        "settle": drain if mode is Mode.SAMPLED else lambda: None,
        "at_least": A_FOLD if queued else 1,
        # The others would take minutes.
        "counted": mode in {Mode.OFF, Mode.DEFAULT},
    }


def _retry(fn: Function) -> Function:
    guarded: Function = import_module("telemetrix").retry(max_attempts=3, delay=0)(fn)
    return guarded


def _breaker(fn: Function) -> Function:
    guarded: Function = import_module("telemetrix").circuit_breaker(
        failure_threshold=5,
        recovery_timeout=3600.0,
        expected_exception=PlannedError,
        name=f"bench-{next(_ids)}",
    )(fn)
    return guarded


def _stack(fn: Function) -> Function:
    return _retry(_breaker(fn))


def _fallback(fn: Function) -> Function:
    guarded: Function = import_module("telemetrix").fallback(1)(fn)
    return guarded


_ONE_PRIMITIVE = {
    (Kind.SYNC, SUCCESS, Mode.OFF): 0.6,
    (Kind.SYNC, SUCCESS, Mode.DEFAULT): 1.6,
    (Kind.ASYNC, SUCCESS, Mode.OFF): 1.6,
    (Kind.ASYNC, SUCCESS, Mode.DEFAULT): 1.6,
}
_RETRY = Guard(
    "@retry",
    _retry,
    spans=2,
    targets=_ONE_PRIMITIVE | {(kind, FLAKY, Mode.DEFAULT): 8.0 for kind in Kind},
)
_BREAKER = Guard(
    "@circuit_breaker",
    _breaker,
    spans=1,
    targets=_ONE_PRIMITIVE | {(kind, OPEN, Mode.DEFAULT): 3.0 for kind in Kind},
)
_STACK = Guard(
    "@retry over @circuit_breaker",
    _stack,
    spans=3,
    targets={(kind, SUCCESS, Mode.DEFAULT): 3.0 for kind in Kind},
)
_FALLBACK = Guard("@fallback", _fallback, spans=1, targets={})

GUARDS = (_RETRY, _BREAKER, _STACK, _FALLBACK)

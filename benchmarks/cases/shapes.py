"""What can happen in a call, and how to build a case for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from benchmarks.harness import Case, Target
from benchmarks.subjects import Function, Kind, call_once, calls, rejections

SUCCESS = "success"
FLAKY = "one failure, then success"
OPEN = "open circuit"
SHAPES = (SUCCESS, FLAKY, OPEN)

STAR = "floor: *args, **kwargs, try"

_sleep = time.sleep
_sleep_async = asyncio.sleep


def floor_key(kind: Kind) -> str:
    """The smallest wrapper that could guard any function; what ratios refer to."""
    return f"{kind}/{SUCCESS}/{STAR}"


def floor_target(kind: Kind, limit: float) -> Target:
    """At most `limit` times the floor."""
    return Target(limit, floor_key(kind))


def no_sleep(_seconds: float = 0.0, /) -> None:
    """Stands in for `time.sleep`, so that a row is the library's own work and not the kernel's."""


async def no_sleep_async(_seconds: float = 0.0, /, _result: Any = None) -> Any:
    """Stands in for `asyncio.sleep`."""


def without_sleeping() -> None:
    """Zero delays cost nothing until `with_sleeping`."""
    time.sleep = no_sleep  # type: ignore[assignment]
    asyncio.sleep = no_sleep_async  # type: ignore[assignment]


def with_sleeping() -> None:
    """Undo `without_sleeping`."""
    time.sleep = _sleep
    asyncio.sleep = _sleep_async


def returning(function: Function, kind: Kind, shape: str, label: str, **more: Any) -> Case:
    """A case whose calls return their first argument."""

    def check() -> None:
        returned = call_once(function, kind)
        if returned != 1:
            raise AssertionError(f"returned {returned!r}")

    return Case(kind, shape, label, calls(function, kind), check=check, **more)


def rejecting(function: Function, error: type[BaseException], kind: Kind, label: str, **more: Any) -> Case:
    """A case whose calls are refused with `error`."""

    def check() -> None:
        try:
            call_once(function, kind)
        except error:
            return
        raise AssertionError(f"did not raise {error.__name__}")

    return Case(kind, OPEN, label, rejections(function, error, kind), check=check, **more)


def trip(function: Function, kind: Kind, *, times: int = 30) -> None:
    """Call a guarded function that always fails until its circuit has opened for certain."""
    for _ in range(times):
        try:
            call_once(function, kind)
        except Exception:  # noqa: BLE001, S110 - libraries differ in what the tripping call raises
            pass


def both_kinds(build: Callable[[Kind], list[Case]]) -> list[Case]:
    """The sync cases, then the async ones."""
    return [case for kind in Kind for case in build(kind)]

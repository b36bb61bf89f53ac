"""What nobody can get below: the bare call, and the smallest wrappers."""

from __future__ import annotations

from functools import wraps
from time import monotonic
from typing import Any

from benchmarks.cases.shapes import (
    FLAKY,
    STAR,
    SUCCESS,
    both_kinds,
    rejecting,
    returning,
)
from benchmarks.harness import Case
from benchmarks.subjects import Function, Kind, PlannedError, failing, flaky, fresh, healthy


class _RefusedError(Exception):
    """A rejection that carries the least a handler needs."""

    __slots__ = ("retry_after",)

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after


def build() -> list[Case]:
    """All floors."""
    return both_kinds(_floors)


def _floors(kind: Kind) -> list[Case]:
    is_sync = kind is Kind.SYNC
    star = _star if is_sync else _star_async
    own = _own_signature if is_sync else _own_signature_async
    again = _again if is_sync else _again_async
    refuse = _refuse if is_sync else _refuse_async
    return [
        returning(healthy(kind), kind, SUCCESS, "bare call"),
        returning(star(healthy(kind)), kind, SUCCESS, STAR),
        returning(own(healthy(kind)), kind, SUCCESS, "floor: own signature, try"),
        returning(again(flaky(kind)), kind, FLAKY, "by hand: except, call again"),
        rejecting(refuse(failing(kind)), _RefusedError, kind, "by hand: clock read, raise"),
    ]


def _star(fn: Function) -> Function:
    @wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except PlannedError:
            return None

    return fresh(wrapper)


def _star_async(fn: Function) -> Function:
    @wraps(fn)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return await fn(*args, **kwargs)
        except PlannedError:
            return None

    return fresh(wrapper)


def _own_signature(fn: Function) -> Function:
    def wrapper(a: int, b: int = 0) -> Any:
        try:
            return fn(a, b)
        except PlannedError:
            return None

    return fresh(wrapper)


def _own_signature_async(fn: Function) -> Function:
    async def wrapper(a: int, b: int = 0) -> Any:
        try:
            return await fn(a, b)
        except PlannedError:
            return None

    return fresh(wrapper)


def _again(fn: Function) -> Function:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return fn(*args, **kwargs)
        except PlannedError:
            return fn(*args, **kwargs)

    return fresh(wrapper)


def _again_async(fn: Function) -> Function:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return await fn(*args, **kwargs)
        except PlannedError:
            pass
        return await fn(*args, **kwargs)

    return fresh(wrapper)


def _refuse(fn: Function) -> Function:
    opened_at = monotonic()

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        elapsed = monotonic() - opened_at
        if elapsed < 3600.0:
            raise _RefusedError(3600.0 - elapsed)
        return fn(*args, **kwargs)

    return fresh(wrapper)


def _refuse_async(fn: Function) -> Function:
    opened_at = monotonic()

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        elapsed = monotonic() - opened_at
        if elapsed < 3600.0:
            raise _RefusedError(3600.0 - elapsed)
        return await fn(*args, **kwargs)

    return fresh(wrapper)

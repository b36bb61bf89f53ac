"""The functions that get guarded, and the loops that call them.

Every case gets functions with bytecode of their own: CPython specialises instructions per code
object, so a loop or a function shared by two cases would make each slower than it is alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from functools import cache
from itertools import count, repeat
from time import thread_time_ns
from types import FunctionType
from typing import Any, cast

Function = Callable[..., Any]
Run = Callable[[int], int]
"""Makes n calls (a multiple of CALLS_PER_TURN) and returns the thread's CPU time for them in ns."""

CALLS_PER_TURN = 8
"""Calls in one turn of a loop, so that the loop itself costs next to nothing per call."""


class Kind(StrEnum):
    """How the guarded function is written."""

    SYNC = "sync"
    ASYNC = "async"


class PlannedError(Exception):
    """What a failing subject raises."""


_names = count()


def fresh(function: Function) -> Function:
    """A twin of `function` with its own bytecode and its own name."""
    original = cast("FunctionType", function)
    twin = FunctionType(
        original.__code__.replace(),
        original.__globals__,
        original.__name__,
        original.__defaults__,
        original.__closure__,
    )
    twin.__kwdefaults__ = original.__kwdefaults__
    twin.__module__ = original.__module__
    twin.__qualname__ = f"{original.__name__}_{next(_names)}"
    return twin


def healthy(kind: Kind) -> Function:
    """A function that returns its first argument."""

    def g(a: int, b: int = 0) -> int:
        return a

    async def async_g(a: int, b: int = 0) -> int:
        return a

    return fresh(g if kind is Kind.SYNC else async_g)


def flaky(kind: Kind) -> Function:
    """A function that fails on every odd run and returns its first argument on every even one."""
    fails = False

    def g(a: int, b: int = 0) -> int:
        nonlocal fails
        fails = not fails
        if fails:
            raise PlannedError
        return a

    async def async_g(a: int, b: int = 0) -> int:
        nonlocal fails
        fails = not fails
        if fails:
            raise PlannedError
        return a

    return fresh(g if kind is Kind.SYNC else async_g)


def failing(kind: Kind) -> Function:
    """A function that always fails."""

    def g(a: int, b: int = 0) -> int:
        raise PlannedError

    async def async_g(a: int, b: int = 0) -> int:
        raise PlannedError

    return fresh(g if kind is Kind.SYNC else async_g)


@cache
def event_loop() -> asyncio.AbstractEventLoop:
    """The loop that every async case runs on."""
    return asyncio.new_event_loop()


def call_once(function: Function, kind: Kind) -> Any:
    """What `function(1, b=2)` returns or raises."""
    if kind is Kind.SYNC:
        return function(1, b=2)
    return event_loop().run_until_complete(_await(function(1, b=2)))


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def calls(function: Function, kind: Kind) -> Run:
    """Calls that return."""
    if kind is Kind.SYNC:
        loop = cast("Callable[[Function, int], int]", fresh(_call))
        return lambda n: loop(function, n)
    loop_async = cast("Callable[[Function, int], Coroutine[Any, Any, int]]", fresh(_call_async))
    return lambda n: event_loop().run_until_complete(loop_async(function, n))


def rejections(function: Function, error: type[BaseException], kind: Kind) -> Run:
    """Calls that raise `error`, each one caught."""
    if kind is Kind.SYNC:
        loop = cast("Callable[[Function, Any, int], int]", fresh(_catch))
        return lambda n: loop(function, error, n)
    loop_async = cast("Callable[[Function, Any, int], Coroutine[Any, Any, int]]", fresh(_catch_async))
    return lambda n: event_loop().run_until_complete(loop_async(function, error, n))


def _call(f: Function, n: int) -> int:
    start = thread_time_ns()
    for _ in repeat(None, n // 8):
        f(1, b=2)
        f(1, b=2)
        f(1, b=2)
        f(1, b=2)
        f(1, b=2)
        f(1, b=2)
        f(1, b=2)
        f(1, b=2)
    return thread_time_ns() - start


async def _call_async(f: Function, n: int) -> int:
    start = thread_time_ns()
    for _ in repeat(None, n // 8):
        await f(1, b=2)
        await f(1, b=2)
        await f(1, b=2)
        await f(1, b=2)
        await f(1, b=2)
        await f(1, b=2)
        await f(1, b=2)
        await f(1, b=2)
    return thread_time_ns() - start


def _catch(f: Function, error: type[BaseException], n: int) -> int:
    start = thread_time_ns()
    for _ in repeat(None, n):
        try:
            f(1, b=2)
        except error:
            pass
    return thread_time_ns() - start


async def _catch_async(f: Function, error: type[BaseException], n: int) -> int:
    start = thread_time_ns()
    for _ in repeat(None, n):
        try:
            await f(1, b=2)
        except error:
            pass
    return thread_time_ns() - start

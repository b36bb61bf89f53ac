"""The ambient deadline: the nearest one wins, and it goes where the context goes."""

from __future__ import annotations

import asyncio
from contextvars import copy_context

import anyio
import anyio.to_thread
import pytest

import telemetrix
from telemetrix import remaining, timeout
from telemetrix.context import deadline, deadline_scope
from telemetrix.testing import VirtualClock


def test_deadline__no_timeout_around__is_none() -> None:
    assert (deadline(), remaining()) == (None, None)


def test_remaining__inside_a_scope__is_what_is_left_and_never_less_than_0(telemetrix_clock: VirtualClock) -> None:
    with deadline_scope(1010.0):
        assert remaining() == 10.0
        telemetrix_clock.advance(4.0)
        assert remaining() == 6.0
        telemetrix_clock.advance(60.0)
        assert remaining() == 0.0
        assert deadline() == 1010.0


@pytest.mark.parametrize(("inner", "expected"), [(1005.0, 1005.0), (1010.0, 1010.0), (1020.0, 1010.0)])
def test_deadline_scope__inside_another__is_the_nearer_of_the_two(inner: float, expected: float) -> None:
    with deadline_scope(1010.0):
        with deadline_scope(inner):
            assert deadline() == expected
        assert deadline() == 1010.0
    assert deadline() is None


def test_deadline_scope__left_by_an_exception__is_over() -> None:
    with pytest.raises(KeyError), deadline_scope(1010.0):
        raise KeyError
    assert deadline() is None


def test_deadline__in_a_copied_context__is_the_copys_own() -> None:
    with deadline_scope(1010.0):
        copied = copy_context()
    assert copied.run(deadline) == 1010.0
    assert deadline() is None


@pytest.mark.anyio
async def test_deadline__in_tasks_and_worker_threads__is_inherited_and_kept_apart() -> None:
    seen: dict[str, float | None] = {}

    async def child(name: str, moment: float) -> None:
        with deadline_scope(moment):
            await anyio.lowlevel.checkpoint()
            seen[name] = deadline()
        seen[f"{name} after"] = deadline()

    with deadline_scope(1010.0):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(child, "near", 1001.0)
            tasks.start_soon(child, "far", 1020.0)
        seen["thread"] = await anyio.to_thread.run_sync(deadline)
    assert seen == {"near": 1001.0, "near after": 1010.0, "far": 1010.0, "far after": 1010.0, "thread": 1010.0}


def test_remaining__inside_timeouts__is_the_nearest_one(telemetrix_clock: VirtualClock) -> None:
    @timeout(30.0)
    def outer() -> tuple[float | None, float | None]:
        telemetrix_clock.advance(5.0)
        return (remaining(), inner())

    @timeout(60.0)
    def inner() -> float | None:
        return telemetrix.remaining()

    assert outer() == (25.0, 25.0)
    assert remaining() is None


def test_remaining__inside_a_coroutine_with_a_timeout__is_what_is_left(telemetrix_clock: VirtualClock) -> None:
    @timeout(30.0)
    async def guarded() -> float | None:
        await asyncio.sleep(0)
        return remaining()

    assert asyncio.run(guarded()) == 30.0

"""Counting successes in place is exact without a lock, and the proof could fail.

CPython hands the interpreter lock over only where it looks for requests to do so: at calls and at the end of a loop's
body. Between the load and the store of a cell there is neither, so no other thread can come in between.
"""

from __future__ import annotations

import dis
import sys
import threading
from collections.abc import Callable, Iterator
from types import CodeType
from typing import Any

import pytest

import telemetrix
from telemetrix import Primitive, circuit_breaker, fallback, retry
from telemetrix.bus import default_bus
from telemetrix.calls import DURATION_BOUNDS, SuccessCells
from telemetrix.testing import capture

THREADS = 16
CALLS = 15_000

pytestmark = pytest.mark.skipif(
    not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="without the GIL, cells are not used"
)


@pytest.fixture(autouse=True)
def eager_switching() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(autouse=True)
def unwatched() -> Iterator[None]:
    """Nobody watches calls live."""
    telemetrix.configure(tracing=False)
    assert default_bus.watch is None
    yield
    telemetrix.configure(tracing=True)


def in_threads(work: Callable[[], object]) -> None:
    start = threading.Barrier(THREADS)

    def run() -> None:
        start.wait(20)
        for _ in range(CALLS):
            work()

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)


def plain(a: int = 1, *, b: int = 2) -> int:
    return a + b


async def coroutine(a: int = 1, *, b: int = 2) -> int:
    return a + b


def awaited(guarded: Callable[[], Any]) -> Callable[[], None]:
    """Drives a coroutine that never waits, without an event loop."""

    def call() -> None:
        try:
            guarded().send(None)
        except StopIteration:
            return
        raise AssertionError("it waits")

    return call


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize(
    ("primitive", "guard"),
    [
        (Primitive.RETRY, retry(3, 0, name="cells")),
        (Primitive.CIRCUIT_BREAKER, circuit_breaker(3)),
        (Primitive.FALLBACK, fallback(None, name="cells")),
    ],
)
def test_cells__many_threads_of_successes__one_fold_counts_every_call(
    primitive: Primitive, guard: Callable[[Any], Any], is_async: bool
) -> None:
    guarded = guard(coroutine if is_async else plain)
    name = "cells"
    if primitive is Primitive.CIRCUIT_BREAKER:
        name = f"{__name__}.{guarded.__qualname__}"
    operation = default_bus.operation(primitive, name)
    before = sum(operation.successes.counts)
    with capture(spans=None) as captured:
        in_threads(awaited(guarded) if is_async else guarded)
        labels = {"primitive": primitive, "operation": name}
        assert captured.metric("telemetrix_calls_total", **labels, outcome="success") == THREADS * CALLS
        assert captured.metric("telemetrix_call_duration_seconds_count", **labels) == THREADS * CALLS
        assert captured.metric("telemetrix_calls_total", **labels) == THREADS * CALLS
    assert sum(operation.successes.counts) - before == THREADS * CALLS, "all of them were counted in place"
    assert operation.successes.seconds[0] > 0


def test_cells__negative_control_with_a_call_between_load_and_store__loses_counts() -> None:
    # What makes the test above worth something: on this interpreter, an update that can be interrupted is.
    cells = [0]

    def one() -> int:
        return 1

    def add() -> None:
        cells[0] += one()

    for _ in range(10):
        in_threads(add)
        if cells[0] < THREADS * CALLS:
            return
        cells[0] = 0
    pytest.skip("this interpreter did not switch threads inside the update in ten runs; the test above proves less")


def updates_in(code: CodeType) -> list[list[str]]:
    """The instructions of each statement that updates something in place, up to its store."""
    statements: list[list[str]] = []
    line: list[str] = []
    for instruction in dis.get_instructions(code):
        if instruction.starts_line:
            line = []
        line.append(instruction.opname)
        if instruction.opname == "STORE_SUBSCR":
            statements.append(line)
    return statements


@pytest.mark.parametrize("guard", [retry(3, 0), circuit_breaker(3), fallback(None)])
@pytest.mark.parametrize("function", [plain, coroutine])
def test_cells__written_wrapper__has_no_call_or_jump_back_between_load_and_store(
    guard: Callable[[Any], Any], function: Callable[..., Any]
) -> None:
    # The reason itself: a race that did not happen proves little. (The bucket is looked up before the cell is loaded.)
    updates = updates_in(guard(function).__code__)
    assert len(updates) == 2, "a count and the seconds"
    for opcodes in updates:
        load = max(index for index, opcode in enumerate(opcodes) if opcode == "BINARY_SUBSCR")
        switching = [op for op in opcodes[load:] if "CALL" in op or "JUMP_BACKWARD" in op or op == "RESUME"]
        assert switching == []


def test_cells__durations_at_and_around_the_bounds__fall_into_their_bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("telemetrix.clock.SystemClock.monotonic", staticmethod(lambda: now[0]))
    with default_bus.subscribe(CountsOnly()):
        taken = (0.0, *DURATION_BOUNDS, DURATION_BOUNDS[-1] + 1)

        @retry(1, name="bounds")
        def guarded(seconds: float) -> None:
            now[0] = seconds

        for seconds in taken:
            now[0] = 0.0
            guarded(seconds)
    cells = default_bus.operation(Primitive.RETRY, "bounds").successes
    assert cells.counts == [2, *[1] * len(DURATION_BOUNDS)], "a bound belongs to the bucket below it"
    assert cells.seconds == [sum(taken)]


class CountsOnly(telemetrix.Subscriber):
    reads_successes = True

    def record(self, call: telemetrix.Call) -> None: ...


def test_cells__new__have_a_bucket_per_bound_and_one_for_the_rest() -> None:
    cells = SuccessCells()
    assert cells.counts == [0] * (len(DURATION_BOUNDS) + 1)
    assert cells.seconds == [0.0]

"""`batch_with_retry` with a coroutine function, on asyncio and trio."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest
import trio

from telemetrix import batch_with_retry
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock

pytestmark = pytest.mark.usefixtures("telemetrix_clock")


def calls(captured: CapturedTelemetry, outcome: str, reason: str, primitive: str = "batch") -> float:
    labels = {"primitive": primitive, "operation": "op", "outcome": outcome, "reason": reason}
    return captured.metric("telemetrix_calls_total", **labels)


async def double(item: int) -> int:
    await anyio.lowlevel.checkpoint()
    return item * 2


@pytest.mark.anyio
@pytest.mark.parametrize("concurrency", [1, 3, 100])
async def test_batch_async_every_item_succeeds_returns_the_results_in_order(
    telemetrix_capture: CapturedTelemetry, concurrency: int
) -> None:
    result = await batch_with_retry(range(50), double, batch_size=20, concurrency=concurrency, name="op")
    assert result == ([item * 2 for item in range(50)], [])
    assert calls(telemetrix_capture, "success", "complete") == 1
    counted = telemetrix_capture.metric("telemetrix_batch_items_total", operation="op", outcome="success")
    assert counted == 50


@pytest.mark.anyio
async def test_batch_async_items_that_end_out_of_order_have_their_results_in_order(
    telemetrix_clock: VirtualClock,
) -> None:
    ended: list[int] = []
    gates = [anyio.Event() for _ in range(4)]
    gates[3].set()

    async def process(item: int) -> int:
        await gates[item].wait()
        ended.append(item)
        if item:
            gates[item - 1].set()
        return item

    successful, failed = await batch_with_retry(range(4), process, concurrency=4)
    assert ended == [3, 2, 1, 0]
    assert (successful, failed) == ([0, 1, 2, 3], [])


@pytest.mark.anyio
async def test_batch_async_concurrency_is_the_most_that_run_at_once() -> None:
    running = 0
    most = 0

    async def process(item: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        running -= 1

    await batch_with_retry(range(30), process, concurrency=4)
    assert most == 4


@pytest.mark.anyio
async def test_batch_async_item_that_fails_is_retried_by_itself(telemetrix_capture: CapturedTelemetry) -> None:
    runs: list[int] = []

    async def process(item: int) -> int:
        runs.append(item)
        await anyio.lowlevel.checkpoint()
        if item == 3 or (item == 2 and runs.count(2) <= 2):
            raise ConnectionError(f"item {item}")
        return item

    successful, failed = await batch_with_retry([1, 2, 3, 4], process, max_retries=2, concurrency=2, name="op")
    assert {item: runs.count(item) for item in (1, 2, 3, 4)} == {1: 1, 2: 3, 3: 3, 4: 1}
    assert successful == [1, 2, 4]
    assert [(item.item, item.index, str(item.error)) for item in failed] == [(3, 2, "item 3")]
    assert calls(telemetrix_capture, "success", "partial") == 1
    assert calls(telemetrix_capture, "failure", "exhausted", "retry") == 1


@pytest.mark.anyio
async def test_batch_async_nothing_runs_before_it_is_awaited() -> None:
    process = Script(["result"])
    counter = iter(range(3))
    awaitable = batch_with_retry(counter, process.acall)
    assert process.calls == 0
    assert await awaitable == (["result"] * 3, [])


@pytest.mark.anyio
async def test_batch_async_iterator_is_read_a_batch_at_a_time() -> None:
    counter = itertools.count()
    read_at: list[int] = []

    async def process(item: int) -> None:
        read_at.append(item)
        if item == 7:
            raise RuntimeError

    def limited() -> Any:
        for item in counter:
            if item == 12:
                return
            yield item
            assert item - len(read_at) < 5

    await batch_with_retry(limited(), process, batch_size=5, max_retries=0)
    assert sorted(read_at) == list(range(12))


@pytest.mark.anyio
async def test_batch_async_progress_is_told_after_each_batch() -> None:
    told: list[tuple[int, int]] = []
    await batch_with_retry(
        range(7), double, batch_size=3, concurrency=3, on_progress=lambda done, failed: told.append((done, failed))
    )
    assert told == [(3, 0), (6, 0), (7, 0)]


@pytest.mark.anyio
async def test_batch_async_without_items_returns_two_empty_lists() -> None:
    assert await batch_with_retry([], double) == ([], [])


@pytest.mark.anyio
async def test_batch_async_iterator_fails_its_error_is_raised_as_it_is(telemetrix_capture: CapturedTelemetry) -> None:
    def items() -> Any:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        await batch_with_retry(items(), double, batch_size=1, name="op")
    assert calls(telemetrix_capture, "failure", "aborted") == 1


@pytest.mark.anyio
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_batch_async_iterator_fails_with_an_exception_group_raises_the_group(
    telemetrix_capture: CapturedTelemetry, concurrency: int
) -> None:
    def items() -> Any:
        yield 1
        raise ExceptionGroup("several", [LookupError("first"), OSError("second")])

    with pytest.raises(ExceptionGroup, match="several"):
        await batch_with_retry(items(), double, batch_size=1, concurrency=concurrency, name="op")
    assert calls(telemetrix_capture, "failure", "aborted") == 1


@pytest.mark.anyio
@pytest.mark.parametrize("concurrency", [1, 3])
async def test_batch_async_cancelled_in_the_middle_stops_and_is_recorded_as_cancelled(
    telemetrix_capture: CapturedTelemetry, concurrency: int
) -> None:
    cleaned_up: list[int] = []
    started: list[int] = []

    async def process(item: int) -> None:
        started.append(item)
        if len(started) == concurrency:
            scope.cancel()
        try:
            await anyio.sleep_forever()
        finally:
            cleaned_up.append(item)

    with anyio.CancelScope() as scope:
        await batch_with_retry(range(10), process, concurrency=concurrency, name="op")
    assert scope.cancelled_caught
    assert len(started) == concurrency
    assert sorted(cleaned_up) == sorted(started)
    assert calls(telemetrix_capture, "cancelled", "cancelled") == 1
    assert calls(telemetrix_capture, "cancelled", "cancelled", "retry") == concurrency
    assert telemetrix_capture.metric("telemetrix_batch_items_total", operation="op") == 0


@pytest.mark.anyio
@pytest.mark.parametrize("concurrency", [1, 2])
async def test_batch_async_items_start_in_their_order(concurrency: int) -> None:
    for _ in range(20):  # trio starts tasks in random order
        seen: list[int] = []

        async def process(item: int, seen: list[int] = seen) -> None:
            seen.append(item)

        await batch_with_retry(range(5), process, concurrency=concurrency)
        assert seen == [0, 1, 2, 3, 4]


def run_on_asyncio(function: Callable[[], Coroutine[Any, Any, object]]) -> object:
    return asyncio.run(function())


def run_on_trio(function: Callable[[], Coroutine[Any, Any, object]]) -> object:
    return trio.run(function)


# Not on asyncio with several tasks: it lets an interruption of a child task out of the loop itself, past everybody.
@pytest.mark.parametrize(("run", "concurrency"), [(run_on_asyncio, 1), (run_on_trio, 1), (run_on_trio, 3)])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_batch_async_interrupted_raises_the_interruption_itself_and_is_recorded_as_cancelled(
    telemetrix_capture: CapturedTelemetry,
    run: Callable[[Callable[[], Any]], object],
    error: type[BaseException],
    concurrency: int,
) -> None:
    async def process(item: int) -> None:
        if item == 2:
            raise error

    with pytest.raises(error):
        run(lambda: batch_with_retry(range(5), process, concurrency=concurrency, name="op"))
    assert calls(telemetrix_capture, "cancelled", "cancelled") == 1


@pytest.mark.parametrize("settings", [{"concurrency": 0}, {"batch_size": 0}, {"max_retries": -1}, {"delay": -1}])
def test_batch_async_setting_out_of_range_is_refused_at_the_call_not_at_the_await(settings: dict[str, Any]) -> None:
    batch = cast("Any", batch_with_retry)
    with pytest.raises(ValueError, match="is not allowed"):
        batch([1], double, **settings)


class AsyncCallable:
    async def __call__(self, item: int) -> int:
        return item * 2


@pytest.mark.anyio
async def test_batch_async_object_with_an_async_call_method_processes() -> None:
    assert await batch_with_retry([1, 2], AsyncCallable()) == ([2, 4], [])

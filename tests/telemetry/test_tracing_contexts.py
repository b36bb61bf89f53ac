"""Where spans are current: threads, tasks, coroutines that are closed, and both event loops."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from opentelemetry import context, trace
from opentelemetry.context import Context

from telemetrix import (
    CircuitBreaker,
    OperationTimeout,
    async_retry,
    batch_with_retry,
    fallback,
    retry,
    retrying,
    timeout,
)
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, capture
from tests.services import poll
from tests.telemetry.endings import fails, function
from tests.telemetry.spans import ERROR, UNSET, all_named, attributes, event_names, named, parent_id, span_id, trace_id

ORDER = "ops.order"


def async_function(body: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """A coroutine function that telemetrix calls `ops.order`."""

    async def guarded(*args: object) -> Any:
        return await body(*args)

    guarded.__module__, guarded.__qualname__ = ORDER.split(".")
    return guarded


async def forever(*_: object) -> None:
    await anyio.sleep_forever()


# Threads


def test_sync_timeout__its_worker_thread__has_the_calls_context(telemetrix_capture: CapturedTelemetry) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("set")
    seen: list[object] = []

    def body() -> None:
        seen.append((threading.current_thread() is threading.main_thread(), variable.get()))
        retry(1)(function("ops.inner", Script([1])))()

    timeout(20)(function(ORDER, body))()
    assert seen == [(False, "set")]
    assert telemetrix_capture.span_tree() == ["timeout ops.order", "  retry ops.inner", "    attempt ops.inner"]


def test_sync_timeout__expired__is_error_and_its_late_work_stays_in_the_trace(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    go_on = threading.Event()

    def body() -> None:
        go_on.wait(20)
        retry(1)(function("ops.late", Script([1])))()

    with pytest.raises(OperationTimeout):
        timeout(0.005)(function(ORDER, body))()
    span = named(telemetrix_capture, "timeout ops.order")
    assert (span.status.status_code, attributes(span)["error.type"]) == (ERROR, "telemetrix.errors.OperationTimeout")
    go_on.set()
    poll(lambda: all_named(telemetrix_capture, "retry ops.late"))
    late = named(telemetrix_capture, "retry ops.late")
    assert trace_id(late) == trace_id(span)
    assert parent_id(late) == span_id(span)


def test_threads__calling_the_same_function__have_traces_of_their_own(telemetrix_capture: CapturedTelemetry) -> None:
    meet = threading.Barrier(4)

    def body() -> None:
        meet.wait(20)

    guarded = retry(1)(function(ORDER, body))
    threads = [threading.Thread(target=guarded) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    calls = all_named(telemetrix_capture, "retry ops.order")
    attempts = all_named(telemetrix_capture, "attempt ops.order")
    assert len({trace_id(span) for span in calls}) == 4
    assert {parent_id(span) for span in attempts} == {span_id(span) for span in calls}


# Tasks, on asyncio and trio


@pytest.mark.anyio
async def test_async_primitives__nested__have_the_tree_of_the_sync_ones(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    breaker = CircuitBreaker(name="async tree")
    script = Script([ValueError, 1])
    guarded = fallback(0)(timeout(50)(async_retry(3, 1)(breaker(async_function(script.acall)))))
    assert await guarded() == 1
    assert telemetrix_capture.span_tree() == [
        "fallback ops.order",
        "  timeout ops.order",
        "    retry ops.order",
        "      attempt ops.order",
        "        circuit_breaker ops.order",
        "      attempt ops.order",
        "        circuit_breaker ops.order",
    ]
    assert event_names(named(telemetrix_capture, "retry ops.order")) == ["retry.scheduled"]


@pytest.mark.anyio
async def test_async_timeout__expired__is_error_once_and_what_it_cancelled_is_not(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    with pytest.raises(OperationTimeout):
        await timeout(0.01)(async_retry(3)(async_function(forever)))()
    assert named(telemetrix_capture, "timeout ops.order").status.status_code is ERROR
    for name in ("retry ops.order", "attempt ops.order"):
        span = named(telemetrix_capture, name)
        assert (span.status.status_code, attributes(span)["outcome"]) == (UNSET, "cancelled")
        assert span.events == ()


@pytest.mark.anyio
async def test_tasks__calling_concurrently__keep_their_spans_apart(telemetrix_capture: CapturedTelemetry) -> None:
    arrived = 0

    async def body(*_: object) -> None:
        nonlocal arrived
        arrived += 1
        while arrived < 3:
            await anyio.lowlevel.checkpoint()

    guarded = async_retry(1)(async_function(body))
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(guarded)
    calls = all_named(telemetrix_capture, "retry ops.order")
    attempts = all_named(telemetrix_capture, "attempt ops.order")
    assert len({trace_id(span) for span in calls}) == 3
    assert {parent_id(span) for span in attempts} == {span_id(span) for span in calls}


@pytest.mark.anyio
async def test_task__cancelled__ends_its_spans_without_error_or_event(telemetrix_capture: CapturedTelemetry) -> None:
    breaker = CircuitBreaker(name="cancelled task")
    with anyio.move_on_after(0.01):
        await async_retry(3)(breaker(async_function(forever)))()
    assert len(telemetrix_capture.spans) == 3
    for span in telemetrix_capture.spans:
        assert (span.status.status_code, attributes(span)["outcome"]) == (UNSET, "cancelled")
        assert span.events == ()


@pytest.mark.anyio
async def test_task__cancelled_while_waiting_for_a_retry__ends_its_span(telemetrix_capture: CapturedTelemetry) -> None:
    script = Script([ValueError])
    with anyio.move_on_after(0.01):
        await async_retry(3, 60, jitter=False)(async_function(script.acall))()
    span = named(telemetrix_capture, "retry ops.order")
    assert (span.status.status_code, attributes(span)["reason"]) == (UNSET, "cancelled")
    assert event_names(span) == ["retry.scheduled"]
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.anyio
async def test_batch__with_concurrency__shows_its_items_below_it(telemetrix_capture: CapturedTelemetry) -> None:
    async def process(_: int) -> None:
        await anyio.lowlevel.checkpoint()

    await batch_with_retry([1, 2, 3], process, concurrency=3, name=ORDER)
    batch = named(telemetrix_capture, "batch ops.order")
    items = all_named(telemetrix_capture, "retry ops.order")
    assert [parent_id(item) for item in items] == [span_id(batch)] * 3


@pytest.mark.anyio
async def test_async_block__of_retrying__has_a_span_per_attempt(
    telemetrix_clock: VirtualClock, telemetrix_capture: CapturedTelemetry
) -> None:
    script = Script([ValueError, 1])
    async for attempt in retrying(3, name=ORDER):
        with attempt:
            await script.acall()
    assert telemetrix_capture.span_tree() == ["retry ops.order", "  attempt ops.order", "  attempt ops.order"]


# Coroutines that are closed


def step(coroutine: Any) -> None:
    """Run a coroutine to its first suspension, in this thread, outside any event loop."""
    coroutine.send(None)


class Suspend:
    """Awaited, it hands control back to whoever drives the coroutine."""

    def __await__(self) -> Any:
        yield


async def suspends(*_: object) -> None:
    await Suspend()


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same context", "another context"])
def test_coroutine__closed_half_way__leaves_no_span_open_and_logs_nothing(
    telemetrix_capture: CapturedTelemetry, caplog: pytest.LogCaptureFixture, *, elsewhere: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    breaker = CircuitBreaker(name="closed half way")
    coroutine: Any = fallback(0)(async_retry(3)(breaker(async_function(suspends))))()
    where = contextvars.copy_context() if elsewhere else contextvars.Context()
    if elsewhere:
        where.run(step, coroutine)
        coroutine.close()
    else:
        where.run(step, coroutine)
        where.run(coroutine.close)
    assert telemetrix_capture.span_tree() == [
        "fallback ops.order",
        "  retry ops.order",
        "    attempt ops.order",
        "      circuit_breaker ops.order",
    ]
    assert {attributes(span)["outcome"] for span in telemetrix_capture.spans} == {"cancelled"}
    assert {span.status.status_code for span in telemetrix_capture.spans} == {UNSET}
    assert caplog.records == []
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_coroutine__dropped_half_way__ends_its_spans_when_it_is_collected(
    telemetrix_capture: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    coroutine: Any = async_retry(3)(async_function(suspends))()
    contextvars.copy_context().run(step, coroutine)
    del coroutine
    gc.collect()
    assert telemetrix_capture.span_tree() == ["retry ops.order", "  attempt ops.order"]
    assert caplog.records == []


def test_coroutine__never_awaited__makes_no_span(telemetrix_capture: CapturedTelemetry) -> None:
    async_retry(3)(async_function(suspends))().close()
    assert telemetrix_capture.spans == []


def test_loop__closed_with_a_task_left__ends_its_spans_and_logs_nothing(
    telemetrix_capture: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)

    async def main() -> asyncio.Task[Any]:
        task = asyncio.ensure_future(timeout(50)(async_retry(3)(async_function(forever)))())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return task

    assert asyncio.run(main()).cancelled()
    assert telemetrix_capture.span_tree() == ["timeout ops.order", "  retry ops.order", "    attempt ops.order"]
    assert {attributes(span)["outcome"] for span in telemetrix_capture.spans} == {"cancelled"}
    assert caplog.records == []


def test_generator__holding_a_retry_block_open_when_closed__ends_the_spans(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    def produce() -> Any:
        for attempt in retrying(3, name=ORDER):
            with attempt:
                yield 1

    generator = produce()
    assert next(generator) == 1
    generator.close()
    assert telemetrix_capture.span_tree() == ["retry ops.order", "  attempt ops.order"]
    assert {attributes(span)["outcome"] for span in telemetrix_capture.spans} == {"cancelled"}
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_retry_block__left_by_break_between_attempts__ends_the_span(telemetrix_capture: CapturedTelemetry) -> None:
    def leave() -> None:
        for attempt in retrying(3, 0, name=ORDER):
            if attempt.number == 2:
                break
            with attempt:
                fails()

    leave()
    gc.collect()
    assert telemetrix_capture.span_tree() == ["retry ops.order", "  attempt ops.order"]
    assert attributes(named(telemetrix_capture, "retry ops.order"))["outcome"] == "cancelled"


# Tracing that begins or ends meanwhile


def test_capture__ending_during_a_call__still_closes_the_spans_it_opened() -> None:
    with contextlib.ExitStack() as stack:
        captured = stack.enter_context(capture())
        retry(1)(function(ORDER, stack.close))()
    assert captured.span_tree() == ["retry ops.order", "  attempt ops.order"]
    assert trace.get_current_span() is trace.INVALID_SPAN


def test_capture__beginning_during_a_call__shows_only_the_calls_after_it() -> None:
    with contextlib.ExitStack() as stack:
        seen: list[CapturedTelemetry] = []

        def body() -> None:
            seen.append(stack.enter_context(capture()))
            retry(1)(function("ops.inner", Script([1])))()

        retry(1)(function(ORDER, body))()
        assert seen[0].span_tree() == ["retry ops.inner", "  attempt ops.inner"]


def test_context__empty_at_the_start__is_empty_after_it(telemetrix_capture: CapturedTelemetry) -> None:
    token = context.attach(Context())
    try:
        with pytest.raises(ValueError, match="secret"):
            retry(1)(function(ORDER, fails))()
        assert context.get_current() == {}
    finally:
        context.detach(token)

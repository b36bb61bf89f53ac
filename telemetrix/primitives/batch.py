"""Batch: process many items, retry each by itself, and lose none."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar, cast, overload

import anyio

from telemetrix import clock
from telemetrix._core import checks
from telemetrix._core.backoff import RetryStrategy
from telemetrix._core.outcomes import Outcome, Primitive, Reason
from telemetrix.bus import default_bus as bus
from telemetrix.calls import Call, Operation
from telemetrix.events import BatchItemFinished
from telemetrix.primitives._targets import Function, is_async, operation_for
from telemetrix.primitives.retry import Exceptions, observing_callback, retry

T = TypeVar("T")
R = TypeVar("R")

OnProgress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class FailedItem:
    """An item that could not be processed.

    Attributes:
        item: the item itself.
        error: what its last attempt raised.
        index: its place among the items, from 0.
    """

    item: Any
    error: Exception
    index: int


class _Batch:
    """The results of one call, by position; filled in any order, read in the items' order."""

    def __init__(self, operation: Operation, on_progress: OnProgress | None) -> None:
        self._operation = operation
        self._on_progress = on_progress
        self._results: dict[int, Any] = {}
        self._failed: dict[int, FailedItem] = {}
        self._call: Call = bus.begin(operation, clock.current().monotonic())

    def succeeded(self, index: int, result: Any) -> None:
        self._results[index] = result
        self._tell(index, Outcome.SUCCESS, None)

    def failed(self, index: int, item: Any, error: Exception) -> None:
        self._failed[index] = FailedItem(item, error, index)
        self._tell(index, Outcome.FAILURE, type(error))

    def progressed(self) -> None:
        if self._on_progress is not None:
            done = len(self._results) + len(self._failed)
            bus.observe(self._on_progress, "on_progress", done, len(self._failed))

    def finish(self) -> tuple[list[Any], list[FailedItem]]:
        reason = Reason.PARTIAL if self._failed else Reason.COMPLETE
        bus.finish(self._call, Outcome.SUCCESS, reason, clock.current().monotonic())
        return (
            [self._results[index] for index in sorted(self._results)],
            [self._failed[index] for index in sorted(self._failed)],
        )

    def abort(self, error: BaseException) -> None:
        outcome, reason = Outcome.CANCELLED, Reason.CANCELLED
        if isinstance(error, Exception):
            outcome, reason = Outcome.FAILURE, Reason.ABORTED
            self._call.failed_with(error)
        bus.finish(self._call, outcome, reason, clock.current().monotonic(), error)

    def _tell(self, index: int, outcome: Outcome, kind: type[BaseException] | None) -> None:
        if bus.listens(BatchItemFinished):
            bus.publish(BatchItemFinished(clock.current().monotonic(), self._operation.name, index, outcome, kind))


def _run(batch: _Batch, items: Iterable[Any], guarded: Function, batch_size: int) -> Any:
    try:
        for chunk in _chunks(items, batch_size):
            for index, item in chunk:
                try:
                    result = guarded(item)
                except Exception as error:  # noqa: BLE001 - this item's error is this item's result
                    batch.failed(index, item, error)
                else:
                    batch.succeeded(index, result)
            batch.progressed()
    except BaseException as error:
        batch.abort(error)
        raise
    return batch.finish()


async def _async_run(batch: _Batch, items: Iterable[Any], guarded: Function, batch_size: int, concurrency: int) -> Any:
    async def work(chunk: Iterator[tuple[int, Any]]) -> None:
        for index, item in chunk:
            try:
                result = await guarded(item)
            except Exception as error:  # noqa: BLE001 - this item's error is this item's result
                batch.failed(index, item, error)
            else:
                batch.succeeded(index, result)

    try:
        for chunk in _chunks(items, batch_size):
            shared = iter(chunk)
            if concurrency == 1:
                await work(shared)
            else:
                await _side_by_side(work, shared, min(concurrency, len(chunk)))
            batch.progressed()
    except BaseException as error:
        batch.abort(error)
        raise
    return batch.finish()


async def _side_by_side(
    work: Callable[[Iterator[tuple[int, Any]]], Coroutine[Any, Any, None]],
    shared: Iterator[tuple[int, Any]],
    count: int,
) -> None:
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(count):
                tasks.start_soon(work, shared)
    except BaseExceptionGroup as group:
        # No item's error gets here: it is an interruption, which its sender knows by its own name.
        interruptions = [error for error in group.exceptions if isinstance(error, (KeyboardInterrupt, SystemExit))]
        raise (interruptions or group.exceptions)[0] from None


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[tuple[int, Any]]]:
    numbered = enumerate(items)
    while chunk := list(islice(numbered, size)):
        yield chunk


@overload
def batch_with_retry(  # type: ignore[overload-overlap]  # an awaitable is an R too; the narrower one comes first
    items: Iterable[T],
    process_func: Callable[[T], Awaitable[R]],
    batch_size: int = 100,
    max_retries: int = 3,
    *,
    delay: float = 0.1,
    backoff: float = 2.0,
    exceptions: Exceptions = (Exception,),
    on_progress: OnProgress | None = None,
    concurrency: int = 1,
    name: str | None = None,
) -> Coroutine[Any, Any, tuple[list[R], list[FailedItem]]]: ...
@overload
def batch_with_retry(
    items: Iterable[T],
    process_func: Callable[[T], R],
    batch_size: int = 100,
    max_retries: int = 3,
    *,
    delay: float = 0.1,
    backoff: float = 2.0,
    exceptions: Exceptions = (Exception,),
    on_progress: OnProgress | None = None,
    concurrency: int = 1,
    name: str | None = None,
) -> tuple[list[R], list[FailedItem]]: ...
def batch_with_retry(
    items: Iterable[Any],
    process_func: Callable[[Any], Any],
    batch_size: int = 100,
    max_retries: int = 3,
    *,
    delay: float = 0.1,
    backoff: float = 2.0,
    exceptions: Exceptions = (Exception,),
    on_progress: OnProgress | None = None,
    concurrency: int = 1,
    name: str | None = None,
) -> Any:
    """Process items one by one, retry each by itself, and keep those that fail apart from those that succeed.

    Parameters:
        items: what to process, in order; an iterator is read a batch at a time.
        process_func: called with one item. For a coroutine function, await the result of `batch_with_retry`.
        batch_size: items between two calls of `on_progress`; 1 or more.
        max_retries: further attempts per item after the first; 0 or more.
        delay: the first wait before an item's retry, seconds; full jitter.
        backoff: what each further wait is multiplied by.
        exceptions: the exception classes to retry; any other `Exception` fails its item at once.
        on_progress: called as `on_progress(processed, failed)` after each batch; what it raises is counted and ignored.
        concurrency: items processed at the same time within a batch; more than 1 only for a coroutine function.
        name: the operation's name in telemetry; None is the function's `module.qualname`.

    Returns:
        `(successful, failed)`: the results in the items' order, and a `FailedItem(item, error, index)` for each other.

    Raises:
        Cancellation, KeyboardInterrupt and what `items` itself raises; never an item's error.
        TypeError, ValueError: a setting is out of range.

    Telemetry:
        span `batch <operation>` around one `retry <operation>` per item; event `BatchItemFinished`; metrics
        `calls_total`, `call_duration_seconds`, `batch_items_total`, and those of `retry` for the items.
    """
    size = checks.count("batch_size", batch_size)
    places = checks.count("concurrency", concurrency)
    attempts = checks.count("max_retries", max_retries, least=0) + 1
    if not callable(process_func):
        raise checks.refuse_type("process_func", process_func, "a function of one item")
    callback = observing_callback("on_progress", on_progress)
    operation = operation_for(Primitive.BATCH, process_func, checks.optional_name("name", name))
    awaits = is_async(process_func)
    if places > 1 and not awaits:
        raise checks.refuse("concurrency", concurrency, "1 for a plain function")
    # A class is as good as a function here: each item makes an object.
    function = partial(process_func) if inspect.isclass(process_func) else process_func
    guarded = retry(
        attempts, delay, backoff, strategy=RetryStrategy.EXPONENTIAL, exceptions=exceptions, name=operation.name
    )(function)
    if awaits:
        process = cast("Callable[[Any], Awaitable[Any]]", guarded)
        return _async_batch(operation, callback, items, process, size, places)
    return _run(_Batch(operation, callback), items, guarded, size)


async def _async_batch(
    operation: Operation,
    on_progress: OnProgress | None,
    items: Iterable[Any],
    guarded: Callable[[Any], Awaitable[Any]],
    batch_size: int,
    concurrency: int,
) -> Any:
    # The call begins when it is awaited, in the task that awaits it.
    return await _async_run(_Batch(operation, on_progress), items, guarded, batch_size, concurrency)

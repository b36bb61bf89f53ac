from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any, cast

import anyio
import anyio.lowlevel
import pytest

from telemetrix import CircuitBreaker, CircuitOpenError, FailedItem, batch_with_retry
from telemetrix.events import BatchItemFinished, SubscriberFailed
from telemetrix.testing import CapturedTelemetry, Script, VirtualClock, capture

pytestmark = pytest.mark.usefixtures("telemetrix_clock")


class Flaky:
    """Doubles an item, after it has failed as often as is asked for that item; -1 is always."""

    def __init__(self, failures: dict[int, int] | None = None, error: type[BaseException] = ConnectionError) -> None:
        self._failures = failures or {}
        self._error = error
        self.runs: list[int] = []

    def __call__(self, item: int) -> int:
        self.runs.append(item)
        planned = self._failures.get(item, 0)
        if planned < 0 or self.runs.count(item) <= planned:
            raise self._error(f"item {item}")
        return item * 2

    async def acall(self, item: int) -> int:
        await anyio.lowlevel.checkpoint()
        return self(item)


def calls(captured: CapturedTelemetry, outcome: str, reason: str, primitive: str = "batch") -> float:
    labels = {"primitive": primitive, "operation": "op", "outcome": outcome, "reason": reason}
    return captured.metric("telemetrix_calls_total", **labels)


def items_counted(captured: CapturedTelemetry, outcome: str) -> float:
    return captured.metric("telemetrix_batch_items_total", operation="op", outcome=outcome)


# Results


def test_batch_every_item_succeeds_returns_the_results_in_order(telemetrix_capture: CapturedTelemetry) -> None:
    successful, failed = batch_with_retry(range(250), Flaky(), batch_size=100, name="op")
    assert successful == [item * 2 for item in range(250)]
    assert failed == []
    assert calls(telemetrix_capture, "success", "complete") == 1
    assert items_counted(telemetrix_capture, "success") == 250


def test_batch_some_items_fail_failed_carries_item_error_and_place(telemetrix_capture: CapturedTelemetry) -> None:
    successful, failed = batch_with_retry([10, 11, 12, 13], Flaky({11: -1, 13: -1}), name="op")
    assert successful == [20, 24]
    assert [(item.item, item.index, type(item.error), str(item.error)) for item in failed] == [
        (11, 1, ConnectionError, "item 11"),
        (13, 3, ConnectionError, "item 13"),
    ]
    assert all(isinstance(item, FailedItem) for item in failed)
    assert calls(telemetrix_capture, "success", "partial") == 1
    assert (items_counted(telemetrix_capture, "success"), items_counted(telemetrix_capture, "failure")) == (2, 2)


def test_batch_same_item_twice_is_processed_twice() -> None:
    successful, failed = batch_with_retry([1, 1, 2, 2], Flaky({2: -1}))
    assert successful == [2, 2]
    assert [item.index for item in failed] == [2, 3]


def test_batch_results_that_are_none_or_equal_keep_their_places() -> None:
    assert batch_with_retry([1, 2, 3], lambda item: None) == ([None, None, None], [])


@pytest.mark.parametrize("items", [[], (), iter(())])
def test_batch_without_items_returns_two_empty_lists(telemetrix_capture: CapturedTelemetry, items: Any) -> None:
    progress = Script([None])
    assert batch_with_retry(items, Flaky(), on_progress=progress, name="op") == ([], [])
    assert progress.calls == 0
    assert calls(telemetrix_capture, "success", "complete") == 1


# Retries


def test_batch_item_that_fails_is_retried_by_itself(telemetrix_capture: CapturedTelemetry) -> None:
    flaky = Flaky({2: 3, 3: -1})
    successful, failed = batch_with_retry([1, 2, 3, 4], flaky, max_retries=3, name="op")
    assert flaky.runs == [1, 2, 2, 2, 2, 3, 3, 3, 3, 4]
    assert successful == [2, 4, 8]
    assert [item.item for item in failed] == [3]
    assert calls(telemetrix_capture, "success", "first_try", "retry") == 2
    assert calls(telemetrix_capture, "success", "recovered", "retry") == 1
    assert calls(telemetrix_capture, "failure", "exhausted", "retry") == 1


def test_batch_max_retries_0_runs_each_item_once() -> None:
    flaky = Flaky({2: 1})
    _, failed = batch_with_retry([1, 2, 3], flaky, max_retries=0)
    assert flaky.runs == [1, 2, 3]
    assert [item.item for item in failed] == [2]


def test_batch_waits_are_jittered_below_delay_times_backoff(telemetrix_clock: VirtualClock) -> None:
    batch_with_retry(range(100), Flaky(dict.fromkeys(range(100), -1)), max_retries=2, delay=0.5, backoff=3)
    first, second = telemetrix_clock.sleeps[::2], telemetrix_clock.sleeps[1::2]
    assert 0.4 < max(first) <= 0.5
    assert 1.2 < max(second) <= 1.5


def test_batch_exceptions_other_ones_fail_their_item_at_once() -> None:
    flaky = Flaky({1: -1}, error=ValueError)
    successful, failed = batch_with_retry([1, 2], flaky, exceptions=ConnectionError)
    assert flaky.runs == [1, 2]
    assert successful == [4]
    assert [type(item.error) for item in failed] == [ValueError]


def test_batch_open_circuit_fails_the_remaining_items_without_retries() -> None:
    flaky = Flaky(dict.fromkeys(range(5), -1))
    breaker = CircuitBreaker(failure_threshold=2)
    _, failed = batch_with_retry(range(5), breaker(flaky), max_retries=0)
    assert [type(item.error) for item in failed] == [ConnectionError] * 2 + [CircuitOpenError] * 3
    assert flaky.runs == [0, 1]


# What is read, and when


def test_batch_iterator_is_read_a_batch_at_a_time() -> None:
    steps: list[str] = []

    def items() -> Iterator[int]:
        for item in range(5):
            steps.append(f"read {item}")
            yield item

    batch_with_retry(items(), lambda item: steps.append(f"process {item}"), batch_size=2)
    assert steps == [
        *["read 0", "read 1", "process 0", "process 1"],
        *["read 2", "read 3", "process 2", "process 3"],
        *["read 4", "process 4"],
    ]


def test_batch_endless_iterator_is_not_read_past_an_interruption() -> None:
    counter = itertools.count()
    with pytest.raises(KeyboardInterrupt):
        batch_with_retry(counter, Flaky({7: -1}, error=KeyboardInterrupt), batch_size=5)
    assert next(counter) == 10


def test_batch_iterator_fails_its_error_is_raised_and_the_call_is_aborted(
    telemetrix_capture: CapturedTelemetry,
) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise LookupError("no more")

    with pytest.raises(LookupError, match="no more"):
        batch_with_retry(items(), Flaky(), batch_size=1, name="op")
    assert calls(telemetrix_capture, "failure", "aborted") == 1


# Progress


def test_batch_progress_is_told_after_each_batch_with_processed_and_failed() -> None:
    told: list[tuple[int, int]] = []
    batch_with_retry(
        range(7),
        Flaky({2: -1, 6: -1}),
        batch_size=3,
        max_retries=0,
        on_progress=lambda done, failed: told.append((done, failed)),
    )
    assert told == [(3, 1), (6, 1), (7, 2)]


def test_batch_progress_callback_that_raises_changes_nothing_and_is_counted(
    telemetrix_capture: CapturedTelemetry, caplog: pytest.LogCaptureFixture
) -> None:
    def on_progress(done: int, failed: int) -> None:
        raise RuntimeError("the callback's own")

    assert batch_with_retry([1, 2, 3], Flaky(), batch_size=1, on_progress=on_progress) == ([2, 4, 6], [])
    assert [event.error_type for event in telemetrix_capture.of(SubscriberFailed)] == [RuntimeError] * 3
    errors = telemetrix_capture.metric("telemetrix_bus_subscriber_errors_total", subscriber="on_progress")
    assert errors == 3
    assert "the callback's own" not in caplog.text


def test_batch_item_events_tell_place_and_outcome(telemetrix_capture: CapturedTelemetry) -> None:
    batch_with_retry([5, 6], Flaky({6: -1}), max_retries=0, name="op")
    events = telemetrix_capture.of(BatchItemFinished)
    assert [(event.operation, event.index, event.outcome, event.error_type) for event in events] == [
        ("op", 0, "success", None),
        ("op", 1, "failure", ConnectionError),
    ]


# Interruption


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_batch_interrupted_raises_at_once_and_is_recorded_as_cancelled(
    telemetrix_capture: CapturedTelemetry, error: type[BaseException]
) -> None:
    flaky = Flaky({2: -1}, error=error)
    with pytest.raises(error):
        batch_with_retry([1, 2, 3], flaky, name="op")
    assert flaky.runs == [1, 2]
    assert calls(telemetrix_capture, "cancelled", "cancelled") == 1
    assert calls(telemetrix_capture, "cancelled", "cancelled", "retry") == 1


# What may process


class Record:
    def __init__(self, item: int) -> None:
        if item < 0:
            raise ValueError(item)
        self.item = item


def test_batch_class_as_process_func_makes_an_object_of_each_item(telemetrix_capture: CapturedTelemetry) -> None:
    successful, failed = batch_with_retry([1, -2, 3], Record)
    assert [record.item for record in successful] == [1, 3]
    assert [item.item for item in failed] == [-2]
    name = f"{__name__}.Record"
    assert telemetrix_capture.metric("telemetrix_calls_total", primitive="batch", operation=name) == 1


def test_batch_builtin_partial_and_bound_method_process() -> None:
    assert batch_with_retry(["1", "2"], int) == ([1, 2], [])
    assert batch_with_retry([1, 2], partial(pow, 2)) == ([2, 4], [])
    assert batch_with_retry([1, 2], Flaky().__call__) == ([2, 4], [])


def test_batch_method_of_a_builtin_class_processes() -> None:
    assert batch_with_retry(["a", "b"], str.upper) == (["A", "B"], [])


def test_batch_bound_method_of_a_builtin_object_has_a_name_without_none() -> None:
    with capture(spans=None) as captured:
        appended: list[int] = []
        batch_with_retry([1], appended.append)
    assert [event.operation for event in captured.of(BatchItemFinished)] == ["builtins.list.append"]


# What is refused


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"batch_size": 0}, ValueError, "batch_size=0 is not allowed: a whole number, 1 or more"),
        ({"batch_size": 1.5}, TypeError, "batch_size=1.5 is not allowed"),
        ({"max_retries": -1}, ValueError, "max_retries=-1 is not allowed: a whole number, 0 or more"),
        ({"max_retries": True}, TypeError, "max_retries=True is not allowed"),
        ({"delay": -1}, ValueError, "delay=-1 is not allowed"),
        ({"delay": float("nan")}, ValueError, "delay=nan is not allowed"),
        ({"backoff": 0.5}, ValueError, "backoff=0.5 is not allowed"),
        ({"exceptions": ()}, ValueError, r"exceptions=\(\) is not allowed"),
        ({"exceptions": BaseException}, ValueError, "exceptions=.* is not allowed"),
        ({"on_progress": 7}, TypeError, "on_progress=7 is not allowed"),
        ({"concurrency": 0}, ValueError, "concurrency=0 is not allowed"),
        ({"concurrency": 2}, ValueError, "concurrency=2 is not allowed: 1 for a plain function"),
        ({"name": ""}, ValueError, "name='' is not allowed"),
        ({"process_func": 7}, TypeError, "process_func=7 is not allowed"),
    ],
    ids=str,
)
def test_batch_setting_out_of_range_is_refused_before_anything_is_read(
    settings: dict[str, Any], error: type[Exception], message: str
) -> None:
    counter = itertools.count()
    batch = cast("Any", batch_with_retry)
    with pytest.raises(error, match=message):
        batch(**{"items": counter, "process_func": Flaky(), **settings})
    assert next(counter) == 0


async def coroutine_callback(done: int, failed: int) -> None:
    pass


def test_batch_coroutine_function_as_progress_callback_is_refused() -> None:
    with pytest.raises(TypeError, match=r"on_progress=.* is not allowed: a plain function"):
        batch_with_retry([], Flaky(), on_progress=coroutine_callback)


def generator(item: int) -> Iterator[int]:
    yield item


def test_batch_generator_function_as_process_func_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot guard generator function generator"):
        batch_with_retry([1], generator)

"""PrometheusMetrics: what happened is what is counted, whichever path a call took."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from telemetrix import (
    CircuitBreaker,
    Outcome,
    Primitive,
    RetryStrategy,
    batch_with_retry,
    fallback,
    retry,
    subscribe,
    timeout,
)
from telemetrix._core.outcomes import ENDINGS, outcomes_of
from telemetrix._version import __version__
from telemetrix.events import (
    BatchItemFinished,
    CallRejected,
    Event,
    FallbackServed,
    OperationRegistered,
    RetryGaveUp,
    RetryRecovered,
)
from telemetrix.telemetry.catalog import CATALOG
from telemetrix.telemetry.metrics import FOLD_PAST, PrometheusMetrics
from telemetrix.testing import Script, VirtualClock, capture
from tests.services import poll
from tests.telemetry.endings import CASES, Case, fails, function
from tests.telemetry.exposition import calls, expected_calls, labels_of, nonzero

FAST: Final = None
"""`capture(spans=FAST)` leaves calls on the fast path."""

every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
both_paths = pytest.mark.parametrize("path", [FAST, "all"], ids=["fast path", "observed path"])


# Every series from the first moment


def test_cases__taken_together__are_all_endings() -> None:
    assert [case.ending for case in CASES] == [(p, *ending) for p, endings in ENDINGS.items() for ending in endings]


def guard(primitive: Primitive, name: str) -> None:
    """Have an operation of this primitive, without calling it."""
    body = function(name, fails)
    match primitive:
        case Primitive.RETRY:
            retry(body)
        case Primitive.CIRCUIT_BREAKER:
            CircuitBreaker()(body)
        case Primitive.FALLBACK:
            fallback(None)(body)
        case Primitive.TIMEOUT:
            timeout(1)(body)
        case Primitive.BATCH:
            assert batch_with_retry([], body) == ([], [])


@pytest.mark.parametrize("primitive", Primitive)
def test_series__operation_never_called__all_exist_at_0(primitive: Primitive) -> None:
    name = f"ops.uncalled_{primitive}"
    with capture() as captured:
        guard(primitive, name)
        mine = {"primitive": str(primitive), "operation": name}
        assert [{**mine, "outcome": o, "reason": r} for o, r in ENDINGS[primitive]] == [
            labels
            for labels in labels_of(captured.registry, "telemetrix_calls_total")
            if mine.items() <= labels.items()
        ]
        assert [{**mine, "outcome": outcome} for outcome in outcomes_of(primitive)] == [
            labels
            for labels in labels_of(captured.registry, "telemetrix_call_duration_seconds_count")
            if mine.items() <= labels.items()
        ]
        # A batch has no other moment to begin to exist than its call.
        assert captured.metric("telemetrix_calls_total", **mine) == (primitive is Primitive.BATCH)
        assert {**mine, "error_type": "other"} in labels_of(captured.registry, "telemetrix_errors_total")


def test_series__retry_never_called__attempts_and_delays_exist_at_0() -> None:
    name = "ops.uncalled_attempts"
    with capture() as captured:
        guard(Primitive.RETRY, name)
        attempts = labels_of(captured.registry, "telemetrix_attempts_total")
        for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED):
            assert {"operation": name, "outcome": str(outcome)} in attempts
        for histogram in ("attempts_per_call", "retry_delay_seconds"):
            assert {"operation": name} in labels_of(captured.registry, f"telemetrix_{histogram}_count")
        assert captured.metric("telemetrix_attempts_total", operation=name) == 0


def test_series__timeout_never_called__abandoned_threads_exist_at_0() -> None:
    with capture() as captured:
        guard(Primitive.TIMEOUT, "ops.uncalled_timeout")
        assert {"operation": "ops.uncalled_timeout"} in labels_of(
            captured.registry, "telemetrix_timeouts_abandoned_threads"
        )


def test_series__batch_of_nothing__item_outcomes_exist_at_0() -> None:
    with capture() as captured:
        guard(Primitive.BATCH, "ops.empty_batch")
        items = labels_of(captured.registry, "telemetrix_batch_items_total")
        for outcome in (Outcome.SUCCESS, Outcome.FAILURE):
            assert {"operation": "ops.empty_batch", "outcome": str(outcome)} in items
        assert captured.metric("telemetrix_batch_items_total", operation="ops.empty_batch") == 0


def test_series__no_operation_at_all__version_and_overflow_are_there() -> None:
    with capture() as captured:
        assert captured.metric("telemetrix_build_info", version=__version__) == 1
        assert {labels["label"] for labels in labels_of(captured.registry, "telemetrix_label_overflow_total")} == {
            "operation",
            "circuit",
            "subscriber",
        }


def test_collect__every_family__is_the_catalogues() -> None:
    with capture() as captured:
        families = {family.name: family for family in captured.registry.collect()}
        assert list(families) == [metric.name.removesuffix("_total") for metric in CATALOG]
        for metric in CATALOG:
            family = families[metric.name.removesuffix("_total")]
            assert (family.type, family.documentation) == (metric.kind.value, metric.help)


# What happened is what is counted


@both_paths
@every_case
def test_call__ending_in_any_way__is_counted_once_with_all_it_did(case: Case, path: Any) -> None:
    with capture(spans=path) as captured:
        case()
        assert calls(captured) == expected_calls([case])
        endings = (case.ending, *case.also)
        assert nonzero(captured, "telemetrix_call_duration_seconds_count", "primitive", "outcome") == Counter(
            (str(primitive), str(outcome)) for primitive, outcome, _ in endings
        )
        assert nonzero(captured, "telemetrix_errors_total", "error_type") == Counter((kind,) for kind in case.errors)
        assert nonzero(captured, "telemetrix_attempts_total", "outcome") == Counter(
            (str(outcome),) for outcome in case.attempts
        )
        retries = [ending for ending in endings if ending[0] is Primitive.RETRY]
        assert captured.metric("telemetrix_attempts_per_call_count", operation=case.name) == len(retries)
        assert captured.metric("telemetrix_attempts_per_call_sum", operation=case.name) == len(case.attempts)
        waits = len(case.attempts) - len(retries)
        assert captured.metric("telemetrix_retry_delay_seconds_count", operation=case.name) == waits


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(CASES), max_size=12))
def test_calls__in_any_sequence__fast_and_observed_path_count_the_same(cases: list[Case]) -> None:
    for path in (FAST, "all"):
        with capture(spans=path) as captured:
            for case in cases:
                case()
            assert calls(captured) == expected_calls(cases)
            assert nonzero(captured, "telemetrix_errors_total", "operation", "error_type") == Counter(
                (case.name, kind) for case in cases for kind in case.errors
            )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from(CASES), max_size=12))
def test_calls__in_any_sequence__metrics_spans_and_events_agree(cases: list[Case]) -> None:
    with capture() as captured:
        for case in cases:
            case()
        counted = calls(captured)
        words = ("telemetrix.primitive", "telemetrix.operation", "telemetrix.outcome", "telemetrix.reason")
        shown = [span.attributes for span in captured.spans if span.attributes and words[0] in span.attributes]
        assert Counter(tuple(attributes[word] for word in words) for attributes in shown) == counted
        attempts = [span for span in captured.spans if span.name.startswith("attempt ")]
        assert len(attempts) == sum(nonzero(captured, "telemetrix_attempts_total", "outcome").values())
        by_event: dict[str, type[Event]] = {
            "recovered": RetryRecovered,
            "served": FallbackServed,
            "open": CallRejected,
        }
        for reason, kind in by_event.items():
            happened = [event for event in captured.of(kind) if getattr(event, "reason", reason) == reason]
            assert len(happened) == sum(count for key, count in counted.items() if key[3] == reason)
        gave_up = Counter(str(event.reason) for event in captured.of(RetryGaveUp))
        for reason in ("exhausted", "not_retryable", "deadline"):
            assert gave_up[reason] == sum(n for key, n in counted.items() if key[0] == "retry" and key[3] == reason)
        items = Counter(str(event.outcome) for event in captured.of(BatchItemFinished))
        assert items == Counter(
            {k: n for (k,), n in nonzero(captured, "telemetrix_batch_items_total", "outcome").items()}
        )


def test_duration__of_calls__adds_up_to_the_time_they_took(telemetrix_clock: VirtualClock) -> None:
    @retry(3, 10, strategy=RetryStrategy.FIXED, name="ops.slow")
    def slow() -> None:
        telemetrix_clock.advance(2)
        script()

    script = Script([ValueError, ValueError, 1])
    with capture() as captured:
        slow()
        where = {"operation": "ops.slow", "outcome": "success"}
        assert captured.metric("telemetrix_call_duration_seconds_sum", **where) == 26
        assert captured.metric("telemetrix_call_duration_seconds_bucket", **where, le="10.0") == 0
        assert captured.metric("telemetrix_call_duration_seconds_bucket", **where, le="30.0") == 1
        assert captured.metric("telemetrix_retry_delay_seconds_sum", operation="ops.slow") == 20
        assert captured.metric("telemetrix_attempts_per_call_bucket", operation="ops.slow", le="2.0") == 0
        assert captured.metric("telemetrix_attempts_per_call_bucket", operation="ops.slow", le="3.0") == 1


def test_duration__of_fast_calls__is_observed_one_by_one() -> None:
    guarded = retry(function("ops.quick", Script([1])))
    with capture(spans=FAST) as captured:
        for _ in range(5):
            guarded()
        where = {"operation": "ops.quick", "outcome": "success"}
        assert captured.metric("telemetrix_call_duration_seconds_count", **where) == 5
        assert captured.metric("telemetrix_call_duration_seconds_bucket", **where, le="+Inf") == 5
        assert 0 < captured.metric("telemetrix_call_duration_seconds_sum", **where) < 1


@both_paths
def test_scrape__between_calls__sees_every_call_that_ended_before_it(path: Any) -> None:
    guarded = fallback(None)(function("ops.step", Script([1, ValueError] * 15)))
    with capture(spans=path) as captured:
        for ended in range(1, 31):
            guarded()
            assert captured.metric("telemetrix_calls_total", operation="ops.step") == ended


def test_queue__longer_than_its_limit__is_folded_without_a_scrape_and_loses_nothing() -> None:
    guarded = fallback(None)(function("ops.burst", fails))
    metrics = PrometheusMetrics(CollectorRegistry())
    with subscribe(metrics):
        for _ in range(3 * FOLD_PAST):
            guarded()
    assert len(metrics._finished) <= FOLD_PAST  # noqa: SLF001
    where = {"primitive": "fallback", "operation": "ops.burst", "outcome": "fallback", "reason": "served"}
    assert metrics.registry.get_sample_value("telemetrix_calls_total", where) == 3 * FOLD_PAST


# Counting begins with the operation


def test_operation__called_while_its_registration_is_told__loses_no_call() -> None:
    def call_at_once(event: OperationRegistered) -> None:
        if event.operation.name == "ops.called_at_once":
            retry(function("ops.called_at_once", Script([1])))()

    with subscribe(call_at_once, to=OperationRegistered), capture(spans=FAST) as captured:
        retry(function("ops.called_at_once", Script([1])))
        assert captured.metric("telemetrix_calls_total", operation="ops.called_at_once") == 1


# Abandoned threads


def test_abandoned_threads__while_the_work_goes_on_and_after__is_1_then_0() -> None:
    go_on = threading.Event()
    guarded = timeout(0.002)(function("ops.abandoned", go_on.wait))
    with capture(spans=FAST) as captured:
        with pytest.raises(TimeoutError):
            guarded(20)
        assert captured.metric("telemetrix_timeouts_abandoned_threads", operation="ops.abandoned") == 1
        go_on.set()
        poll(lambda: captured.metric("telemetrix_timeouts_abandoned_threads", operation="ops.abandoned") == 0)

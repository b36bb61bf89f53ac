"""Labels are bounded: what does not fit is `other`, and is counted."""

from __future__ import annotations

from typing import Final

import pytest
from prometheus_client import CollectorRegistry

from telemetrix import (
    EventBus,
    Primitive,
    fallback,
    retry,
)
from telemetrix._core.outcomes import ENDINGS
from telemetrix.telemetry.metrics import PrometheusMetrics
from telemetrix.testing import Script, capture
from tests.services import run_python
from tests.telemetry.endings import fails, function
from tests.telemetry.exposition import labels_of

FAST: Final = None
"""`capture(spans=FAST)` leaves calls on the fast path."""


class RareError(Exception):
    """One of many."""


def test_error_types__more_than_20_of_an_operation__are_other() -> None:
    kinds = [type(f"Error{number}", (RareError,), {}) for number in range(25)]
    guarded = retry(1)(function("ops.many_errors", Script(kinds + kinds[:3])))
    with capture(spans=FAST) as captured:
        for _ in range(28):
            with pytest.raises(RareError):
                guarded()
        where = {"operation": "ops.many_errors"}
        assert captured.metric("telemetrix_errors_total", **where) == 28
        assert captured.metric("telemetrix_errors_total", **where, error_type="other") == 5
        mine = [s for s in labels_of(captured.registry, "telemetrix_errors_total") if where.items() <= s.items()]
        assert len(mine) == 21
        assert captured.metric("telemetrix_errors_total", **where, error_type=f"{__name__}.Error0") == 2


def test_error_types__of_another_operation__have_a_cap_of_their_own() -> None:
    kinds = [type(f"Error{number}", (RareError,), {}) for number in range(25)]
    with capture(spans=FAST) as captured:
        for name in ("ops.capped_a", "ops.capped_b"):
            guarded = fallback(None)(function(name, Script(kinds)))
            for _ in kinds:
                guarded()
            assert captured.metric("telemetrix_errors_total", operation=name, error_type="other") == 5


def test_operations__more_than_the_cap__share_other_and_are_counted() -> None:
    bus, registry = EventBus(), CollectorRegistry()
    bus.max_label_values = 2
    bus.subscribe(PrometheusMetrics(registry))
    ending = ENDINGS[Primitive.RETRY][0]
    for name in ("a", "b", "c", "d"):
        operation = bus.operation(Primitive.RETRY, name)
        bus.finish(bus.begin(operation, 0.0), *ending, 1.0)
        operation.successes.counts[0] += 1

    def count(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(name, labels)

    words = {"primitive": "retry", "outcome": "success", "reason": "first_try"}
    assert [count("telemetrix_calls_total", operation=name, **words) for name in ("a", "b", "other", "c")] == [
        2,
        2,
        4,
        None,
    ]
    assert count("telemetrix_label_overflow_total", label="operation") == 2


def test_circuits__more_than_the_cap__share_other_in_every_metric() -> None:
    assert set(run_python(OVERFLOWING_CIRCUITS)["circuits"]) == {"a", "b", "other"}


def test_label_overflow__one_circuit_moving_often__counts_its_name_once() -> None:
    assert run_python(OVERFLOWING_CIRCUITS)["overflowed"] == 2


OVERFLOWING_CIRCUITS = """
import json, telemetrix
from telemetrix.bus import default_bus
from telemetrix.testing import capture
default_bus.max_label_values = 2
telemetrix.configure(logging=False)
with capture(spans=None) as captured:
    for name in "abcd":
        breaker = telemetrix.CircuitBreaker(name=name)
        breaker.state = telemetrix.CircuitState.HALF_OPEN
        breaker.call(int)
        with breaker:
            breaker.reset()
            breaker.open()
    samples = [s for family in captured.registry.collect() for s in family.samples]
    circuits = sorted({s.labels["circuit"] for s in samples if "circuit" in s.labels})
    overflowed = captured.metric("telemetrix_label_overflow_total", label="circuit")
    print(json.dumps({"circuits": circuits, "overflowed": overflowed}))
"""


def test_subscribers__more_than_the_cap__share_other() -> None:
    bus, registry = EventBus(), CollectorRegistry()
    bus.max_label_values = 2
    bus.subscribe(PrometheusMetrics(registry))
    for name in "abcd":
        bus.observe(fails, name)
    assert {labels["subscriber"] for labels in labels_of(registry, "telemetrix_bus_subscriber_errors_total")} == {
        "a",
        "b",
        "other",
    }
    assert registry.get_sample_value("telemetrix_label_overflow_total", {"label": "subscriber"}) == 2

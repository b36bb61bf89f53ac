"""PrometheusMetrics: the registries they live in, and how they are read there."""

from __future__ import annotations

from typing import Any, Final

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

from telemetrix import (
    retry,
)
from telemetrix.telemetry.catalog import CATALOG
from telemetrix.telemetry.metrics import PrometheusMetrics
from telemetrix.testing import Script, capture
from tests.services import run_python
from tests.telemetry.endings import CASES, function
from tests.telemetry.exposition import calls, expected_calls, openmetrics_families

FAST: Final = None
"""`capture(spans=FAST)` leaves calls on the fast path."""

both_paths = pytest.mark.parametrize("path", [FAST, "all"], ids=["fast path", "observed path"])


@both_paths
def test_two_registries__same_calls__count_the_same(path: Any) -> None:
    with capture(spans=path) as first, capture(spans=path) as second:
        for case in CASES:
            case()
        assert calls(first) == calls(second) == expected_calls(list(CASES))


def test_capture__after_earlier_calls__counts_from_its_beginning() -> None:
    guarded = retry(function("ops.earlier", Script([1])))
    with capture(spans=FAST) as first:
        guarded()
        with capture(spans=FAST) as second:
            guarded()
            assert first.metric("telemetrix_calls_total", operation="ops.earlier") == 2
            assert second.metric("telemetrix_calls_total", operation="ops.earlier") == 1


def test_second_metrics__in_the_same_registry__is_refused_and_the_first_goes_on() -> None:
    guarded = retry(function("ops.twice", Script([1])))
    with capture(spans=FAST) as captured:
        with pytest.raises(ValueError, match=r"Duplicated timeseries.*telemetrix_calls"):
            PrometheusMetrics(captured.registry)
        guarded()
        assert captured.metric("telemetrix_calls_total", operation="ops.twice") == 1


def test_closed_metrics__registry__is_free_for_new_ones() -> None:
    registry = CollectorRegistry()
    PrometheusMetrics(registry).close()
    assert list(registry.collect()) == []
    PrometheusMetrics(registry).close()


def test_restricted_registry__names_of_one_metric__gives_that_one_folded() -> None:
    guarded = retry(function("ops.restricted", Script([1])))
    with capture(spans=FAST) as captured:
        guarded()
        text = generate_latest(captured.registry.restricted_registry(["telemetrix_calls_total"])).decode()
        families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        assert families <= {"telemetrix_calls_total", "telemetrix_calls_created"}
        row = 'operation="ops.restricted",outcome="success",primitive="retry",reason="first_try"'
        assert f"telemetrix_calls_total{{{row}}} 1.0\n" in text


def test_exposition__in_both_formats__is_what_a_scraper_can_read() -> None:
    with capture() as captured:
        for case in CASES:
            case()
        parsed = {family.name for family in openmetrics_families(captured.registry)}
        assert parsed == {metric.name.removesuffix("_total") for metric in CATALOG}
        text = generate_latest(captured.registry).decode()
        assert 'telemetrix_calls_total{operation="ops.retry_success_recovered"' in text


def test_default_registry__no_set_up_at_all__has_the_metrics() -> None:
    counts = run_python("""
import json, telemetrix
from prometheus_client import REGISTRY
@telemetrix.retry(name="first")
def first(): pass
first()
labels = {"primitive": "retry", "operation": "first", "outcome": "success", "reason": "first_try"}
print(json.dumps(REGISTRY.get_sample_value("telemetrix_calls_total", labels)))
""")
    assert counts == 1


def test_default_registry__in_this_process__describes_every_metric() -> None:
    described = {name for names in REGISTRY._collector_to_names.values() for name in names}  # noqa: SLF001
    assert {metric.name for metric in CATALOG} <= described

"""A scrape of 1,000 operations.

telemetrix's registry against the same series made with prometheus_client alone, in a process of its
own, where these operations are the only ones: `measure_apart` starts it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from time import thread_time_ns
from typing import Any

from benchmarks.harness import Case, Effort, Measurement, Target, measure
from benchmarks.subjects import Function, Kind, PlannedError, Run

SHAPE = "scrape of 1,000 operations"
ALONE = "prometheus_client alone, the same series"
OURS = "telemetrix"
_OPERATIONS = 1_000
_LIMIT = 1.2


def measure_apart(rounds: int) -> tuple[list[Measurement], str | None]:
    """Both rows, measured in a fresh process; or the reason why there are none."""
    command = [sys.executable, "-m", "benchmarks.cases.scrape", str(rounds)]
    child = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)  # noqa: S603
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit code {child.returncode}"]
        return [], f"{SHAPE}: {lines[-1]}"
    found: list[dict[str, Any]] = json.loads(child.stdout)
    return [_with_case(fields) for fields in found], None


def _with_case(fields: dict[str, Any]) -> Measurement:
    label = fields.pop("label")
    target = Target(_LIMIT, f"{Kind.SYNC}/{SHAPE}/{ALONE}", ALONE.partition(",")[0])
    case = Case(Kind.SYNC, SHAPE, label, run=int, target=target if label == OURS else None)
    return Measurement(case=case, **fields)


def _main(rounds: int) -> None:
    ours = _registry_of_telemetrix()
    alone = _same_series(ours)
    _compare(ours, alone)
    cases = [
        Case(Kind.SYNC, SHAPE, label, _scrape(registry), turn=1) for label, registry in ((ALONE, alone), (OURS, ours))
    ]
    outcome = measure(cases, Effort(rounds, sample_ns=1), seed=rounds)
    found = [
        {key: value for key, value in _plain(m).items() if key != "case"} | {"label": m.case.label}
        for m in outcome.measurements
    ]
    json.dump(found, sys.stdout)


def _plain(measurement: Measurement) -> dict[str, Any]:
    return {
        name: getattr(measurement, name) for name in ("ns", "spread", "raw_min_ns", "calls", "samples", "instructions")
    }


def _registry_of_telemetrix() -> Any:
    telemetrix = import_module("telemetrix")
    registry = import_module("prometheus_client").CollectorRegistry()
    telemetrix.configure(metrics=True, registry=registry, tracing=False, logging=False)
    guard = telemetrix.retry(max_attempts=3, delay=0, exceptions=(PlannedError,))
    for function in _operations():
        guard(function)(1)
    return registry


def _operations() -> Iterator[Function]:
    for number in range(_OPERATIONS):
        failures = [PlannedError()] if number % 2 else []

        def operation(a: int, failures: list[PlannedError] = failures) -> int:
            if failures:
                raise failures.pop()
            return a

        operation.__qualname__ = f"operation_{number}"
        yield operation


def _scrape(registry: Any) -> Run:
    generate_latest = import_module("prometheus_client").generate_latest

    def run(n: int) -> int:
        start = thread_time_ns()
        for _ in range(n):
            generate_latest(registry)
        return thread_time_ns() - start

    return run


def _same_series(source: Any) -> Any:
    """A registry of plain prometheus_client metrics with every series that `source` shows."""
    client = import_module("prometheus_client")
    families = list(source.collect())
    if not any(s.name.endswith("_created") for family in families for s in family.samples):
        client.disable_created_metrics()
    registry = client.CollectorRegistry()
    for family in families:
        kinds = {"counter": client.Counter, "gauge": client.Gauge, "histogram": client.Histogram}
        _fill(kinds[family.type], family, registry)
    return registry


def _fill(kind: Any, family: Any, registry: Any) -> None:
    samples = [s for s in family.samples if not s.name.endswith("_created")]
    # A family without series still has HELP and TYPE lines, which a metric with labels shows too.
    names = [n for n in samples[0].labels if n != "le"] if samples else ["unused"]
    settings: dict[str, Any] = {}
    if family.type == "histogram" and samples:
        bounds = {float(s.labels["le"]) for s in samples if "le" in s.labels}
        settings["buckets"] = sorted(bounds)
    metric = kind(family.name, family.documentation, names, registry=registry, **settings)
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        child = metric.labels(**labels) if labels else metric
        match family.type:
            case "counter":
                child.inc(sample.value)
            case "gauge":
                child.set(sample.value)
            case "histogram" if sample.name.endswith("_count"):
                for _ in range(int(sample.value)):
                    child.observe(0.0001)
            case _:
                pass


def _compare(ours: Any, alone: Any) -> None:
    def series(registry: Any) -> set[tuple[str, tuple[tuple[str, str], ...]]]:
        return {
            (sample.name, tuple(sorted(sample.labels.items())))
            for family in registry.collect()
            for sample in family.samples
            if not sample.name.endswith("_created")
        }

    differing = series(ours) ^ series(alone)
    if differing:
        raise SystemExit(f"the registries differ in {len(differing)} series: {min(differing)}")


if __name__ == "__main__":
    _main(int(sys.argv[1]))

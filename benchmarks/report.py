"""What was measured, as a table for people and as JSON for programs."""

from __future__ import annotations

import os
import platform
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.cases.shapes import SHAPES, floor_key
from benchmarks.harness import Effort, Measurement
from benchmarks.subjects import Kind

_PACKAGES = (
    "telemetrix-resilience",
    "prometheus-client",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "structlog",
    "tenacity",
    "stamina",
    "backoff",
    "pybreaker",
    "circuitbreaker",
    "pyresilience",
    "interlock-cb",
)

METHOD = (
    "thread CPU time; every round runs every case once, in random order; each sample is divided by "
    "a no-op loop timed directly before and after it; ns = median quotient x this run's median "
    "no-op call; "
    "instructions: callgrind, (2n calls - n calls) / n, gc off"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """A case held against its target."""

    text: str
    ratio: float
    limit: float

    @property
    def factor(self) -> float:
        """The ratio over the limit: 1 or less if the target is met."""
        return self.ratio / self.limit

    @property
    def met(self) -> bool:
        """Whether the case costs no more than its target allows."""
        return self.ratio <= self.limit


@dataclass(slots=True)
class Report:
    """A whole run."""

    measurements: list[Measurement]
    left_out: list[str]
    effort: Effort
    seed: int
    no_op_ns: float
    started: str
    _ns: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        self._ns = {m.case.key: m.ns for m in self.measurements}

    def ratio_to_floor(self, measurement: Measurement) -> float | None:
        """How many times the floor of its kind a case costs."""
        floor = self._ns.get(floor_key(measurement.case.kind))
        return None if floor is None else measurement.ns / floor

    def verdict(self, measurement: Measurement) -> Verdict | None:
        """Whether a case meets its target; None if it has none, or nothing to be compared with."""
        target = measurement.case.target
        if target is None or target.of not in self._ns:
            return None
        ratio = measurement.ns / self._ns[target.of]
        return Verdict(f"<= {target.limit:g} x {target.of_name}", ratio, target.limit)

    def table(self) -> str:
        """For people."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        about = machine()
        yield f"{about['python']} on {about['cpu']}, {about['cores']} cores, {about['system']}"
        yield (
            f"{self.effort.rounds} rounds; a no-op call is {self.no_op_ns:.1f} ns; "
            "x floor: times the smallest *args, **kwargs wrapper of the same kind"
        )
        counted = any(m.instructions is not None for m in self.measurements)
        sections = sorted(self.measurements, key=_section)
        width = max((len(m.case.label) for m in sections), default=0)
        for (_, _, kind, shape), rows in groupby(sections, key=_section):
            found = list(rows)
            scrape = shape.startswith("scrape")
            yield ""
            head = f"{shape if scrape else f'{kind}, {shape}'}"
            unit = "ms" if scrape else "ns"
            yield (f"{head:<{width}} {unit:>9} {'IQR':>5} {'x floor':>8}" + f"{'instr':>10}" * counted + "  target")
            yield from (self._line(m, width, 1e6 if scrape else 1, counted=counted) for m in found)
        if self.left_out:
            yield ""
            yield "left out:"
            yield from (f"  {line}" for line in self.left_out)
        yield ""
        yield self.summary()

    def _line(self, m: Measurement, width: int, unit: float, *, counted: bool) -> str:
        ratio = self.ratio_to_floor(m) if unit == 1 else None
        line = f"{m.case.label:<{width}} {m.ns / unit:>9,.{1 if m.ns / unit < 100 else 0}f}"
        line += f" {m.spread:>5.0%} " + (f"{ratio:>8.2f}" if ratio is not None else " " * 8)
        if counted:
            line += f"{m.instructions:>10,.0f}" if m.instructions is not None else " " * 10
        verdict = self.verdict(m)
        if verdict is not None:
            word = "met" if verdict.met else "NOT MET"
            line += f"  {verdict.text}: {word}, {verdict.ratio:.2f} ({verdict.factor:.2f} of it)"
        return line.rstrip()

    def summary(self) -> str:
        """How many targets are met, and which are not."""
        verdicts = [(m, v) for m in self.measurements if (v := self.verdict(m)) is not None]
        missed = [(m, v) for m, v in verdicts if not v.met]
        lines = [f"targets: {len(verdicts) - len(missed)} of {len(verdicts)} met"]
        lines += [
            f"  not met: {m.case.key}: {v.ratio:.2f}, target {v.text}, {v.factor:.2f} times over" for m, v in missed
        ]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "started": self.started,
            "machine": machine(),
            "versions": versions(),
            "method": {
                "text": METHOD,
                "rounds": self.effort.rounds,
                "sample_ns": self.effort.sample_ns,
                "seed": self.seed,
                "no_op_ns": self.no_op_ns,
            },
            "rows": [self._row(m) for m in self.measurements],
            "left_out": self.left_out,
        }

    def _row(self, m: Measurement) -> dict[str, Any]:
        verdict = self.verdict(m)
        return {
            "key": m.case.key,
            "kind": str(m.case.kind),
            "shape": m.case.shape,
            "label": m.case.label,
            "ns": round(m.ns, 2),
            "iqr": round(m.spread, 4),
            "raw_min_ns": round(m.raw_min_ns, 2),
            "calls_per_sample": m.calls,
            "samples": m.samples,
            "ratio_to_floor": _rounded(self.ratio_to_floor(m)),
            "instructions": _rounded(m.instructions, 1),
            "target": None
            if verdict is None
            else {
                "text": verdict.text,
                "limit": verdict.limit,
                "ratio": _rounded(verdict.ratio),
                "factor": _rounded(verdict.factor),
                "met": verdict.met,
            },
        }


def _section(m: Measurement) -> tuple[int, int, Kind, str]:
    shape, kind = m.case.shape, m.case.kind
    place = SHAPES.index(shape) if shape in SHAPES else len(SHAPES)
    return place, list(Kind).index(kind), kind, shape


def _rounded(value: float | None, digits: int = 4) -> float | None:
    return None if value is None else round(value, digits)


def machine() -> dict[str, Any]:
    """Where this runs."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "PGO" if optimised else "no PGO"
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()} ({build})",
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def versions(packages: Sequence[str] = _PACKAGES) -> dict[str, str]:
    """The installed ones of the packages that matter here."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

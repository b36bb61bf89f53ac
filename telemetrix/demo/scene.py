"""One look at the demonstration while it runs: all that a view may show."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from telemetrix.demo.journal import Journal
from telemetrix.demo.phases import Moment, Script
from telemetrix.demo.readings import Report
from telemetrix.demo.traffic import Noticed

SLICES: Final = 60
"""Into how many slices a cycle is cut for the graphs."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What a sixtieth of a cycle brought, as shares from 0 to 1.

    Attributes:
        failing_charges: of the attempts to charge, how many failed or were rejected.
        failing_orders: of the customers' orders, how many failed.
    """

    failing_charges: float
    failing_orders: float


@dataclass(frozen=True, slots=True)
class Scene:
    """One look.

    Attributes:
        elapsed: seconds since the start.
        seconds: how long it will take in all; None is until it is stopped.
        moment: where the script stands.
        report: what telemetrix counted.
        noticed: what the customers noticed.
        p95: the response time that 95 in 100 of the recent orders did not exceed, seconds.
        slices: of the present cycle, those that are over.
        journal: what happened.
        address: where the order service is.
        spans: what became of the spans; None if there are none.
    """

    elapsed: float
    seconds: float | None
    moment: Moment
    report: Report
    noticed: Counter[Noticed]
    p95: float
    slices: tuple[Slice, ...]
    journal: Journal
    address: str
    spans: str | None


class History:
    """Cuts the growing numbers into slices of the present cycle."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._cycle = 1
        self._slices: list[Slice] = []
        self._before = (0, 0, 0, 0)

    def add(self, elapsed: float, report: Report, noticed: Counter[Noticed]) -> tuple[Slice, ...]:
        """Note where the numbers stand; the slices that are over."""
        cycles, position = divmod(elapsed, self._script.cycle_seconds)
        if self._cycle != int(cycles) + 1:
            self._cycle = int(cycles) + 1
            self._slices.clear()
        over = int(position / self._script.cycle_seconds * SLICES)
        if over > len(self._slices):
            charge = report.operations["charge"]
            now = (
                charge.attempts,
                charge.failed + charge.rejected,
                noticed.total(),
                noticed[Noticed.FAILED],
            )
            attempts, failing, orders, failed = (n - b for n, b in zip(now, self._before, strict=True))
            self._before = now
            # More than one where the view was held up, by a stopped terminal say.
            latest = Slice(failing / max(attempts, 1), failed / max(orders, 1))
            self._slices += [latest] * (over - len(self._slices))
        return tuple(self._slices)

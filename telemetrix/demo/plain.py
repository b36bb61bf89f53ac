"""The view where there is no terminal: a line per second, and one per change."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from telemetrix.demo.phases import CYCLE_SECONDS
from telemetrix.demo.scene import Scene
from telemetrix.demo.traffic import Noticed


class View(Protocol):
    """Something to watch the demonstration in."""

    @property
    def interval(self) -> float:
        """Seconds between two looks."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, scene: Scene) -> None:
        """Show it."""
        ...


class PlainView:
    """Lines of plain ASCII, each written out at once."""

    interval: float = 0.1

    def __init__(self, hint: str | None = None) -> None:
        self._hint = hint
        self._begun = False
        self._phase = ""
        self._shown_until = 0
        self._next_line = 1.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, scene: Scene) -> None:
        """Write what is new."""
        if not self._begun:
            self._begun = True
            self._introduce(scene)
        cycle, phase, _ = scene.moment
        if self._phase != f"{cycle} {phase.name}":
            self._phase = f"{cycle} {phase.name}"
            self._write(scene.elapsed, f"== {phase.name}: {phase.story}")
        now = time.monotonic()
        for number, at, text in list(scene.journal.lines):
            if number > self._shown_until:
                self._write(scene.elapsed - (now - at), text)
                self._shown_until = number
        if scene.elapsed >= self._next_line:
            self._next_line = float(int(scene.elapsed) + 1)
            self._write(scene.elapsed, _status(scene))

    def _introduce(self, scene: Scene) -> None:
        how_long = (
            f"phases of {CYCLE_SECONDS:g} s in all, again and again; Ctrl-C ends it"
            if scene.seconds is None
            else f"{scene.seconds:g} s in all"
        )
        print(f"telemetrix demo: orders at {scene.address}/orders, metrics at {scene.address}/metrics; {how_long}")
        if self._hint:
            print(self._hint)

    def _write(self, at: float, text: str) -> None:
        print(f"[{at:6.1f} s] {text}", flush=True)


def _status(scene: Scene) -> str:
    report, noticed = scene.report, scene.noticed
    circuits = " ".join(f"{circuit.name}={circuit.state}" for circuit in report.circuits)
    return (
        f"{scene.moment.phase.name}: {circuits}"
        f" attempts={report.attempts} failed={report.failed} recovered={report.recovered}"
        f" rejected={report.rejected} fallback={report.served} rollbacks={report.rollbacks}"
        f" | orders={noticed.total()} paid={noticed[Noticed.AT_ONCE]} late={noticed[Noticed.LATE]}"
        f" pending={noticed[Noticed.PENDING]} failed={noticed[Noticed.FAILED]}"
    )

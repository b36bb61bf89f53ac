"""The view in a terminal, redrawn several times a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from telemetrix.demo.phases import PHASES
from telemetrix.demo.readings import CircuitTally
from telemetrix.demo.scene import SLICES, Scene, Slice
from telemetrix.demo.summary import rows, shown
from telemetrix.demo.traffic import Noticed
from telemetrix.events import CircuitTransition

_FIXED_LINES: Final = 20
"""Lines of the screen that are not the log's."""

_LABEL: Final = 14
"""Columns before a graph."""

_GUARDED_WIDTHS: Final = (8, 7, 9, 8, 10, 9, 9, 10, 6)
_GUARDED_STYLES: Final = ("", "", "", "red", "green", "yellow", "magenta", "cyan", "bold red")
_CIRCUIT_WIDTHS: Final = (11, 13, 16, 8, 10)

_BARS: Final = " ▁▂▃▄▅▆▇█"
_FROM: Final = " ← "
_STATES: Final = {"closed": "green", "half_open": "yellow", "open": "red"}
_NOTICED: Final = (
    (Noticed.AT_ONCE, "green"),
    (Noticed.LATE, "yellow"),
    (Noticed.PENDING, "magenta"),
    (Noticed.FAILED, "red"),
)


class LiveView:
    """Redraws the whole screen; the terminal gets its former content back at the end.

    Parameters:
        console: where to draw; a terminal with Unicode.
    """

    interval: float = 0.2

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, scene: Scene) -> None:
        """Draw it."""
        self._live.update(self._screen(scene), refresh=True)

    def _screen(self, scene: Scene) -> RenderableType:
        lines = [
            self._head(scene),
            Text(scene.moment.phase.story, style="italic"),
            Text(),
            _phases(scene),
            self._graph("charge fails", scene.slices, lambda s: s.failing_charges),
            self._graph("order fails", scene.slices, lambda s: s.failing_orders),
            Text(),
            *self._circuits(scene),
            Text(),
            *_guarded(scene),
            Text(),
            *_customers(scene),
            Text(),
            *self._log(scene),
            _foot(scene),
        ]
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)

    def _head(self, scene: Scene) -> Text:
        total = "" if scene.seconds is None else f" of {_clock(scene.seconds)}"
        cycle = f"cycle {scene.moment.cycle}   " if scene.moment.cycle > 1 else ""
        right = f"{cycle}{_clock(scene.elapsed)}{total}   Ctrl-C ends it"
        room = max(16, self._console.width - len(right) - 1)
        return Text.assemble(("telemetrix", "bold"), f"{' demo':<{room - len('telemetrix')}}", (right, "dim"))

    @staticmethod
    def _graph(label: str, slices: Sequence[Slice], share_of: Callable[[Slice], float]) -> Text:
        shares = [share_of(one) for one in slices]
        top = len(_BARS) - 1
        # Anything at all is worth a mark.
        marks = "".join(_BARS[max(1, round(share * top)) if share else 0] for share in shares)
        latest = f"{shares[-1]:4.0%}" if shares else ""
        return Text.assemble((f"{label:<{_LABEL}}", "dim"), (f"{marks:<{SLICES}}", "red"), latest)

    def _circuits(self, scene: Scene) -> Iterable[Text]:
        headings = ("circuit", "state", "", "opened", "probes ok")
        yield Text(_row(headings, _CIRCUIT_WIDTHS) + "it was", style="dim")
        for circuit in scene.report.circuits:
            transitions = list(scene.journal.transitions[circuit.name])
            probes = circuit.probes_succeeded + circuit.probes_failed
            cells = (
                circuit.name,
                f"● {shown(circuit.state).upper()}",
                _wait(circuit, transitions),
                str(circuit.opened),
                f"{circuit.probes_succeeded} of {probes}",
            )
            styles = ("", f"bold {_STATES.get(circuit.state, '')}", "", "", "")
            line = Text()
            for cell, width, style in zip(cells, _CIRCUIT_WIDTHS, styles, strict=True):
                line.append(f"{cell:<{width}}", style)
            yield line.append_text(self._way(transitions))

    def _way(self, transitions: Sequence[CircuitTransition]) -> Text:
        before = [transition.from_state.value for transition in reversed(transitions)]
        way = Text()
        room = self._console.width - sum(_CIRCUIT_WIDTHS)
        for state in before:
            if len(way) + len(_FROM) + len(shown(state)) > room:
                break
            if way:
                way.append(_FROM, style="dim")
            way.append(shown(state), style=_STATES[state])
        return way

    def _log(self, scene: Scene) -> Iterable[Text]:
        room = max(1, self._console.height - _FIXED_LINES)
        lines = list(scene.journal.lines)[-room:]
        now = time.monotonic()
        for _, at, text in lines:
            yield Text.assemble((f"{scene.elapsed - (now - at):6.1f} s  ", "dim"), text)
        for _ in range(room - len(lines)):
            yield Text()


def _phases(scene: Scene) -> Text:
    """The names of the phases, each above its part of the graphs."""
    text = Text(" " * _LABEL)
    ends = [round(share * SLICES) for share in accumulate(phase.share for phase in PHASES)]
    for phase, start, end in zip(PHASES, (0, *ends), ends, strict=False):
        name = f"|{phase.name:<{end - start - 1}}"
        text.append(name, "bold reverse" if phase is scene.moment.phase else "dim")
    return text.append(f"{scene.moment.left:3.0f} s", "dim")


def _guarded(scene: Scene) -> Iterable[Text]:
    headings, *lines = rows(scene.report)
    yield Text(_right(headings, _GUARDED_WIDTHS), style="dim")
    for cells in lines:
        line = Text()
        for cell, width, style in zip(cells, _GUARDED_WIDTHS, _GUARDED_STYLES, strict=True):
            plain = not line or cell in {"0", "-"}
            line.append(f"{cell:<{width}}" if not line else f"{cell:>{width}}", "" if plain else style)
        yield line


def _customers(scene: Scene) -> Iterable[Text]:
    yield Text(f"customers ({scene.noticed.total()} orders, 95 in 100 within {scene.p95 * 1000:.0f} ms)", "dim")
    text = Text()
    for kind, style in _NOTICED:
        number = scene.noticed[kind]
        text.append(f"{number} {kind}", style if number else "").append("   ")
    yield text


def _foot(scene: Scene) -> Text:
    text = Text.assemble((f"{scene.address}/metrics", "underline"), style="dim")
    return text.append(f"   {scene.spans}") if scene.spans else text


def _wait(circuit: CircuitTally, transitions: Sequence[CircuitTransition]) -> str:
    if circuit.state == "half_open":
        return "probing"
    if circuit.state != "open" or not transitions:
        return ""
    left = transitions[-1].at + transitions[-1].recovery_timeout - time.monotonic()
    return f"probe in {max(0.0, left):.1f} s"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True))


def _right(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:<{width}}" if number == 0 else f"{cell:>{width}}"
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "".join((first, *others))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"

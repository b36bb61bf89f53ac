"""What is said at the end: what telemetrix saved, and what the customers noticed nevertheless."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from telemetrix.demo.readings import Report
from telemetrix.demo.traffic import Noticed

_COLUMNS = ("calls", "attempts", "failed", "recovered", "rejected", "fallback", "rollbacks", "lost")


def summary(seconds: float, report: Report, noticed: Counter[Noticed], spans: str | None) -> str:
    """The summary, plain text.

    Parameters:
        seconds: how long the demonstration took.
        report: what telemetrix counted.
        noticed: what the customers noticed.
        spans: what became of the spans; None if there are none.
    """
    saved = report.recovered + report.served
    how = f"{report.recovered} by retry, {report.served} by fallback"
    lines = [
        f"telemetrix demo: {seconds:.1f} s",
        "",
        *_aligned(rows(report)),
        "",
        *_aligned(circuit_rows(report)),
        "",
        f"saved     {saved} of {saved + report.lost} calls that met a failure: {how}",
        f"spared    {_count(report.rejected, 'attempt')} at a service that was down, by the open circuit",
        f"undone    {_count(report.rollbacks, 'transaction')}, rolled back and tried again",
        f"noticed   {_count(noticed.total(), 'order')}: " + ", ".join(f"{noticed[kind]} {kind}" for kind in Noticed),
    ]
    if spans:
        lines.append(f"traced    {spans}")
    return "\n".join(lines)


def rows(report: Report) -> list[tuple[str, ...]]:
    """What became of each guarded function, under a line of headings."""
    table: list[tuple[str, ...]] = [("guarded", *_COLUMNS)]
    for name, tally in report.operations.items():
        numbers = (
            tally.calls,
            tally.attempts,
            tally.failed,
            tally.recovered,
            tally.rejected if name != "save" else "-",
            tally.served if name == "charge" else "-",
            report.rollbacks if name == "save" else "-",
            tally.lost,
        )
        table.append((name, *(str(number) for number in numbers)))
    return table


def circuit_rows(report: Report) -> list[tuple[str, ...]]:
    """What became of each circuit, under a line of headings."""
    table: list[tuple[str, ...]] = [("circuit", "opened", "half-open", "closed", "open for", "now")]
    for circuit in report.circuits:
        moves = (str(circuit.opened), str(circuit.half_opened), str(circuit.closed))
        table.append((circuit.name, *moves, f"{circuit.open_seconds:.1f} s", shown(circuit.state)))
    return table


def shown(state: str) -> str:
    """A state as people write it."""
    return state.replace("_", "-")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    first, *others = zip(*table, strict=True)
    columns = [[cell.ljust(9) for cell in first]]
    columns += [[cell.rjust(max(map(len, column)) + 1) for cell in column] for column in others]
    return ["".join(row) for row in zip(*columns, strict=True)]

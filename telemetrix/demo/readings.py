"""What telemetrix says about itself, read from the metrics that any Prometheus would scrape.

Nothing is counted here a second time, so the screen, the summary and `/metrics` cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import REGISTRY

_Sample = tuple[str, tuple[tuple[str, str], ...]]

_GROWING: Final = ("_total", "_sum", "_count")
_LEFT_OUT: Final = ("_bucket", "_created")


class Reading:
    """The values of telemetrix's metrics at one moment, or how much they grew since another one."""

    def __init__(self, values: dict[_Sample, float]) -> None:
        self._values = values

    @classmethod
    def take(cls) -> Reading:
        """The values now."""
        return cls(
            {
                (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                for family in REGISTRY.collect()
                if family.name.startswith("telemetrix_")
                for sample in family.samples
                if not sample.name.endswith(_LEFT_OUT)
            }
        )

    def since(self, earlier: Reading) -> Reading:
        """These values, with what counters had counted before left out."""
        before = earlier._values
        return Reading(
            {
                key: value - before.get(key, 0.0) if key[0].endswith(_GROWING) else value
                for key, value in self._values.items()
            }
        )

    def total(self, name: str, **labels: str) -> float:
        """The sum over the series of that name that have these labels."""
        wanted = labels.items()
        return sum(
            value
            for (sample, present), value in self._values.items()
            if sample == name and wanted <= dict(present).items()
        )

    def state(self, circuit: str) -> str:
        """The state that a circuit is in."""
        for (name, labels), value in self._values.items():
            pairs = dict(labels)
            if name == "telemetrix_circuit_state" and pairs["circuit"] == circuit and value:
                return pairs["state"]
        return "unknown"


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of the calls of one guarded function.

    Attributes:
        calls: how often it was called.
        attempts: how often it was tried, the rejected ones included.
        failed: attempts that failed, the rejected ones left out.
        recovered: calls that failed first and succeeded then.
        exhausted: calls that failed as often as allowed.
        rejected: attempts that an open circuit did not let through.
        expired: attempts that took too long.
        served: calls that were answered by the fallback.
        lost: calls whose caller got the error.
    """

    calls: int
    attempts: int
    failed: int
    recovered: int
    exhausted: int
    rejected: int
    expired: int
    served: int
    lost: int

    @classmethod
    def of(cls, function: Callable[..., Any], reading: Reading) -> Tally:
        """The tally of a function that is guarded by `retry` and perhaps by others."""
        operation = f"{function.__module__}.{function.__qualname__}"

        def calls(**labels: str) -> int:
            return int(reading.total("telemetrix_calls_total", operation=operation, **labels))

        def attempts(**labels: str) -> int:
            return int(reading.total("telemetrix_attempts_total", operation=operation, **labels))

        has_fallback = calls(primitive="fallback") > 0
        rejected = calls(primitive="circuit_breaker", outcome="rejected")
        return cls(
            calls=calls(primitive="retry"),
            attempts=attempts(),
            failed=attempts(outcome="failure") - rejected,
            recovered=calls(primitive="retry", reason="recovered"),
            exhausted=calls(primitive="retry", reason="exhausted"),
            rejected=rejected,
            expired=calls(primitive="timeout", outcome="timeout"),
            served=calls(primitive="fallback", outcome="fallback"),
            lost=calls(primitive="fallback" if has_fallback else "retry", outcome="failure"),
        )


@dataclass(frozen=True, slots=True)
class CircuitTally:
    """What became of one circuit.

    Attributes:
        name: the circuit.
        state: where it stands.
        opened, half_opened, closed: how often it went there.
        open_seconds: how long it has been open.
        probes_succeeded, probes_failed: how its probes ended.
    """

    name: str
    state: str
    opened: int
    half_opened: int
    closed: int
    open_seconds: float
    probes_succeeded: int
    probes_failed: int

    @classmethod
    def of(cls, name: str, reading: Reading) -> CircuitTally:
        """The tally of the circuit of that name."""

        def moved(to: str) -> int:
            return int(reading.total("telemetrix_circuit_transitions_total", circuit=name, to_state=to))

        def probes(outcome: str) -> int:
            return int(reading.total("telemetrix_circuit_probes_total", circuit=name, outcome=outcome))

        return cls(
            name=name,
            state=reading.state(name),
            opened=moved("open"),
            half_opened=moved("half_open"),
            closed=moved("closed"),
            open_seconds=reading.total("telemetrix_circuit_open_seconds_total", circuit=name),
            probes_succeeded=probes("success"),
            probes_failed=probes("failure"),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """All tallies at one moment, by the name they have on the screen."""

    operations: dict[str, Tally]
    circuits: tuple[CircuitTally, ...]

    @property
    def rollbacks(self) -> int:
        """Transactions that were rolled back: each failed attempt to save is one."""
        return self.operations["save"].failed

    @property
    def attempts(self) -> int:
        """Attempts of all guarded functions."""
        return sum(tally.attempts for tally in self.operations.values())

    @property
    def failed(self) -> int:
        """Attempts of all guarded functions that failed."""
        return sum(tally.failed for tally in self.operations.values())

    @property
    def recovered(self) -> int:
        """Calls of all guarded functions that a retry saved."""
        return sum(tally.recovered for tally in self.operations.values())

    @property
    def served(self) -> int:
        """Calls of all guarded functions that a fallback saved."""
        return sum(tally.served for tally in self.operations.values())

    @property
    def rejected(self) -> int:
        """Attempts that an open circuit did not let through."""
        return sum(tally.rejected for tally in self.operations.values())

    @property
    def lost(self) -> int:
        """Calls whose caller got the error."""
        return sum(tally.lost for tally in self.operations.values())

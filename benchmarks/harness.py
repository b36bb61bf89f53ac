"""Measuring: samples in random order, each beside a calibration loop, reduced to medians.

A shared machine drifts between speeds that differ by a factor of two. The drift is slower than a
sample, so a no-op loop timed directly before and after it sees the same speed as the sample does,
and the quotient of the two sees none of the drift.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from time import thread_time_ns

from benchmarks.subjects import CALLS_PER_TURN, Kind, Run, fresh


@dataclass(frozen=True, slots=True)
class Target:
    """The most a case may cost: `limit` times the case whose key is `of`."""

    limit: float
    of: str
    of_name: str = "floor"


@dataclass(frozen=True, slots=True)
class Case:
    """One row: something to call, and what has to be so while it is called.

    Parameters:
        kind: whether the guarded function is a coroutine function.
        shape: what happens in a call; together with `kind` the section of the table.
        label: who guards it, and how.
        run: makes n calls and times them.
        prepare: called before each sample, outside of its time.
        settle: called after each sample, outside of its time.
        check: raises if the case does not do what its label says.
        turn: calls that `run` makes at least, and in multiples of.
        at_least: calls in one sample, where fewer would leave out work that is put off.
        target: what it is held to.
        counted: whether it is one of the main rows, whose instructions are counted.
    """

    kind: Kind
    shape: str
    label: str
    run: Run
    prepare: Callable[[], None] = lambda: None
    settle: Callable[[], None] = lambda: None
    check: Callable[[], None] = lambda: None
    turn: int = CALLS_PER_TURN
    at_least: int = 1
    target: Target | None = None
    counted: bool = True

    @property
    def key(self) -> str:
        """What `--only` matches and targets refer to."""
        return f"{self.kind}/{self.shape}/{self.label}"


@dataclass(slots=True)
class Measurement:
    """What a case cost.

    `ns` is the median of the normalised samples, in ns of this run's median no-op call; `spread`
    their interquartile range as a part of that median; `raw_min_ns` the fastest sample, not
    normalised.
    """

    case: Case
    ns: float
    spread: float
    raw_min_ns: float
    calls: int
    samples: int
    instructions: float | None = None


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    rounds: int
    sample_ns: int


THOROUGH = Effort(rounds=30, sample_ns=2_500_000)
QUICK = Effort(rounds=9, sample_ns=1_000_000)

_CALIBRATION_CALLS = 8_000


def _no_op() -> None:
    pass


def _calibration_loop(n: int) -> int:
    f = _no_op
    start = thread_time_ns()
    for _ in repeat(None, n // 8):
        f()
        f()
        f()
        f()
        f()
        f()
        f()
        f()
    return thread_time_ns() - start


@dataclass(slots=True)
class _Series:
    case: Case
    calls: int
    relative: list[float] = field(default_factory=list)
    """Time of one call over the time of one no-op call."""
    raw_ns: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """A run: what was measured, what could not be, and the price of a no-op call."""

    measurements: list[Measurement]
    left_out: list[str]
    no_op_ns: float


def measure(cases: Sequence[Case], effort: Effort, seed: int) -> Outcome:
    """Measure all cases against each other."""
    left_out: list[str] = []
    series = [ready for case in cases if (ready := _get_ready(case, effort, left_out))]
    calibrate: Run = fresh(_calibration_loop)
    calibrate(_CALIBRATION_CALLS)
    no_op: list[float] = []
    order = random.Random(seed)
    try:
        for _ in range(effort.rounds):
            order.shuffle(series)
            for one in series:
                one.case.prepare()
                # Garbage of other cases, and a heap that they grew, would change when this one's is
                # collected and what that costs.
                gc.collect()
                gc.freeze()
                before = calibrate(_CALIBRATION_CALLS)
                elapsed = one.case.run(one.calls)
                after = calibrate(_CALIBRATION_CALLS)
                one.case.settle()
                base = (before + after) / 2 / _CALIBRATION_CALLS
                per_call = elapsed / one.calls
                no_op.append(base)
                one.relative.append(per_call / base)
                one.raw_ns.append(per_call)
    finally:
        gc.unfreeze()
    reference = statistics.median(no_op)
    by_key = {one.case.key: _reduce(one, reference) for one in series}
    found = [by_key[case.key] for case in cases if case.key in by_key]
    return Outcome(found, left_out, reference)


def _get_ready(case: Case, effort: Effort, left_out: list[str]) -> _Series | None:
    try:
        case.prepare()
        try:
            case.check()
            return _Series(case, _calls_for(case, effort))
        finally:
            case.settle()
    except Exception as error:  # noqa: BLE001 - one case that does not work must not take the others along
        left_out.append(f"{case.key}: {type(error).__name__}: {error}")
        return None


def _calls_for(case: Case, effort: Effort) -> int:
    n = case.turn
    while True:
        elapsed = max(case.run(n), 1)
        if elapsed > effort.sample_ns / 4:
            break
        n *= 2
    wanted = max(n * effort.sample_ns // elapsed, case.at_least)
    return max(1, wanted // case.turn) * case.turn


def _reduce(series: _Series, reference: float) -> Measurement:
    middle = statistics.median(series.relative)
    low, _, high = statistics.quantiles(series.relative, n=4, method="inclusive")
    return Measurement(
        case=series.case,
        ns=middle * reference,
        spread=(high - low) / middle,
        raw_min_ns=min(series.raw_ns),
        calls=series.calls,
        samples=len(series.relative),
    )

"""What is guarded, and one call of it: the two records that primitives fill and subscribers read."""

from __future__ import annotations

from typing import Any, Final, Protocol

from telemetrix._core.outcomes import Outcome, Primitive, Reason

DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the duration histograms' buckets, seconds; the last bucket is everything longer."""

OTHER: Final = "other"
"""What a label shows once it has had too many values."""


class SuccessCells:
    """Uneventful successes of one operation, counted by duration bucket; they only ever grow.

    The fast path of a wrapper adds to these cells in place instead of building a record. That is exact without a lock
    while the interpreter has its GIL, because no call and no loop lies between the load and the store of a cell
    (`tests/test_cells.py` holds the proof and its negative control). Readers keep the totals they saw last.
    """

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts: list[int] = [0] * (len(DURATION_BOUNDS) + 1)
        self.seconds: list[float] = [0.0]


class Operation:
    """A name under which a primitive guards something.

    Attributes:
        primitive: what guards it.
        name: what the user calls it; by default the function's `module.qualname`.
        label: the same, or `other` when there are too many names for a label.
        function: `module.qualname` of the guarded function; None if there is none.
        successes: the uneventful successes that were counted in place.
        rejections: a cell with the rejections by an open circuit, which are counted in place too.
    """

    __slots__ = ("function", "label", "name", "primitive", "rejections", "successes")

    def __init__(
        self,
        primitive: Primitive,
        name: str,
        label: str,
        function: str | None,
        shared: Operation | None = None,
    ) -> None:
        self.primitive: Primitive = primitive
        self.name: str = name
        self.label: str = label
        self.function: str | None = function
        self.successes: SuccessCells = shared.successes if shared else SuccessCells()
        self.rejections: list[int] = shared.rejections if shared else [0]

    def __repr__(self) -> str:
        return f"<Operation {self.primitive} {self.name}>"


class CallWatcher(Protocol):
    """Whoever is told of a call while it runs; `telemetrix.Subscriber` is one."""

    @property
    def name(self) -> str:
        """What it is called in telemetry."""
        ...

    def call_started(self, call: Call) -> None:
        """A call begins."""
        ...

    def attempt_started(self, call: Call) -> None:
        """An attempt of a retry begins."""
        ...

    def attempt_finished(self, call: Call, error: BaseException | None) -> None:
        """The attempt came to its end."""
        ...

    def call_finished(self, call: Call) -> None:
        """The call came to its end."""
        ...


class Call:
    """One call of a primitive, from entry to its one outcome.

    Attributes:
        operation: what is called.
        started_at: when, on the clock in force, seconds.
        attempts: runs of the function so far.
        wait: the wait before the present attempt, seconds; 0 before the first.
        waits: every wait, seconds, in order; None if there was none.
        errors: the class of every failed attempt's error, in order; None if there was none.
        outcome, reason: how it ended and why; None while it runs.
        seconds: how long it took; 0 while it runs.
        error: what its caller will see, while the end is being told to subscribers; None otherwise.
        attributes: what a primitive adds for spans, such as the circuit's name; None if nothing.
        trace: the trace and span id, hexadecimal, when a sampled span shows this call.
        watchers: the subscribers that were told of the start, and will be told of the end.
        notes: for subscribers, to keep what they need between the start and the end.
    """

    __slots__ = (
        "attempts",
        "attributes",
        "error",
        "errors",
        "notes",
        "operation",
        "outcome",
        "reason",
        "seconds",
        "started_at",
        "trace",
        "wait",
        "waits",
        "watchers",
    )

    def __init__(self, operation: Operation, started_at: float) -> None:
        self.operation: Operation = operation
        self.started_at: float = started_at
        self.attempts: int = 1
        self.wait: float = 0.0
        self.waits: list[float] | None = None
        self.errors: list[type[BaseException]] | None = None
        self.outcome: Outcome | None = None
        self.reason: Reason | None = None
        self.seconds: float = 0.0
        self.error: BaseException | None = None
        self.attributes: dict[str, str] | None = None
        self.trace: tuple[str, str] | None = None
        self.watchers: tuple[CallWatcher, ...] = ()
        self.notes: dict[Any, Any] | None = None

    def failed_with(self, error: BaseException) -> None:
        """Remember the class of an attempt's error (never the error itself, which would keep its frames alive)."""
        if self.errors is None:
            self.errors = [type(error)]
        else:
            self.errors.append(type(error))

    def waits_for(self, seconds: float) -> None:
        """Remember a wait between two attempts."""
        self.wait = seconds
        if self.waits is None:
            self.waits = [seconds]
        else:
            self.waits.append(seconds)

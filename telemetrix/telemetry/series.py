"""The series of one operation: all of them there, at 0, from the moment the operation exists.

A counter that is born at 1 is invisible to PromQL's `increase()`, so every outcome and reason a primitive can end with
has its series before the first call.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any, Final

from telemetrix._core.outcomes import ENDINGS, Outcome, Primitive, Reason, outcomes_of
from telemetrix.calls import DURATION_BOUNDS, OTHER, Call, Operation
from telemetrix.telemetry import catalog
from telemetrix.telemetry.names import error_type

MAX_ERROR_TYPES: Final = 20
"""Error classes per operation that get a series of their own."""


class OperationSeries:
    """The children of the Prometheus metrics for one operation, and how calls are added to them.

    Calls are tallied in plain numbers, a tenth of the cost of a Prometheus child, and brought into the children by
    `fold`. The owner calls both under one lock.
    """

    def __init__(self, operation: Operation, metrics: dict[str, Any], *, from_now: bool) -> None:
        primitive, label = operation.primitive.value, operation.label
        self._calls = {
            ending: metrics[catalog.CALLS.name].labels(primitive, label, ending[0].value, ending[1].value)
            for ending in ENDINGS[operation.primitive]
        }
        self._durations = {
            outcome: metrics[catalog.CALL_DURATION.name].labels(primitive, label, outcome.value)
            for outcome in outcomes_of(operation.primitive)
        }
        self._errors_family = metrics[catalog.ERRORS.name]
        self._errors: dict[str, Any] = {}
        self._label = (primitive, label)
        self._error(OTHER)
        self._attempts = AttemptSeries(label, metrics) if operation.primitive is Primitive.RETRY else None
        if operation.primitive is Primitive.TIMEOUT:
            metrics[catalog.ABANDONED_THREADS.name].labels(label)
        if operation.primitive is Primitive.BATCH:
            for outcome in (Outcome.SUCCESS, Outcome.FAILURE):
                metrics[catalog.BATCH_ITEMS.name].labels(label, outcome.value)
        self._success = ENDINGS[operation.primitive][0]
        self._operation = operation
        # Another registry may have had the earlier ones.
        self._seen_counts = list(operation.successes.counts) if from_now else [0] * len(operation.successes.counts)
        self._seen_seconds = operation.successes.seconds[0] if from_now else 0.0
        self._seen_rejections = operation.rejections[0] if from_now else 0
        self._forget()

    def _forget(self) -> None:
        self._dirty = False
        self._new_calls = dict.fromkeys(self._calls, 0)
        self._new_buckets = {outcome: [0] * (len(DURATION_BOUNDS) + 1) for outcome in self._durations}
        self._new_seconds = dict.fromkeys(self._durations, 0.0)
        self._new_errors: dict[type[BaseException], int] = {}

    def add(self, call: Call) -> None:
        """Tally a finished call."""
        outcome, reason = call.outcome, call.reason
        if outcome is None or reason is None:
            return
        self._dirty = True
        self._new_calls[outcome, reason] += 1
        if call.trace is None:
            self._new_buckets[outcome][bisect_left(DURATION_BOUNDS, call.seconds)] += 1
            self._new_seconds[outcome] += call.seconds
        else:
            self._durations[outcome].observe(call.seconds, {"trace_id": call.trace[0], "span_id": call.trace[1]})
        if call.errors is not None:
            errors = self._new_errors
            for kind in call.errors:
                errors[kind] = errors.get(kind, 0) + 1
        if self._attempts is not None:
            self._attempts.add(call)

    def fold(self) -> None:
        """Bring everything that was counted since the last time into the Prometheus metrics."""
        self._fold_successes()
        self._fold_rejections()
        if not self._dirty:
            return
        for ending, count in self._new_calls.items():
            if count:
                self._calls[ending].inc(count)
        for outcome, counts in self._new_buckets.items():
            _observe_many(self._durations[outcome], counts, self._new_seconds[outcome])
        for kind, count in self._new_errors.items():
            self._error(error_type(kind)).inc(count)
        if self._attempts is not None:
            self._attempts.fold()
        self._forget()

    def _fold_successes(self) -> None:
        cells = self._operation.successes
        counts = list(cells.counts)
        if counts == self._seen_counts:
            return
        seconds = cells.seconds[0]
        added = [now - before for now, before in zip(counts, self._seen_counts, strict=True)]
        elapsed = max(0.0, seconds - self._seen_seconds)
        self._seen_counts, self._seen_seconds = counts, seconds
        self._calls[self._success].inc(sum(added))
        _observe_many(self._durations[Outcome.SUCCESS], added, elapsed)
        if self._attempts is not None:
            self._attempts.add_first_tries(sum(added))

    def _fold_rejections(self) -> None:
        count = self._operation.rejections[0]
        added, self._seen_rejections = count - self._seen_rejections, count
        if added:
            self._calls[Outcome.REJECTED, Reason.OPEN].inc(added)
            # Turned away at once: their time is not worth a reading of the clock.
            _observe_many(self._durations[Outcome.REJECTED], [added], 0.0)

    def _error(self, name: str) -> Any:
        child = self._errors.get(name)
        if child is None:
            if len(self._errors) > MAX_ERROR_TYPES:
                return self._errors[OTHER]
            child = self._errors[name] = self._errors_family.labels(*self._label, name)
        return child


class AttemptSeries:
    """What is counted of a retry's attempts and waits."""

    def __init__(self, label: str, metrics: dict[str, Any]) -> None:
        self._attempts = {
            outcome: metrics[catalog.ATTEMPTS.name].labels(label, outcome.value)
            for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED)
        }
        self._per_call = metrics[catalog.ATTEMPTS_PER_CALL.name].labels(label)
        self._delay = metrics[catalog.RETRY_DELAY.name].labels(label)
        self._forget()

    def _forget(self) -> None:
        self._new = dict.fromkeys(self._attempts, 0)
        self._new_per_call = [0] * (len(catalog.ATTEMPTS_PER_CALL.buckets) + 1)
        self._new_attempts = 0
        self._new_delays = [0] * (len(DURATION_BOUNDS) + 1)
        self._new_delay = 0.0

    def add(self, call: Call) -> None:
        """Tally a finished call."""
        failed = len(call.errors) if call.errors is not None else 0
        self._new[Outcome.FAILURE] += failed
        if call.outcome is Outcome.SUCCESS:
            self._new[Outcome.SUCCESS] += 1
        elif call.attempts > failed:
            self._new[Outcome.CANCELLED] += 1
        self._new_per_call[bisect_left(catalog.ATTEMPTS_PER_CALL.buckets, call.attempts)] += 1
        self._new_attempts += call.attempts
        if call.waits is not None:
            for wait in call.waits:
                self._new_delays[bisect_left(DURATION_BOUNDS, wait)] += 1
                self._new_delay += wait

    def add_first_tries(self, count: int) -> None:
        """Add calls that succeeded at once."""
        self._attempts[Outcome.SUCCESS].inc(count)
        _observe_many(self._per_call, [count], count)

    def fold(self) -> None:
        """Bring the tallies into the Prometheus metrics."""
        for outcome, count in self._new.items():
            if count:
                self._attempts[outcome].inc(count)
        _observe_many(self._per_call, self._new_per_call, self._new_attempts)
        _observe_many(self._delay, self._new_delays, self._new_delay)
        self._forget()


def _observe_many(histogram: Any, counts: list[int], total: float) -> None:
    """Add many observations at once; the one place that reaches into prometheus_client (a test watches the names)."""
    for bucket, count in zip(histogram._buckets, counts, strict=False):  # noqa: SLF001
        if count:
            bucket.inc(count)
    histogram._sum.inc(total)  # noqa: SLF001

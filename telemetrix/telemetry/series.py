"""The series of one operation: all of them there, at 0, from the moment the operation exists.

A counter that is born at 1 is invisible to PromQL's `increase()`, so every outcome and reason a primitive can end with
has its series before the first call.
"""

from __future__ import annotations

from typing import Any, Final

from telemetrix._core.outcomes import ENDINGS, Outcome, Primitive, outcomes_of
from telemetrix.calls import OTHER, Call, Operation
from telemetrix.telemetry import catalog
from telemetrix.telemetry.names import error_type

MAX_ERROR_TYPES: Final = 20
"""Error classes per operation that get a series of their own."""


class OperationSeries:
    """The children of the Prometheus metrics for one operation, and how calls are added to them."""

    def __init__(self, operation: Operation, metrics: dict[str, Any]) -> None:
        primitive, label = operation.primitive.value, operation.label
        self._retries = operation.primitive is Primitive.RETRY
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
        if self._retries:
            self._attempts = {
                outcome: metrics[catalog.ATTEMPTS.name].labels(label, outcome.value)
                for outcome in (Outcome.SUCCESS, Outcome.FAILURE, Outcome.CANCELLED)
            }
            self._per_call = metrics[catalog.ATTEMPTS_PER_CALL.name].labels(label)
            self._delay = metrics[catalog.RETRY_DELAY.name].labels(label)
        if operation.primitive is Primitive.TIMEOUT:
            metrics[catalog.ABANDONED_THREADS.name].labels(label)
        if operation.primitive is Primitive.BATCH:
            for outcome in (Outcome.SUCCESS, Outcome.FAILURE):
                metrics[catalog.BATCH_ITEMS.name].labels(label, outcome.value)
        self._success = ENDINGS[operation.primitive][0]
        self._cells = operation.successes
        # Only what is counted from now on: another registry may have had the earlier ones.
        self._seen_counts = list(self._cells.counts)
        self._seen_seconds = self._cells.seconds[0]

    def fold_successes(self) -> None:
        """Add the uneventful successes that were counted in place since the last time."""
        counts = list(self._cells.counts)
        if counts == self._seen_counts:
            return
        seconds = self._cells.seconds[0]
        added = [now - before for now, before in zip(counts, self._seen_counts, strict=True)]
        total, elapsed = sum(added), seconds - self._seen_seconds
        self._seen_counts, self._seen_seconds = counts, seconds
        self._calls[self._success].inc(total)
        _observe_many(self._durations[Outcome.SUCCESS], added, elapsed)
        if self._retries:
            self._attempts[Outcome.SUCCESS].inc(total)
            _observe_many(self._per_call, [total], total)

    def add(self, call: Call) -> None:
        """Add a finished call."""
        if call.outcome is None or call.reason is None:
            return
        self._calls[call.outcome, call.reason].inc()
        exemplar = {"trace_id": call.trace[0], "span_id": call.trace[1]} if call.trace else None
        self._durations[call.outcome].observe(call.seconds, exemplar)
        for kind in call.errors or ():
            self._error(error_type(kind)).inc()
        if self._retries:
            self._add_attempts(call)

    def _add_attempts(self, call: Call) -> None:
        failed = len(call.errors or ())
        if failed:
            self._attempts[Outcome.FAILURE].inc(failed)
        if call.outcome is Outcome.SUCCESS:
            self._attempts[Outcome.SUCCESS].inc()
        elif call.attempts > failed:
            self._attempts[Outcome.CANCELLED].inc()
        self._per_call.observe(call.attempts)
        for wait in call.waits or ():
            self._delay.observe(wait)

    def _error(self, name: str) -> Any:
        child = self._errors.get(name)
        if child is None:
            if len(self._errors) > MAX_ERROR_TYPES:
                return self._errors[OTHER]
            child = self._errors[name] = self._errors_family.labels(*self._label, name)
        return child


def _observe_many(histogram: Any, counts: list[int], total: float) -> None:
    """Add many observations at once; the one place that reaches into prometheus_client (a test watches the names)."""
    for bucket, count in zip(histogram._buckets, counts, strict=False):  # noqa: SLF001
        if count:
            bucket.inc(count)
    histogram._sum.inc(total)  # noqa: SLF001

"""Every metric, declared once.

A declaration makes the Prometheus metric (`metrics.py`), its row in `docs/metrics.md` and the tests that hold them
together. `QUESTIONS` are what an operator asks, each answered by one query over these metrics.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from telemetrix.calls import DURATION_BOUNDS

PREFIX: Final = "telemetrix_"

GaugeMode = Literal["livesum", "livemax"]


class Kind(StrEnum):
    """The Prometheus type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: its name as it is exposed.
        kind: its Prometheus type.
        unit: what is counted or measured.
        labels: its label names.
        help: what it says, one sentence.
        buckets: a histogram's upper bounds, in its unit.
        workers: how a gauge is summed up over the live worker processes of one server (prometheus_client's mode).
    """

    name: str
    kind: Kind
    unit: str
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()
    workers: GaugeMode = "livesum"


@dataclass(frozen=True, slots=True)
class Question:
    """What an operator asks, under a heading, and the PromQL that answers it."""

    topic: str
    text: str
    promql: str


def _counter(name: str, unit: str, labels: tuple[str, ...], text: str) -> Metric:
    return Metric(PREFIX + name, Kind.COUNTER, unit, labels, text)


def _gauge(name: str, unit: str, labels: tuple[str, ...], text: str, workers: GaugeMode = "livesum") -> Metric:
    return Metric(PREFIX + name, Kind.GAUGE, unit, labels, text, workers=workers)


def _histogram(
    name: str, unit: str, labels: tuple[str, ...], text: str, buckets: tuple[float, ...] = DURATION_BOUNDS
) -> Metric:
    return Metric(PREFIX + name, Kind.HISTOGRAM, unit, labels, text, buckets)


CALLS: Final = _counter(
    "calls_total",
    "calls",
    ("primitive", "operation", "outcome", "reason"),
    "Calls of a primitive, by how they ended and why.",
)
CALL_DURATION: Final = _histogram(
    "call_duration_seconds",
    "seconds",
    ("primitive", "operation", "outcome"),
    "How long calls of a primitive took, waits between attempts included.",
)
ERRORS: Final = _counter(
    "errors_total",
    "errors",
    ("primitive", "operation", "error_type"),
    "Errors a primitive saw its function raise (a retry: one per failed attempt), by class; past 20 classes, other.",
)
ATTEMPTS: Final = _counter(
    "attempts_total",
    "attempts",
    ("operation", "outcome"),
    "Runs of a retried function, by how each ended.",
)
ATTEMPTS_PER_CALL: Final = _histogram(
    "attempts_per_call",
    "attempts",
    ("operation",),
    "How many attempts a retried call took.",
    (1.0, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0),
)
RETRY_DELAY: Final = _histogram(
    "retry_delay_seconds",
    "seconds",
    ("operation",),
    "The waits between attempts.",
)
CIRCUIT_STATE: Final = _gauge(
    "circuit_state",
    "processes",
    ("circuit", "state"),
    "1 for the state a circuit is in, 0 for the others; over several worker processes, how many are in that state.",
)
CIRCUIT_STATE_SINCE: Final = _gauge(
    "circuit_state_since_timestamp_seconds",
    "seconds since 1970",
    ("circuit",),
    "When the present state of a circuit began.",
    "livemax",
)
CIRCUIT_TRANSITIONS: Final = _counter(
    "circuit_transitions_total",
    "transitions",
    ("circuit", "from_state", "to_state", "reason"),
    "Changes of a circuit's state.",
)
CIRCUIT_OPEN: Final = _counter(
    "circuit_open_seconds_total",
    "seconds",
    ("circuit",),
    "Time a circuit has been open; grows while it is (with several worker processes: when it ends).",
)
CIRCUIT_PROBES: Final = _counter(
    "circuit_probes_total",
    "probes",
    ("circuit", "outcome"),
    "Probes a half-open circuit let through, by how they ended.",
)
CIRCUIT_STALE: Final = _counter(
    "circuit_stale_results_total",
    "results",
    ("circuit",),
    "Results that came back after the circuit had changed its state, and were not counted.",
)
ABANDONED_THREADS: Final = _gauge(
    "timeouts_abandoned_threads",
    "threads",
    ("operation",),
    "Threads that still run what a timeout has given up waiting for.",
)
BATCH_ITEMS: Final = _counter(
    "batch_items_total",
    "items",
    ("operation", "outcome"),
    "Items of batches, by how they ended after their retries.",
)
SUBSCRIBER_ERRORS: Final = _counter(
    "bus_subscriber_errors_total",
    "errors",
    ("subscriber",),
    "Exceptions raised by subscribers and observing callbacks; the calls they watched went on.",
)
DROPPED_EVENTS: Final = _counter(
    "bus_dropped_events_total",
    "events",
    ("subscriber",),
    "Events a queued subscriber lost because its queue was full.",
)
LABEL_OVERFLOW: Final = _counter(
    "label_overflow_total",
    "uses",
    ("label",),
    "Uses of names that are shown as other because their label has too many values.",
)
BUILD_INFO: Final = _gauge(
    "build_info",
    "1",
    ("version",),
    "1, with the version of telemetrix.",
    "livemax",
)

CATALOG: Final[tuple[Metric, ...]] = (
    CALLS,
    CALL_DURATION,
    ERRORS,
    ATTEMPTS,
    ATTEMPTS_PER_CALL,
    RETRY_DELAY,
    CIRCUIT_STATE,
    CIRCUIT_STATE_SINCE,
    CIRCUIT_TRANSITIONS,
    CIRCUIT_OPEN,
    CIRCUIT_PROBES,
    CIRCUIT_STALE,
    ABANDONED_THREADS,
    BATCH_ITEMS,
    SUBSCRIBER_ERRORS,
    DROPPED_EVENTS,
    LABEL_OVERFLOW,
    BUILD_INFO,
)

_RETRY: Final = "Retry metrics"
_CIRCUIT: Final = "Circuit breaker metrics"
_BREAKER_CALLS: Final = (
    'telemetrix_calls_total{primitive="circuit_breaker",outcome=~"success|failure",reason!="ignored"}'
)

QUESTIONS: Final[tuple[Question, ...]] = (
    Question(
        _RETRY,
        "Retry count per operation",
        "sum by (operation) (increase(telemetrix_retry_delay_seconds_count[1h]))",
    ),
    Question(
        _RETRY,
        "Success rate after retries",
        'sum by (operation) (rate(telemetrix_calls_total{primitive="retry",reason="recovered"}[5m]))'
        " / sum by (operation)"
        ' (rate(telemetrix_calls_total{primitive="retry",reason=~"recovered|exhausted|deadline"}[5m]))',
    ),
    Question(
        _RETRY,
        "Average retry delay",
        "sum by (operation) (rate(telemetrix_retry_delay_seconds_sum[5m]))"
        " / sum by (operation) (rate(telemetrix_retry_delay_seconds_count[5m]))",
    ),
    Question(
        _RETRY,
        "Operations exceeding max retries",
        'sum by (operation) (increase(telemetrix_calls_total{primitive="retry",reason="exhausted"}[1h])) > 0',
    ),
    Question(
        _CIRCUIT,
        "Circuit state changes",
        "sum by (circuit, from_state, to_state, reason) (increase(telemetrix_circuit_transitions_total[1h]))",
    ),
    Question(
        _CIRCUIT,
        "Time in OPEN state",
        "sum by (circuit) (increase(telemetrix_circuit_open_seconds_total[1h]))",
    ),
    Question(
        _CIRCUIT,
        "Failure rate when CLOSED",
        "sum by (operation) (rate("
        + _BREAKER_CALLS.replace('=~"success|failure",reason!="ignored"', '="failure",reason="counted"')
        + f"[5m])) / sum by (operation) (rate({_BREAKER_CALLS}[5m]))",
    ),
    Question(
        _CIRCUIT,
        "Recovery success rate",
        'sum by (circuit) (increase(telemetrix_circuit_probes_total{outcome="success"}[1d]))'
        " / sum by (circuit) (increase(telemetrix_circuit_probes_total[1d]))",
    ),
)
"""What to keep an eye on. Questions about transactions get their answers with the primitives they ask about."""

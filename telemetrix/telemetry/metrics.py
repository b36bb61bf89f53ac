"""Prometheus metrics: the subscriber that counts.

The hot path never touches prometheus_client. Uneventful successes are counted in place by the wrappers
(`telemetrix.calls.SuccessCells`), all other finished calls are put in a queue, and both are folded into the Prometheus
metrics when somebody scrapes. With several worker processes (`PROMETHEUS_MULTIPROC_DIR`) the scrape happens in another
process, which cannot ask for that, so there every call is written at once.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric as Family

from telemetrix import events
from telemetrix._version import __version__
from telemetrix.calls import OTHER, Call, Operation
from telemetrix.locks import survive_fork
from telemetrix.subscribers import Subscriber
from telemetrix.telemetry import catalog
from telemetrix.telemetry.catalog import CATALOG, Kind, Metric
from telemetrix.telemetry.circuits import CircuitSeries
from telemetrix.telemetry.series import OperationSeries

FOLD_PAST: Final = 1024
"""Finished calls that may wait in the queue before the thread that adds one folds them."""


class PrometheusMetrics(Subscriber):
    """Fills the metrics of the catalogue in one registry.

    Parameters:
        registry: where they are registered; each registry can hold them once.

    Raises:
        ValueError: the registry has metrics of these names already.
    """

    event_types = (
        events.OperationRegistered,
        events.CircuitRegistered,
        events.CircuitTransition,
        events.ProbeFinished,
        events.StaleResultDropped,
        events.TimeoutExpired,
        events.AbandonedWorkFinished,
        events.BatchItemFinished,
        events.SubscriberFailed,
        events.EventsDropped,
        events.LabelOverflowed,
    )

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.registry = registry
        self._multiprocess = "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ
        self.reads_successes = not self._multiprocess
        self._metrics: dict[str, Any] = {metric.name: _make(metric) for metric in CATALOG}
        self._finished: deque[Call] = deque()
        self._operations: dict[tuple[str, str], OperationSeries] = {}
        self._circuits = CircuitSeries(self._metrics, multiprocess=self._multiprocess)
        self._lock = threading.Lock()
        self._metrics[catalog.BUILD_INFO.name].labels(__version__).set(1)
        for label in ("operation", "circuit", "subscriber"):
            self._metrics[catalog.LABEL_OVERFLOW.name].labels(label)
        registry.register(self)
        survive_fork(self)

    def close(self) -> None:
        """Take the metrics out of the registry."""
        self.registry.unregister(self)

    # What the registry asks

    def describe(self) -> Iterator[Family]:
        """The families, without samples; prometheus_client checks their names with it."""
        for metric in self._metrics.values():
            yield from metric.describe()

    def collect(self) -> Iterator[Family]:
        """The families as they are now, with every call that has ended."""
        self.fold()
        for metric in self._metrics.values():
            yield from metric.collect()

    def fold(self) -> None:
        """Bring what has been counted since the last time into the Prometheus metrics."""
        with self._lock:
            self._fold_finished()
            for series in list(self._operations.values()):
                series.fold_successes()
        self._circuits.fold()

    # What the bus tells

    def record(self, call: Call) -> None:
        """A call ended."""
        if self._multiprocess:
            self._series(call.operation).add(call)
            return
        finished = self._finished
        finished.append(call)
        # If somebody is folding already, that is good enough.
        if len(finished) > FOLD_PAST and self._lock.acquire(blocking=False):
            try:
                self._fold_finished()
            finally:
                self._lock.release()

    def on_event(self, event: events.Event) -> None:
        """Something happened."""
        match event:
            case events.OperationRegistered(operation=operation):
                self._series(operation)
            case events.CircuitRegistered():
                self._circuits.registered(event)
            case events.CircuitTransition():
                self._circuits.moved(event)
            case events.TimeoutExpired(operation=name, abandoned=True):
                self._child(catalog.ABANDONED_THREADS, self._label("timeout", name)).inc()
            case events.AbandonedWorkFinished(operation=name):
                self._child(catalog.ABANDONED_THREADS, self._label("timeout", name)).dec()
            case _:
                self._count(event)

    def _count(self, event: events.Event) -> None:
        match event:
            case events.ProbeFinished(circuit=circuit, outcome=outcome):
                self._child(catalog.CIRCUIT_PROBES, circuit, outcome.value).inc()
            case events.StaleResultDropped(circuit=circuit):
                self._child(catalog.CIRCUIT_STALE, circuit).inc()
            case events.BatchItemFinished(operation=name, outcome=outcome):
                self._child(catalog.BATCH_ITEMS, self._label("batch", name), outcome.value).inc()
            case events.SubscriberFailed(subscriber=name):
                self._child(catalog.SUBSCRIBER_ERRORS, name).inc()
            case events.EventsDropped(subscriber=name, count=count):
                self._child(catalog.DROPPED_EVENTS, name).inc(count)
            case events.LabelOverflowed(label=label):
                self._child(catalog.LABEL_OVERFLOW, label).inc()
            case _:
                pass

    def renew_locks(self) -> None:
        """After a fork; the gauges of this process have to be said again, they count per process."""
        self._lock = threading.Lock()
        self._circuits.renew()

    # Inside

    def _fold_finished(self) -> None:
        finished = self._finished
        while finished:
            call = finished.popleft()
            self._series(call.operation).add(call)

    def _series(self, operation: Operation) -> OperationSeries:
        key = (operation.primitive.value, operation.label)
        series = self._operations.get(key)
        if series is None:
            series = self._operations.setdefault(key, OperationSeries(operation, self._metrics))
        return series

    def _child(self, metric: Metric, *labels: str) -> Any:
        return self._metrics[metric.name].labels(*labels)

    def _label(self, primitive: str, name: str) -> str:
        return name if (primitive, name) in self._operations else OTHER


def _make(metric: Metric) -> Any:
    # Not registered one by one: the registry asks the subscriber, so that one scrape folds once.
    if metric.kind is Kind.COUNTER:
        return Counter(metric.name, metric.help, metric.labels, registry=None)
    if metric.kind is Kind.GAUGE:
        return Gauge(metric.name, metric.help, metric.labels, registry=None, multiprocess_mode=metric.workers)
    return Histogram(metric.name, metric.help, metric.labels, registry=None, buckets=metric.buckets)

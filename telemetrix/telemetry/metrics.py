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
from telemetrix._core.outcomes import Primitive
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

    event_types: tuple[type[events.Event], ...] = (
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
        self.reads_successes: bool = not self._multiprocess
        self._metrics: dict[str, Any] = {metric.name: _make(metric) for metric in CATALOG}
        self._finished: deque[Call] = deque()
        self._operations: dict[tuple[str, str], OperationSeries] = {}
        self._circuits = CircuitSeries(self._metrics, multiprocess=self._multiprocess)
        # Re-entered when an event is published while metrics are read, from a finalizer or a signal handler.
        self._lock = threading.RLock()
        self._detached = False
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
        # Read under the lock too: a fork waits for it, so no child inherits a lock of prometheus_client in use.
        with self._lock:
            self._fold()
            families = [family for metric in self._metrics.values() for family in metric.collect()]
        yield from families

    def fold(self) -> None:
        """Bring what has been counted since the last time into the Prometheus metrics."""
        with self._lock:
            self._fold()

    def _fold(self) -> None:
        if self._detached:
            return
        self._fold_finished()
        for series in list(self._operations.values()):
            series.fold()
        self._circuits.fold()

    # What the bus tells

    def record(self, call: Call) -> None:
        """A call ended."""
        if self._multiprocess:
            with self._lock:
                series = self._series(call.operation)
                series.add(call)
                series.fold()
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
        with self._lock:
            self._hear(event)

    def _hear(self, event: events.Event) -> None:
        match event:
            case events.OperationRegistered(operation=operation, known=known):
                self._series(operation, from_now=known)
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

    def detached(self) -> None:
        """Count what is still waiting, and nothing after it."""
        self.fold()
        self._detached = True

    def before_fork(self) -> None:
        """Keep the locks in here, and those of prometheus_client behind them, out of use while the process forks."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def renew_locks(self) -> None:
        """After a fork, in the child: what counts per process has to be said again."""
        self._lock = threading.RLock()
        self._circuits.renew()
        for primitive, label in self._operations:
            if primitive == Primitive.TIMEOUT:
                self._child(catalog.ABANDONED_THREADS, label).set(0)

    # Inside

    def _fold_finished(self) -> None:
        finished = self._finished
        while finished:
            call = finished.popleft()
            self._series(call.operation).add(call)

    def _series(self, operation: Operation, *, from_now: bool = True) -> OperationSeries:
        key = (operation.primitive.value, operation.label)
        series = self._operations.get(key)
        if series is None:
            series = self._operations.setdefault(key, OperationSeries(operation, self._metrics, from_now=from_now))
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

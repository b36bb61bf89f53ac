"""What listens by default, and how to change it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Final, Literal

from opentelemetry.trace import TracerProvider
from prometheus_client import REGISTRY, CollectorRegistry

from telemetrix._core import checks
from telemetrix.bus import Subscription, default_bus
from telemetrix.telemetry.logs import StructuredLogs
from telemetrix.telemetry.metrics import PrometheusMetrics
from telemetrix.telemetry.tracing import OpenTelemetryTraces, SpanDetail


@dataclass(frozen=True, slots=True)
class _Settings:
    metrics: bool = True
    tracing: bool = True
    logging: bool = True
    registry: CollectorRegistry = REGISTRY
    tracer_provider: TracerProvider | None = None
    spans: SpanDetail = "all"
    exception_details: bool = False


class _Unset:
    def __repr__(self) -> str:
        return "as it is"


_UNSET: Final = _Unset()


class _Installed:
    """The default subscribers and their places on the bus."""

    def __init__(self) -> None:
        self.settings = _Settings(metrics=False, tracing=False, logging=False)
        self._lock = threading.Lock()
        self._subscriptions: dict[str, Subscription] = {}

    def apply(self, settings: _Settings) -> None:
        """Replace what has changed, and nothing else. Tracing comes first on the bus: it tells metrics the trace id."""
        with self._lock:
            before = self.settings
            metrics = None
            if settings.metrics and (before.metrics, before.registry) != (settings.metrics, settings.registry):
                # First, because the registry may refuse them; then nothing has changed yet.
                metrics = PrometheusMetrics(settings.registry)
            self.settings = settings
            tracing = ("tracing", "tracer_provider", "spans", "exception_details")
            if any(getattr(before, name) != getattr(settings, name) for name in tracing):
                self._remove("tracing")
                if settings.tracing:
                    self._subscriptions["tracing"] = default_bus.subscribe(
                        OpenTelemetryTraces(
                            settings.tracer_provider,
                            spans=settings.spans,
                            exception_details=settings.exception_details,
                        )
                    )
            if (before.metrics, before.registry) != (settings.metrics, settings.registry):
                self._remove("metrics")
                if metrics is not None:
                    self._subscriptions["metrics"] = default_bus.subscribe(metrics)
            if before.logging != settings.logging:
                self._remove("logging")
                if settings.logging:
                    self._subscriptions["logging"] = default_bus.subscribe(StructuredLogs())

    def _remove(self, part: str) -> None:
        subscription = self._subscriptions.pop(part, None)
        if subscription is not None:
            subscription.close()
            if isinstance(subscription.subscriber, PrometheusMetrics):
                subscription.subscriber.close()


_installed = _Installed()


def configure(
    *,
    metrics: bool | _Unset = _UNSET,
    tracing: bool | _Unset = _UNSET,
    logging: bool | _Unset = _UNSET,
    registry: CollectorRegistry | _Unset = _UNSET,
    tracer_provider: TracerProvider | _Unset | None = _UNSET,
    spans: Literal["all", "compact"] | _Unset = _UNSET,
    exception_details: bool | _Unset = _UNSET,
) -> None:
    """Change the default telemetry; what is not named stays as it is. May be called as often as needed.

    Functions that were decorated before see the change at their next call.

    Parameters:
        metrics: whether Prometheus metrics are kept.
        tracing: whether spans are made (once there is a tracer provider).
        logging: whether events are logged.
        registry: where the metrics are registered; initially `prometheus_client.REGISTRY`. The metrics leave the one
            they were in; the new one counts from here.
        tracer_provider: where spans go; None (initially) is OpenTelemetry's global provider, even if set later.
        spans: `all` (initially), or `compact`: no own span for a primitive directly within one of the same operation.
        exception_details: whether messages and stack traces of exceptions are put on spans; initially not, because
            they may hold users' data.

    Raises:
        TypeError, ValueError: a setting is not allowed; nothing is changed then.
    """
    flags = {"metrics": metrics, "tracing": tracing, "logging": logging, "exception_details": exception_details}
    for name, flag in flags.items():
        if not isinstance(flag, (bool, _Unset)):
            raise checks.refuse_type(name, flag, "True or False")
    if not isinstance(registry, (CollectorRegistry, _Unset)):
        raise checks.refuse_type("registry", registry, "a prometheus_client.CollectorRegistry")
    if not isinstance(tracer_provider, (TracerProvider, _Unset)) and tracer_provider is not None:
        raise checks.refuse_type("tracer_provider", tracer_provider, "an OpenTelemetry TracerProvider or None")
    if not isinstance(spans, _Unset) and spans not in ("all", "compact"):
        raise checks.refuse("spans", spans, "'all' or 'compact'")
    given = {**flags, "registry": registry, "tracer_provider": tracer_provider, "spans": spans}
    changes = {name: value for name, value in given.items() if not isinstance(value, _Unset)}
    _installed.apply(replace(_installed.settings, **changes))  # type: ignore[arg-type]


_installed.apply(_Settings())

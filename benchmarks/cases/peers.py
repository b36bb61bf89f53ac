"""Other libraries, set up as cheaply as each one allows.

No delay, no jitter, no logging; no listener unless the label says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import count
from typing import Any

from benchmarks.cases.shapes import (
    FLAKY,
    SUCCESS,
    no_sleep,
    no_sleep_async,
    rejecting,
    returning,
    trip,
    with_sleeping,
    without_sleeping,
)
from benchmarks.harness import Case
from benchmarks.subjects import Function, Kind, PlannedError, failing, flaky, healthy

_ids = count()
_ANY_KIND = frozenset(Kind)
_RECOVERY = 3600.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to guard a function with one library.

    Parameters:
        label: what the row is called.
        package: what to install.
        guard: wraps a function; imports the library.
        rejection: for a circuit breaker, imports what an open circuit raises; None for a retry.
        kinds: what the library supports.
        shapes: what to measure; None for all that apply.
    """

    label: str
    package: str
    guard: Callable[[Function], Function]
    rejection: Callable[[], type[BaseException]] | None = None
    kinds: frozenset[Kind] = _ANY_KIND
    shapes: frozenset[str] | None = None
    prepare: Callable[[], None] = lambda: None

    def cases(self, kind: Kind) -> list[Case]:
        """This peer's rows."""
        if kind not in self.kinds:
            return []
        found = []
        if self._wants(SUCCESS):
            guarded = self.guard(healthy(kind))
            found.append(returning(guarded, kind, SUCCESS, self.label, prepare=self.prepare))
        if self.rejection is None:
            found.append(self._recovering(kind))
        elif self._wants("open"):
            refused = self.guard(failing(kind))
            trip(refused, kind)
            error = self.rejection()
            found.append(rejecting(refused, error, kind, self.label, prepare=self.prepare))
        return found

    def _wants(self, shape: str) -> bool:
        return self.shapes is None or shape in self.shapes

    def _recovering(self, kind: Kind) -> Case:
        def prepare() -> None:
            self.prepare()
            without_sleeping()

        return returning(
            self.guard(flaky(kind)),
            kind,
            FLAKY,
            self.label,
            prepare=prepare,
            settle=with_sleeping,
        )


def build(left_out: list[str]) -> list[Case]:
    """The rows of every peer that is installed."""
    found: list[Case] = []
    for peer in PEERS:
        for kind in Kind:
            try:
                found += peer.cases(kind)
            except ImportError as error:
                left_out.append(f"{kind}: {peer.label}: not installed ({peer.package}): {error}")
    return found


def _tenacity(fn: Function) -> Function:
    tenacity = import_module("tenacity")
    guard = tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none(), reraise=True)
    return _decorated(guard, fn)


def _stamina(fn: Function) -> Function:
    stamina = import_module("stamina")
    guard = stamina.retry(on=PlannedError, attempts=3, timeout=None, wait_initial=0.0, wait_max=0.0, wait_jitter=0.0)
    return _decorated(guard, fn)


def _stamina_silent() -> None:
    import_module("stamina.instrumentation").set_on_retry_hooks([])


def _stamina_counting() -> None:
    hooks = import_module("stamina.instrumentation")
    hooks.set_on_retry_hooks([hooks.PrometheusOnRetryHook])


def _backoff(fn: Function) -> Function:
    backoff = import_module("backoff")
    guard = backoff.on_exception(backoff.constant, PlannedError, max_tries=3, interval=0, jitter=None, logger=None)
    return _decorated(guard, fn)


def _pybreaker(fn: Function) -> Function:
    breaker = import_module("pybreaker").CircuitBreaker(fail_max=5, reset_timeout=_RECOVERY)
    return _decorated(breaker, fn)


def _circuitbreaker(fn: Function) -> Function:
    guard = import_module("circuitbreaker").circuit(
        failure_threshold=5,
        recovery_timeout=_RECOVERY,
        expected_exception=PlannedError,
        name=f"bench-{next(_ids)}",
    )
    return _decorated(guard, fn)


def _pyresilience(
    *, retry: bool = False, breaker: bool = False, metrics: bool = False
) -> Callable[[Function], Function]:
    def guard(fn: Function) -> Function:
        library = import_module("pyresilience")
        settings: dict[str, Any] = {}
        if retry:
            settings["retry"] = library.RetryConfig(max_attempts=3, delay=0.0, jitter=False)
        if breaker:
            settings["circuit_breaker"] = library.CircuitBreakerConfig(recovery_timeout=_RECOVERY)
        if metrics:
            settings["listeners"] = [_pyresilience_listener()]
        return _decorated(library.resilient(**settings), fn)

    return guard


@cache
def _pyresilience_listener() -> Any:
    # It registers its metrics in the global registry, which takes each name only once.
    return import_module("pyresilience.contrib.prometheus").PrometheusListener()


def _interlock(fn: Function) -> Function:
    interlock = import_module("interlock")
    config = interlock.Config(wait_duration_in_open=_RECOVERY)
    return _decorated(interlock.CircuitBreaker(name=f"bench-{next(_ids)}", config=config), fn)


def _interlock_retry(fn: Function) -> Function:
    pipeline = import_module("interlock.pipeline")
    extra = import_module("interlock.integrations.tenacity")
    wait_none = import_module("tenacity").wait_none
    retry = extra.RetryStrategy(attempts=3, wait=wait_none(), sleep=no_sleep, async_sleep=no_sleep_async)
    return _decorated(pipeline.Pipeline(retry), fn)


def _decorated(guard: Any, fn: Function) -> Function:
    decorated: Function = guard(fn)
    return decorated


def _raises(module: str, name: str) -> Callable[[], type[BaseException]]:
    def load() -> type[BaseException]:
        error: type[BaseException] = getattr(import_module(module), name)
        return error

    return load


PEERS = (
    Peer("tenacity @retry", "tenacity", _tenacity),
    Peer("stamina @retry, no hooks", "stamina", _stamina, prepare=_stamina_silent),
    Peer(
        "stamina @retry, Prometheus hook",
        "stamina",
        _stamina,
        prepare=_stamina_counting,
        shapes=frozenset({FLAKY}),
    ),
    Peer("backoff @on_exception", "backoff", _backoff),
    Peer("pyresilience retry", "pyresilience", _pyresilience(retry=True)),
    Peer("pyresilience retry, Prometheus", "pyresilience", _pyresilience(retry=True, metrics=True)),
    Peer("interlock RetryStrategy (tenacity)", "interlock-cb", _interlock_retry),
    Peer(
        "pybreaker",
        "pybreaker",
        _pybreaker,
        rejection=_raises("pybreaker", "CircuitBreakerError"),
        kinds=frozenset({Kind.SYNC}),
    ),
    Peer(
        "circuitbreaker",
        "circuitbreaker",
        _circuitbreaker,
        rejection=_raises("circuitbreaker", "CircuitBreakerError"),
    ),
    Peer(
        "pyresilience breaker",
        "pyresilience",
        _pyresilience(breaker=True),
        rejection=_raises("pyresilience", "CircuitOpenError"),
    ),
    Peer(
        "pyresilience breaker, Prometheus",
        "pyresilience",
        _pyresilience(breaker=True, metrics=True),
        rejection=_raises("pyresilience", "CircuitOpenError"),
    ),
    Peer(
        "interlock breaker",
        "interlock-cb",
        _interlock,
        rejection=_raises("interlock", "CircuitOpenError"),
    ),
    Peer(
        "pyresilience retry + breaker",
        "pyresilience",
        _pyresilience(retry=True, breaker=True),
        shapes=frozenset({SUCCESS, FLAKY}),
    ),
)

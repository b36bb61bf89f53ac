"""What a call inherits from the calls around it, carried by context variables across awaits and into worker threads."""

from __future__ import annotations

from contextvars import ContextVar

from telemetrix import clock

_deadline: ContextVar[float | None] = ContextVar("telemetrix_deadline", default=None)


def deadline() -> float | None:
    """When the time of the nearest enclosing timeout is up, on the clock in force; None if there is no timeout."""
    return _deadline.get()


def remaining() -> float | None:
    """Seconds left until the nearest enclosing timeout; 0 once it has passed, None if there is none."""
    moment = _deadline.get()
    return None if moment is None else max(0.0, moment - clock.current().monotonic())


class deadline_scope:  # noqa: N801 - reads as a function at its call sites
    """A block in which the deadline is `moment`, or the enclosing one where that is nearer."""

    __slots__ = ("_moment", "_token")

    def __init__(self, moment: float) -> None:
        self._moment = moment

    def __enter__(self) -> None:
        outer = _deadline.get()
        nearest = self._moment if outer is None else min(outer, self._moment)
        self._token = _deadline.set(nearest)

    def __exit__(self, *exc_info: object) -> None:
        _deadline.reset(self._token)

"""The SDK's own cost: the spans that telemetrix makes, made by hand.

What to make is read off telemetrix at run time (names, nesting, attributes, and which of them can
only be known at the end), so that both sides make the same spans or there is no row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from benchmarks.cases.shapes import SUCCESS, returning
from benchmarks.cases.telemetrix import GUARDS, Guard, sampled_key
from benchmarks.harness import Case
from benchmarks.modes import A_FOLD, drain, recorded_spans, sampled_tracer
from benchmarks.subjects import Function, Kind, call_once, fresh, healthy

_KNOWN_AT_THE_END = frozenset(f"telemetrix.{name}" for name in ("outcome", "reason", "attempts", "retried"))


@dataclass(frozen=True, slots=True)
class SpanPlan:
    """One span of a chain."""

    name: str
    first: dict[str, Any]
    last: dict[str, Any]


def build(left_out: list[str]) -> list[Case]:
    """By-hand rows for every guard, in the two ways an SDK's user writes them."""
    found: list[Case] = []
    for kind in Kind:
        for guard in GUARDS:
            try:
                plan = _chain(guard, kind)
            except Exception as error:  # noqa: BLE001 - said in the report
                left_out.append(f"{sampled_key(kind, guard)}: {type(error).__name__}: {error}")
                continue
            found.append(_row(kind, guard, plan, "", _attached(kind)))
            if guard is GUARDS[0]:
                with_helper = ", start_as_current_span"
                found.append(_row(kind, guard, plan, with_helper, _helped(kind)))
    return found


def _row(
    kind: Kind,
    guard: Guard,
    plan: list[SpanPlan],
    variant: str,
    wrap: Callable[[Function, SpanPlan], Function],
) -> Case:
    function = healthy(kind)
    for span in reversed(plan):
        function = wrap(function, span)
    return returning(
        function,
        kind,
        SUCCESS,
        sampled_key(kind, guard).rpartition("/")[2] + variant,
        settle=drain,
        at_least=A_FOLD,
        counted=False,
    )


def _chain(guard: Guard, kind: Kind) -> list[SpanPlan]:
    """What one successful call of `guard` makes, outermost first."""
    guarded = guard.wrap(healthy(kind))
    with recorded_spans() as spans:
        call_once(guarded, kind)
    if len(spans) != guard.spans:
        raise AssertionError(f"{len(spans)} spans where {guard.spans} belong")
    chain: list[SpanPlan] = []
    parent: int | None = None
    for _ in range(guard.spans):
        (span,) = (s for s in spans if (s.parent.span_id if s.parent else None) == parent)
        context = span.get_span_context()
        parent = context.span_id if context else None
        attributes = dict(span.attributes or {})
        last = {key: attributes.pop(key) for key in _KNOWN_AT_THE_END & attributes.keys()}
        chain.append(SpanPlan(span.name, attributes, last))
    return chain


def _attached(kind: Kind) -> Callable[[Function, SpanPlan], Function]:
    """The cheap way: start, attach, detach and end, each by its own call."""
    context = import_module("opentelemetry.context")
    attach, detach = context.attach, context.detach
    in_context = import_module("opentelemetry.trace").set_span_in_context
    start = sampled_tracer().start_span

    def wrap(fn: Function, plan: SpanPlan) -> Function:
        name, first, last = plan.name, plan.first, plan.last

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            span = start(name, attributes=first)
            token = attach(in_context(span))
            try:
                return fn(*args, **kwargs)
            finally:
                detach(token)
                if last:
                    span.set_attributes(last)
                span.end()

        async def wrapper_async(*args: Any, **kwargs: Any) -> Any:
            span = start(name, attributes=first)
            token = attach(in_context(span))
            try:
                return await fn(*args, **kwargs)
            finally:
                detach(token)
                if last:
                    span.set_attributes(last)
                span.end()

        return fresh(wrapper if kind is Kind.SYNC else wrapper_async)

    return wrap


def _helped(kind: Kind) -> Callable[[Function, SpanPlan], Function]:
    """The usual way."""
    start = sampled_tracer().start_as_current_span

    def wrap(fn: Function, plan: SpanPlan) -> Function:
        name, first, last = plan.name, plan.first, plan.last

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with start(name, attributes=first) as span:
                result = fn(*args, **kwargs)
                if last:
                    span.set_attributes(last)
                return result

        async def wrapper_async(*args: Any, **kwargs: Any) -> Any:
            with start(name, attributes=first) as span:
                result = await fn(*args, **kwargs)
                if last:
                    span.set_attributes(last)
                return result

        return fresh(wrapper if kind is Kind.SYNC else wrapper_async)

    return wrap

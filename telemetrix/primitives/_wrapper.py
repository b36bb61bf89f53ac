"""Writes the wrapper around a guarded function, with the function's own signature.

A `*args, **kwargs` wrapper costs about 235 ns for one keyword argument, more than everything else a successful call
needs; a wrapper with the signature of the function it guards costs 25. So each primitive states its fast path once, as
source text with the signature left open, and this file fills it in: sync and async from the same text. The compiled
factory is cached per shape of signature, so decorating again (inside a request, say) costs a few microseconds.

In the text, `$def` is `def` or `async def`, `$await` is `await` or nothing, `$params` the signature, `$call` the
arguments as they are passed on, and `$pack` the same as a tuple and a dict for a driver that takes them so.
"""

from __future__ import annotations

import functools
import inspect
import linecache
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping
from string import Template
from textwrap import indent
from types import CodeType, FunctionType
from typing import Any, Final, NamedTuple

from telemetrix import clock
from telemetrix.bus import default_bus
from telemetrix.calls import DURATION_BOUNDS, Operation
from telemetrix.primitives._targets import is_async

AnyFunction = Callable[..., Any]

_PREFIX: Final = "tx_"

OBSERVED: Final = """\
tx_watch = tx_bus.watch
if tx_watch is not None and tx_watch():
    return $await tx_observed($pack)
"""
"""The way out of the fast path: somebody wants to see this call live."""

START: Final = """\
tx_counting = tx_bus.counting
tx_started = tx_now() if tx_counting else tx_unknown
"""
"""Reads the clock only if somebody wants to know."""

RECORD: Final = f"""\
if tx_counting:
    tx_elapsed = tx_now() - tx_started
    tx_counts[0 if tx_elapsed <= {DURATION_BOUNDS[0]} else tx_bisect(tx_bounds, tx_elapsed)] += 1
    tx_seconds[0] += tx_elapsed
"""
"""Counts an uneventful success in place; `telemetrix.calls.SuccessCells` says why this is exact."""


class _Shape(NamedTuple):
    """What of a signature the text of a wrapper depends on; defaults are set on the wrapper afterwards."""

    positional_only: tuple[str, ...]
    positional: tuple[str, ...]
    var_positional: str | None
    keyword_only: tuple[str, ...]
    var_keyword: str | None

    @property
    def params(self) -> str:
        """The parameter list."""
        parts = [*self.positional_only]
        if self.positional_only:
            parts.append("/")
        parts += self.positional
        if self.var_positional:
            parts.append(f"*{self.var_positional}")
        elif self.keyword_only:
            parts.append("*")
        parts += self.keyword_only
        if self.var_keyword:
            parts.append(f"**{self.var_keyword}")
        return ", ".join(parts)

    @property
    def call(self) -> str:
        """The arguments, passed on."""
        parts = [*self.positional_only, *self.positional]
        if self.var_positional:
            parts.append(f"*{self.var_positional}")
        parts += [f"{name}={name}" for name in self.keyword_only]
        if self.var_keyword:
            parts.append(f"**{self.var_keyword}")
        return ", ".join(parts)

    @property
    def pack(self) -> str:
        """The arguments as a tuple and a dict."""
        args = [*self.positional_only, *self.positional]
        if self.var_positional:
            args.append(f"*{self.var_positional}")
        kwargs = [f"{name!r}: {name}" for name in self.keyword_only]
        if self.var_keyword:
            kwargs.append(f"**{self.var_keyword}")
        return f"({''.join(f'{arg}, ' for arg in args)}), {{{', '.join(kwargs)}}}"


_ANY: Final = _Shape((), (), "tx_args", (), "tx_kwargs")


def write_wrapper(
    function: AnyFunction, body: str, operation: Operation, names: Mapping[str, object], *, as_passed: bool = False
) -> Any:
    """The wrapper of `function` whose text is `body`.

    Parameters:
        function: what is guarded; it stands in the text as `tx_function`.
        body: the text of the wrapper, not indented, with the `$` places above.
        operation: where its successes are counted.
        names: what else the text uses; each key begins with `tx_`.
        as_passed: whether `$pack` must be what the caller passed, without the function's own defaults; slower.
    """
    shape = _ANY if as_passed else _shape_of(function)
    bound = {
        "tx_function": function,
        "tx_bus": default_bus,
        "tx_now": clock.SYSTEM.monotonic,
        "tx_unknown": math.nan,
        "tx_bisect": bisect_left,
        "tx_bounds": DURATION_BOUNDS,
        "tx_counts": operation.successes.counts,
        "tx_seconds": operation.successes.seconds,
        **names,
    }
    factory = _factory(body, shape, tuple(bound), awaits=is_async(function))
    wrapper = factory(*bound.values())
    functools.update_wrapper(wrapper, function)
    if shape is not _ANY and isinstance(function, FunctionType):
        wrapper.__defaults__ = function.__defaults__
        wrapper.__kwdefaults__ = function.__kwdefaults__
    return wrapper


@functools.lru_cache(maxsize=1024)
def _factory(body: str, shape: _Shape, names: tuple[str, ...], *, awaits: bool) -> AnyFunction:
    text = Template(
        f"def tx_factory({', '.join(names)}):\n"
        f"    $def tx_wrapper($params):\n{indent(body, ' ' * 8)}"
        "    return tx_wrapper\n"
    )
    source = text.substitute(
        {
            "def": "async def" if awaits else "def",
            "await": "await" if awaits else "",
            "params": shape.params,
            "call": shape.call,
            "pack": shape.pack,
        }
    )
    filename = f"<telemetrix wrapper {abs(hash((body, shape, awaits))):x}>"
    # So that a traceback through the wrapper shows its lines.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, AnyFunction] = {}
    exec(compile(source, filename, "exec"), namespace)  # noqa: S102 - the text is ours, names come from a code object
    return namespace["tx_factory"]


def _shape_of(function: AnyFunction) -> _Shape:
    # From the code object, not from inspect.signature: that follows __wrapped__, which need not be how it is called.
    if not isinstance(function, FunctionType):
        return _ANY
    code = function.__code__
    names = code.co_varnames
    positional_end = code.co_argcount
    keyword_end = positional_end + code.co_kwonlyargcount
    var_positional = names[keyword_end] if code.co_flags & inspect.CO_VARARGS else None
    var_keyword = names[keyword_end + bool(var_positional)] if code.co_flags & inspect.CO_VARKEYWORDS else None
    if not _can_be_written(code, keyword_end + bool(var_positional) + bool(var_keyword)):
        return _ANY
    return _Shape(
        names[: code.co_posonlyargcount],
        names[code.co_posonlyargcount : positional_end],
        var_positional,
        names[positional_end:keyword_end],
        var_keyword,
    )


def _can_be_written(code: CodeType, end: int) -> bool:
    return all(name.isidentifier() and not name.startswith(_PREFIX) for name in code.co_varnames[:end])

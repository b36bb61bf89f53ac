"""How a class of errors is called in telemetry."""

from __future__ import annotations


def error_type(kind: type[BaseException]) -> str:
    """`module.Class`, or the bare name of a builtin; never anything of the error itself."""
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"

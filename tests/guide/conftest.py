"""Runs the examples of the guide that users follow, as they are written there.

The guide imports from `app.utils.error_recovery` and `app.utils.logger`; here these are telemetrix. What an example
leaves open (its service, its database, its helpers) is given to it by the test.
"""

from __future__ import annotations

import contextlib
import linecache
import sys
import textwrap
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

import pytest

import telemetrix
from telemetrix.testing import VirtualClock

HOMES = {
    "app": ModuleType("app"),
    "app.utils": ModuleType("app.utils"),
    "app.utils.error_recovery": telemetrix,
    "app.utils.logger": telemetrix,
}


class Guide(Protocol):
    """Executes an example; what it defined is an attribute of the result."""

    def __call__(self, example: str, **open_names: Any) -> Any: ...


@pytest.fixture
def guide(monkeypatch: pytest.MonkeyPatch, telemetrix_clock: VirtualClock) -> Guide:
    """The examples' interpreter; waits cost no time."""
    for name, module in HOMES.items():
        monkeypatch.setitem(sys.modules, name, module)

    def run(example: str, **open_names: Any) -> ModuleType:
        module = ModuleType("guide_example")
        # Examples use what an earlier one has imported or made.
        vars(module).update({name: getattr(telemetrix, name) for name in telemetrix.__all__})
        vars(module)["logger"] = telemetrix.get_logger("guide")
        vars(module).update(open_names)
        text = textwrap.dedent(example)
        filename = f"<guide example {hash(text):x}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        exec(compile(text, filename, "exec", dont_inherit=True), vars(module))  # noqa: S102 - the test's own text
        return module

    return run


@pytest.fixture
def waits(telemetrix_clock: VirtualClock) -> Callable[[Callable[[], object]], list[float]]:
    """The waits that a call asks for, seconds; its error is dropped."""

    def waits_of(call: Callable[[], object]) -> list[float]:
        before = len(telemetrix_clock.sleeps)
        with contextlib.suppress(Exception):
            call()
        return telemetrix_clock.sleeps[before:]

    return waits_of

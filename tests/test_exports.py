"""The shop window: what `telemetrix` offers, no more and no less, and all of it documented."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

import telemetrix
import telemetrix.testing
from telemetrix import events
from tests.services import run_python

WINDOWS = [telemetrix, telemetrix.testing]


def public(module: ModuleType) -> set[str]:
    return {
        name for name, value in vars(module).items() if not name.startswith("_") and not isinstance(value, ModuleType)
    }


@pytest.mark.parametrize("module", WINDOWS, ids=lambda module: module.__name__)
def test_all__is_exactly_the_public_names_sorted(module: ModuleType) -> None:
    names = [name for name in module.__all__ if name != "__version__"]
    assert set(names) == public(module)
    assert module.__all__ == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)


def test_all__a_star_import__brings_them() -> None:
    namespace: dict[str, Any] = {}
    exec("from telemetrix import *", namespace)  # noqa: S102 - there is no other way to write it in a function
    assert set(telemetrix.__all__) <= set(namespace)


def test_submodules__visible_on_the_package__are_rooms_and_not_accidents() -> None:
    modules = {name: value.__name__ for name, value in vars(telemetrix).items() if isinstance(value, ModuleType)}
    # pytest leaves modules with an @ in those whose assertions it rewrites.
    assert [name for name, full in modules.items() if full != f"telemetrix.{name}" and "@" not in name] == []


def offered() -> Iterator[Any]:
    for module in WINDOWS:
        for name in module.__all__:
            if name != "__version__":
                yield pytest.param(getattr(module, name), id=f"{module.__name__}.{name}")


@pytest.mark.parametrize("thing", list(offered()))
def test_public_name__has_a_docstring_of_its_own(thing: Any) -> None:
    text = inspect.getdoc(thing)
    assert text
    assert text[0].isupper() or text[0] == "`"
    if inspect.isclass(thing):
        assert thing.__dict__.get("__doc__"), "not its base class's"


def methods() -> Iterator[Any]:
    for module in WINDOWS:
        for name in module.__all__:
            thing = getattr(module, name)
            if not inspect.isclass(thing) or issubclass(thing, enum.Enum):
                continue
            for method, value in vars(thing).items():
                function = getattr(value, "fget", getattr(value, "__func__", value))
                if not method.startswith("_") and inspect.isfunction(function):
                    yield pytest.param(function, id=f"{name}.{method}")


@pytest.mark.parametrize("method", list(methods()))
def test_public_method__has_a_docstring(method: Any) -> None:
    assert inspect.getdoc(method)


@pytest.mark.parametrize(
    "event",
    [kind for _, kind in inspect.getmembers(events, inspect.isclass) if issubclass(kind, events.Event)],
    ids=lambda kind: kind.__name__,
)
def test_event__has_a_docstring_and_slots_and_no_field_for_users_data(event: type[events.Event]) -> None:
    assert event.__dict__.get("__doc__")
    assert not hasattr(event, "__dict__") or "__slots__" in vars(event)
    assert not {"args", "kwargs", "result", "error", "message", "exception"} & set(inspect.signature(event).parameters)


def test_version__is_that_of_the_installed_distribution() -> None:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    try:
        installed = version("telemetrix-resilience")
    except PackageNotFoundError:
        pytest.skip("not installed, only on the path")
    assert telemetrix.__version__ == installed


def test_import__of_the_package__brings_no_optional_dependency() -> None:
    optional = ["sqlalchemy", "grafanalib", "rich", "opentelemetry.sdk", "opentelemetry.exporter", "pytest", "trio"]
    code = f"import json, sys, telemetrix; print(json.dumps([name for name in {optional} if name in sys.modules]))"
    assert run_python(code) == []

"""No test leaves names behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telemetrix.bus import default_bus


@pytest.fixture(autouse=True)
def forgetful_bus() -> Iterator[None]:
    """The names of a test end with it: each capture makes the series of all names there are, and labels are capped."""
    kept = ("_operations", "_retained", "_labels")
    before = {name: getattr(default_bus, name) for name in kept}
    default_bus._operations = dict(default_bus._operations)  # noqa: SLF001
    default_bus._retained = dict(default_bus._retained)  # noqa: SLF001
    default_bus._labels = {label: set(values) for label, values in default_bus._labels.items()}  # noqa: SLF001
    yield
    for name, value in before.items():
        setattr(default_bus, name, value)

"""Every test here leaves the process's telemetry as it found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from telemetrix.telemetry.setup import _installed


@pytest.fixture(autouse=True)
def default_telemetry() -> Iterator[None]:
    """`telemetrix.configure` may be called at will."""
    before = _installed.settings
    yield
    _installed.apply(before)


@pytest.fixture(autouse=True)
def unconfigured_structlog() -> Iterator[None]:
    """`structlog.configure` may be called at will."""
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()

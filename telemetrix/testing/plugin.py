"""The pytest plugin: the tools of `telemetrix.testing` as fixtures."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from telemetrix.testing.capture import CapturedTelemetry, capture
from telemetrix.testing.clock import VirtualClock, virtual_clock


@pytest.fixture
def telemetrix_clock() -> Iterator[VirtualClock]:
    """A virtual clock, in force for the test: waits cost no time."""
    with virtual_clock() as clock:
        yield clock


@pytest.fixture
def telemetrix_capture() -> Iterator[CapturedTelemetry]:
    """The events, metrics and spans of the test."""
    with capture() as captured:
        yield captured

"""What tests need: time that is moved by hand, telemetry that can be looked at, functions that fail on cue.

`telemetrix.testing.plugin` offers the first two as pytest fixtures, `telemetrix_clock` and `telemetrix_capture`; pytest
finds it by itself. telemetrix's own tests use nothing else.
"""

from telemetrix.testing.capture import CapturedTelemetry, capture
from telemetrix.testing.clock import VirtualClock, virtual_clock
from telemetrix.testing.faults import Script

__all__ = ["CapturedTelemetry", "Script", "VirtualClock", "capture", "virtual_clock"]
